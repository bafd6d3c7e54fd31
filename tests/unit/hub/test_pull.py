"""The way of a pull, with a remote that is told what to do: order, patience, and an end in the middle."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from envkit.errors import BackendError, HubError
from envkit.hub.known import Known
from envkit.hub.pull import Wanted, pull
from envkit.hub.remote import Into, Listing, RefusedError, StoppedError
from envkit.hub.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from envkit.hub.sources import Kind

SOURCES = {name: Source(hub="huggingface", about="", endpoint="", source="") for name in ("first", "second")}


@dataclass
class FakeRemote:
    """Writes files of their listed length; refuses what it is told to refuse, as often as it is told."""

    sizes: dict[str, int]
    refusals: list[RefusedError] = field(default_factory=list)
    endless: frozenset[str] = frozenset()
    """Files that never end."""
    fetched: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)

    def listing(self, repository: str, kind: Kind, revision: str) -> Listing:
        return Listing(repository, kind, revision, "c0ffee", {name: Known(size) for name, size in self.sizes.items()})

    def place(self, listing: Listing, into: Into) -> Path:
        return into.folder or into.cache

    def partial(self, listing: Listing, name: str, into: Into) -> Path:
        return self.place(listing, into) / f"{name}.incomplete"

    def fetch(self, listing: Listing, name: str, into: Into, advance: Callable[[int], None]) -> None:
        self.fetched.append(name)
        try:
            while name in self.endless:
                advance(1)
                time.sleep(0.001)
        except StoppedError:
            self.stopped.append(name)
            raise
        if self.refusals:
            raise self.refusals.pop(0)
        folder = self.place(listing, into)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(self.sizes[name]))
        advance(self.sizes[name])

    def finish(self, listing: Listing, names: Sequence[str], into: Into, advance: Callable[[int], None]) -> None:
        pass

    def send(
        self, folder: Path, names: Sequence[str], repository: str, kind: Kind, *, private: bool, message: str
    ) -> str:
        raise AssertionError(repository)


class Quiet:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, total: int) -> None:
        pass

    def advance(self, number: int) -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    waited: list[float] = []
    monkeypatch.setattr("envkit.hub.pull.pause", waited.append)
    return waited


def pulled(tmp_path: Path, *remotes: FakeRemote, watcher: Quiet | None = None, dry_run: bool = False) -> str:
    """The source that gave it."""
    given = dict(zip(SOURCES, remotes, strict=False))
    return pull(
        Wanted("a/b"),
        {name: SOURCES[name] for name in given},
        lambda name, _: given[name],
        {"huggingface": tmp_path / "cache"},
        watcher or Quiet(),
        dry_run=dry_run,
    ).plan.source


def test_a_passing_refusal_is_waited_for_longer_each_time(tmp_path: Path, no_waiting: list[float]) -> None:
    remote = FakeRemote({"x": 3}, [RefusedError("busy", "later")] * 3)

    assert pulled(tmp_path, remote) == "first"
    assert no_waiting == [1, 2, 4]


def test_a_refusal_that_does_not_pass_is_not_repeated(tmp_path: Path, no_waiting: list[float]) -> None:
    remote = FakeRemote({"x": 3}, [RefusedError("denied", "it is gated")])

    with pytest.raises(HubError) as caught:
        pulled(tmp_path, remote)

    assert (remote.fetched, no_waiting) == (["x"], [])
    assert caught.value.details == "first: it is gated"


def test_among_others_a_source_is_given_up_sooner(tmp_path: Path, no_waiting: list[float]) -> None:
    slow = FakeRemote({"x": 3}, [RefusedError("unreachable", "nobody answers")] * 9)
    watcher = Quiet()

    assert pulled(tmp_path, slow, FakeRemote({"x": 3}), watcher=watcher) == "second"
    assert no_waiting == [1]
    assert watcher.notes == ["first: nobody answers"]


def without_library(remote: FakeRemote | None) -> Callable[[str, Source], FakeRemote]:
    """The first source's library is not installed; the second is this."""

    def connect(name: str, source: Source) -> FakeRemote:
        if name == "first" or remote is None:
            raise BackendError(f"the library of {name} is not installed beside envkit", hint="`uv pip install it`")
        return remote

    return connect


