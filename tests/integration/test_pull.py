"""Pulling from hubs that fail: the real client libraries against servers on loopback, with every fault that people meet."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from envkit.errors import HubError, UsageError
from envkit.hub.check import check_model
from envkit.hub.connect import connect, prepare
from envkit.hub.known import known_files
from envkit.hub.places import Place, find_cached, find_place
from envkit.hub.pull import Pulled, Wanted, ask_listing, pull
from envkit.hub.sources import Source, read_sources
from tests.integration.hubs import COMMIT, Fault, Hub, dead_address
from tests.unit.hub.files import FIRST, SECOND, WHOLE, tensors, write

if TYPE_CHECKING:
    from envkit.hub.remote import Remote


prepare()
BIG = tensors(a=[300, 40], b=[4])
FILES = {
    **WHOLE,
    FIRST: BIG,
    SECOND: tensors(c=[2000]),
    "original/weights.bin": b"\x80" * 5000,
}
NAME = "Qwen/tiny.5"


@dataclass
class Heard:
    """A watcher that remembers."""

    notes: list[str] = field(default_factory=list)
    totals: list[int] = field(default_factory=list)
    done: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, total: int) -> None:
        self.totals.append(total)
        self.done = 0

    def advance(self, number: int) -> None:
        with self.lock:
            self.done += number

    def note(self, text: str) -> None:
        self.notes.append(text)


@dataclass
class Machine:
    """Caches of its own, and the sources that a test gives it."""

    folder: Path
    sources: dict[str, Source] = field(default_factory=dict)
    watcher: Heard = field(default_factory=Heard)
    named: bool = True

    @property
    def caches(self) -> dict[str, Path]:
        return {"huggingface": self.folder / "hf", "modelscope": self.folder / "ms"}

    def add(self, name: str, kind: str, hub: Hub | str) -> None:
        address = hub if isinstance(hub, str) else hub.address
        self.sources[name] = Source(hub=kind, about="", endpoint=address, source="", xet=False)  # type: ignore[arg-type]

    def pull(self, **wish: object) -> Pulled:
        hubs = read_sources().hubs

        def remote(_: str, source: Source) -> Remote:
            return connect(source, hubs[source.hub], named=self.named)

        wanted = Wanted(**{"repository": NAME, **wish})  # type: ignore[arg-type]
        return pull(wanted, self.sources, remote, self.caches, self.watcher)  # type: ignore[arg-type]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub({NAME: dict(FILES)}) as hub:
        yield hub


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_CACHE", "MODELSCOPE_API_TOKEN", "MODELSCOPE_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ENVKIT_HOME", str(tmp_path / "envkit"))
    monkeypatch.setattr("envkit.hub.pull.pause", lambda _: None)
    monkeypatch.setattr("huggingface_hub.file_download.time", SimpleNamespace(sleep=lambda _: None, time=time.time))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)  # what breaks off loses less than one
    return Machine(tmp_path)


KINDS = pytest.mark.parametrize("kind", ["huggingface", "modelscope"])


def brought(folder: Path) -> dict[str, bytes]:
    """What is there, by path."""
    found = (each for each in folder.rglob("*") if each.is_file() and ".cache" not in each.parts)
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in found}


@KINDS
def test_a_model_arrives_whole_where_the_caches_find_it(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)

    pulled = machine.pull()

    assert brought(pulled.plan.folder) == FILES
    place = find_cached(NAME, machine.caches)  # type: ignore[arg-type]
    assert place is not None
    assert place.folder == pulled.plan.folder
    assert check_model(place, known_files(place), hashes=True).findings == ()
    assert machine.watcher.done == machine.watcher.totals[0] == sum(map(len, FILES.values()))


def test_the_library_finds_what_was_pulled_without_the_hub(machine: Machine, hub: Hub) -> None:
    from huggingface_hub import snapshot_download

    machine.add("a", "huggingface", hub)
    pulled = machine.pull()

    found = snapshot_download(NAME, cache_dir=machine.folder / "hf" / "hub", local_files_only=True)

    assert Path(found) == pulled.plan.folder
    assert pulled.plan.folder.name == COMMIT


def test_modelscopes_library_finds_what_was_pulled_without_the_hub(machine: Machine, hub: Hub) -> None:
    from modelscope_hub import HubApi

    machine.add("a", "modelscope", hub)
    pulled = machine.pull()

    found = HubApi(endpoint=dead_address()).download_repo(
        NAME, "model", cache_dir=machine.folder / "ms", local_files_only=True
    )

    assert Path(found) == pulled.plan.folder


@KINDS
def test_what_is_there_does_not_come_again(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    machine.pull()
    hub.asked.clear()

    pulled = machine.pull()

    assert pulled.plan.missing == ()
    assert [each for each in hub.asked if each[0] == "GET" and ("/blob/" in each[1] or "FilePath" in each[1])] == []


@KINDS
def test_a_file_of_another_length_is_mended(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    folder = machine.pull().plan.folder
    (folder / FIRST).resolve().write_bytes(BIG[:-5])

    pulled = machine.pull()

    assert pulled.plan.missing == (FIRST,)
    assert brought(folder) == FILES


@KINDS
def test_force_fetches_again_what_has_the_right_length(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    folder = machine.pull().plan.folder
    for name in (FIRST, "tokenizer.json"):
        (folder / name).resolve().write_bytes(b"x" * len(FILES[name]))

    machine.pull(include=(FIRST, "tokenizer.json"), force=True)

    assert brought(folder) == FILES


@KINDS
def test_patterns_choose_files(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)

    pulled = machine.pull(include=("*.json", "original/"), exclude=("tokenizer*",))

    assert sorted(brought(pulled.plan.folder)) == [
        "config.json",
        "model.safetensors.index.json",
        "original/weights.bin",
    ]


@KINDS
def test_a_folder_of_its_own(machine: Machine, hub: Hub, kind: str, tmp_path: Path) -> None:
    machine.add("a", kind, hub)

    pulled = machine.pull(folder=tmp_path / "mine")

    assert pulled.plan.folder == tmp_path / "mine"
    assert brought(tmp_path / "mine") == FILES
    place = find_place(str(tmp_path / "mine"), {})
    assert check_model(place, known_files(place), hashes=True).findings == ()


@KINDS
def test_a_data_set(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    hub.repositories[NAME] = {"data/train.jsonl": b"{}\n" * 500, "README.md": b"x"}

    pulled = machine.pull(kind="dataset")

    assert brought(pulled.plan.folder) == hub.repositories[NAME]
    assert find_cached(NAME, machine.caches, "dataset") is not None  # type: ignore[arg-type]


# Faults ---------------------------------------------------------------------------------------------------------------

BYTES = {"huggingface": "/blob/", "modelscope": f"FilePath={FIRST}"}
"""Where the bytes of a large file come from."""


def resumed(hub: Hub, kind: str) -> int:
    """How many requests went on in the middle of the file, where the connection had been cut."""
    ranges = [headers.get("Range") or headers.get("range") or "" for headers in hub.requests(BYTES[kind])]
    middles = [int(each.removeprefix("bytes=").removesuffix("-")) for each in ranges if each]
    return sum(len(BIG) // 2 - 1000 < each <= len(BIG) // 2 for each in middles)


@KINDS
def test_a_connection_that_breaks_in_mid_file_goes_on_where_it_broke(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    hub.faults = [Fault(BYTES[kind], "cut", times=1)]

    pulled = machine.pull(include=(FIRST,))

    assert brought(pulled.plan.folder) == {FIRST: BIG}
    assert resumed(hub, kind) == 1
    assert machine.watcher.done == len(BIG)


@KINDS
def test_a_second_run_goes_on_where_the_first_was_ended(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    hub.faults = [Fault(BYTES[kind], "cut", times=1), Fault(BYTES[kind], "404", times=99)]
    with pytest.raises(HubError):
        machine.pull(include=(FIRST,))
    hub.faults.clear()
    hub.asked.clear()

    pulled = machine.pull(include=(FIRST,))

    assert brought(pulled.plan.folder) == {FIRST: BIG}
    assert resumed(hub, kind) == len(hub.requests(BYTES[kind])) == 1


@KINDS
@pytest.mark.parametrize("status", ["429", "503"])
def test_a_busy_hub_is_asked_again(machine: Machine, hub: Hub, kind: str, status: str) -> None:
    machine.add("a", kind, hub)
    listing = "/tree/" if kind == "huggingface" else "/repo/files"
    hub.faults = [Fault(listing, status), Fault(BYTES[kind], status, times=1)]

    assert brought(machine.pull().plan.folder) == FILES


@KINDS
@pytest.mark.parametrize("wrong", ["longer", "other"])
def test_wrong_bytes_are_refused_and_the_next_source_brings_the_right_ones(
    machine: Machine, hub: Hub, kind: str, wrong: str
) -> None:
    hub.faults = [Fault(BYTES[kind], wrong, times=99)]
    with Hub({NAME: dict(FILES)}) as honest:
        machine.add("mirror", kind, hub)
        machine.add("own", "huggingface", honest)

        pulled = machine.pull(include=(FIRST,))

    assert brought(pulled.plan.folder) == {FIRST: BIG}
    assert pulled.plan.source == "own"
    ((source, reason),) = pulled.tried
    assert source == "mirror"
    assert FIRST in reason
    assert machine.watcher.notes == [f"mirror: {reason}"]


@KINDS
def test_a_redirect_to_a_dead_host_is_told_and_the_next_source_tried(machine: Machine, hub: Hub, kind: str) -> None:
    where = f"/resolve/{COMMIT}/{FIRST}" if kind == "huggingface" else BYTES[kind]
    hub.faults = [Fault(where, "dead", times=99)]
    with Hub({NAME: dict(FILES)}) as alive:
        machine.add("first", kind, hub)
        machine.add("second", "modelscope", alive)

        pulled = machine.pull(include=(FIRST,))

    assert pulled.plan.source == "second"
    assert "cannot be reached" in pulled.tried[0][1]


@KINDS
def test_a_hub_that_nobody_runs_is_passed_over(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("gone", kind, dead_address())
    machine.add("there", "huggingface", hub)

    pulled = machine.pull()

    assert pulled.plan.source == "there"
    assert "cannot be reached: " in pulled.tried[0][1]


def test_a_gated_repository_says_where_to_accept_and_what_to_set(machine: Machine, hub: Hub) -> None:
    machine.add("hf", "huggingface", hub)
    hub.faults = [Fault("/resolve/", "gated", times=99, method="any")]

    with pytest.raises(HubError) as caught:
        machine.pull()

    assert caught.value.message == f"{NAME} cannot be pulled"
    assert caught.value.details == (f"hf: {NAME} is gated: accept its terms at {hub.address}/{NAME}, and set HF_TOKEN")
    assert caught.value.hint.startswith("make a token on the hub")


@KINDS
def test_a_model_that_is_not_there(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)

    with pytest.raises(HubError) as caught:
        machine.pull(repository="Qwen/none")

    assert "Qwen/none" in caught.value.details
    assert caught.value.hint == "search for none on the hub: the owner may be another one there"


@KINDS
def test_a_revision_that_is_not_there(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)

    with pytest.raises(HubError) as caught:
        machine.pull(revision="v9")

    assert "v9" in caught.value.details


@KINDS
def test_a_portal_that_answers_everything_with_a_page_is_no_hub(machine: Machine, hub: Hub, kind: str) -> None:
    machine.add("a", kind, hub)
    hub.faults = [Fault("/", "page", times=99, method="any")]

    with pytest.raises(HubError) as caught:
        machine.pull()

    assert caught.value.details.startswith("a: ")


def test_patterns_that_mean_nothing_name_what_is_there(machine: Machine, hub: Hub) -> None:
    machine.add("a", "huggingface", hub)

    with pytest.raises(UsageError) as caught:
        machine.pull(include=("*.onnx",))

    assert caught.value.message == f"no file of {NAME} is meant by --include and --exclude"
    assert "config.json" in caught.value.hint


@KINDS
def test_a_disk_without_room_is_seen_before_a_byte_comes(
    machine: Machine, hub: Hub, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from envkit.host.facts import Disk

    machine.add("a", kind, hub)
    monkeypatch.setattr("envkit.hub.pull.look_at", lambda purpose, path: Disk(purpose, str(path), free_mib=0))

    with pytest.raises(HubError) as caught:
        machine.pull()

    assert "GB are to come, and 0.00 GB are free on the disk of" in caught.value.message
    assert hub.requests(BYTES[kind]) == []


@KINDS
def test_the_hubs_listing_has_the_hash_of_every_file(machine: Machine, hub: Hub, kind: str, tmp_path: Path) -> None:
    """What `envkit model check --hashes` asks for, where the cache does not remember it."""
    machine.add("gone", kind, dead_address())
    machine.add("a", kind, hub)
    hubs = read_sources().hubs
    remotes = [partial(connect, each, hubs[each.hub], named=True) for each in machine.sources.values()]

    listing, reason = ask_listing(NAME, "model", "", remotes)

    assert reason == ""
    assert listing is not None
    folder = write(tmp_path / "copy", {**FILES, FIRST: BIG[:-1] + b"x"})
    checked = check_model(Place(folder, NAME), listing.files, hashes=True)
    assert [each.id for each in checked.findings] == ["model-hash-differs"]
    assert (checked.hashed, checked.again) == (len(FILES), (FIRST,))


# Tokens, and two at once ----------------------------------------------------------------------------------------------


def test_a_private_repository_opens_with_the_token(machine: Machine, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add("hf", "huggingface", hub)
    hub.private, hub.token = {NAME}, "hf_secret"
    with pytest.raises(HubError):
        machine.pull()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    assert brought(machine.pull().plan.folder) == FILES


@pytest.mark.parametrize("named", [True, False])
def test_a_mirror_gets_the_token_only_where_it_is_named(
    machine: Machine, hub: Hub, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    machine.add("mirror", "huggingface", hub)
    machine.sources["mirror"] = replace_source(machine.sources["mirror"])
    machine.named = named

    machine.pull()

    sent = {headers.get("Authorization") or headers.get("authorization") for _, _, headers in hub.asked}
    assert ("Bearer hf_secret" in sent) == named


def replace_source(source: Source) -> Source:
    from msgspec.structs import replace as changed

    return changed(source, mirror=True)


@KINDS
def test_two_at_once_fetch_every_file_once(machine: Machine, hub: Hub, kind: str, tmp_path: Path) -> None:
    machine.add("a", kind, hub)
    twin = replace(machine, watcher=Heard())
    threads = [threading.Thread(target=each.pull) for each in (machine, twin)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)

    assert len(hub.requests(BYTES["modelscope"] if kind == "modelscope" else f"/resolve/{COMMIT}/{FIRST}")) == 1
    place = find_cached(NAME, machine.caches)  # type: ignore[arg-type]
    assert place is not None
    assert brought(place.folder) == FILES


def test_the_environment_is_not_what_a_pull_changes(machine: Machine, hub: Hub) -> None:
    before = {
        name: value for name, value in os.environ.items() if name.startswith(("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_"))
    }
    machine.add("a", "huggingface", hub)
    machine.pull()

    after = {
        name: value for name, value in os.environ.items() if name.startswith(("HF_HOME", "HF_HUB_CACHE", "MODELSCOPE_"))
    }
    assert after == before


@KINDS
def test_the_same_large_file_under_two_names_is_fetched_whole(machine: Machine, hub: Hub, kind: str) -> None:
    """In Hugging Face's cache both are one blob, and two threads wrote its beginning into one another."""
    content = bytes(range(256)) * 2000
    hub.repositories[NAME] |= {"tokenizer.model": content, "tokenizer.model.v3": content}
    machine.add("a", kind, hub)

    folder = machine.pull().plan.folder

    assert brought(folder) == hub.repositories[NAME]
    assert machine.watcher.notes == []


def test_force_fetches_again_where_the_cache_lies_elsewhere(
    machine: Machine, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """HF_HUB_CACHE need not lie below HF_HOME; the blob there stayed, and was linked again."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hubs of mine"))
    machine.add("a", "huggingface", hub)
    folder = machine.pull().plan.folder
    (folder / FIRST).resolve().write_bytes(b"x" * len(FILES[FIRST]))

    machine.pull(include=(FIRST,), force=True)

    assert brought(folder) == FILES