def test_a_library_that_is_missing_is_a_reason_to_go_on(tmp_path: Path) -> None:
    """It ended `--from auto`, though the next source's library was there."""
    watcher = Quiet()

    done = pull(
        Wanted("a/b"), SOURCES, without_library(FakeRemote({"x": 3})), {"huggingface": tmp_path / "cache"}, watcher
    )

    reason = "the library of first is not installed beside envkit"
    assert (done.plan.source, done.tried, watcher.notes) == ("second", (("first", reason),), [f"first: {reason}"])


def test_where_the_others_do_not_give_it_either_the_library_is_the_next_step(tmp_path: Path) -> None:
    second = FakeRemote({"x": 3}, [RefusedError("missing", "there is no a/b")])

    with pytest.raises(HubError) as caught:
        pull(Wanted("a/b"), SOURCES, without_library(second), {"huggingface": tmp_path / "cache"}, Quiet())

    assert caught.value.details == "first: the library of first is not installed beside envkit\nsecond: there is no a/b"
    assert caught.value.hint == "install what is missing, and type the same command again: `uv pip install it`"


def test_without_any_library_that_is_all_there_is_to_say(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="the library of first is not installed beside envkit"):
        pull(Wanted("a/b"), SOURCES, without_library(None), {"huggingface": tmp_path / "cache"}, Quiet())


def test_a_file_of_another_length_than_listed_is_no_success(tmp_path: Path) -> None:
    class Short(FakeRemote):
        def fetch(self, listing: Listing, name: str, into: Into, advance: Callable[[int], None]) -> None:
            into.cache.mkdir(parents=True, exist_ok=True)
            (into.cache / name).write_bytes(b"")

    with pytest.raises(HubError) as caught:
        pulled(tmp_path, Short({"x": 3}))

    assert caught.value.details == "first: x came with another length than is listed"


def test_a_refusal_ends_what_else_is_under_way(tmp_path: Path) -> None:
    remote = FakeRemote({"x": 3, "y": 3, "z": 3}, [RefusedError("missing", "gone")], frozenset("yz"))

    with pytest.raises(HubError, match="a/b cannot be pulled"):
        pulled(tmp_path, remote)

    assert sorted(remote.stopped) == sorted({*remote.fetched} - {"x"})  # one that had not begun never does


def test_ctrl_c_ends_a_file_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = FakeRemote({"x": 3, "y": 3}, endless=frozenset("xy"))
    before, calls = threading.active_count(), 0

    def interrupted(waiting: object, **more: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return futures.wait(waiting, timeout=0.05)  # type: ignore[arg-type]

    monkeypatch.setattr("envkit.hub.pull.wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        pulled(tmp_path, remote)

    assert sorted(remote.stopped) == ["x", "y"]
    assert threading.active_count() <= before


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..", ""])
def test_a_listing_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    remote = FakeRemote({"fine": 1, name: 3})
    (tmp_path / "x").write_bytes(b"mine")

    with pytest.raises(HubError) as caught:
        pulled(tmp_path, remote)

    assert caught.value.details == f"first: it lists {name!r}, which leads out of the folder"
    assert (tmp_path / "x").read_bytes() == b"mine"
    assert remote.fetched == []


def test_a_hash_that_is_a_path_is_refused(tmp_path: Path) -> None:
    class Lying(FakeRemote):
        def listing(self, repository: str, kind: Kind, revision: str) -> Listing:
            return Listing(repository, kind, revision, "c0ffee", {"x": Known(3, "../../../x")})

    with pytest.raises(HubError) as caught:
        pulled(tmp_path, Lying({"x": 3}))

    assert caught.value.details == "first: it lists '../../../x' as the SHA-256 of x"


def test_what_a_link_in_a_folder_of_your_own_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"a file of yours")
    (tmp_path / "mine" / "x").symlink_to(tmp_path / "elsewhere")
    watcher = Quiet()

    pull(
        Wanted("a/b", folder=tmp_path / "mine"),
        {"first": SOURCES["first"]},
        lambda *_: FakeRemote({"x": 3}),
        {"huggingface": tmp_path / "cache"},
        watcher,
    )

    assert (tmp_path / "elsewhere").read_bytes() == b"a file of yours"
    assert (tmp_path / "mine" / "x").read_bytes() == bytes(3)
    assert watcher.notes == ["x is there, with another length, and comes again"]


def test_a_dry_run_asks_and_fetches_nothing(tmp_path: Path) -> None:
    remote = FakeRemote({"x": 3})

    assert pulled(tmp_path, remote, dry_run=True) == "first"
    assert remote.fetched == []
    assert not (tmp_path / "cache").exists()
