"""What was seen is kept, one thing of a kind, and lost with its lock."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from envkit.errors import MatrixError
from envkit.evidence import Evidence, Level, Result, Seen, evidence_path, highest, load_evidence, record

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Place:
    folder: Path


@dataclass(frozen=True)
class Hash:
    sha256: str


LOCK = Hash("abc")
MACHINE = "Debian 12, x86_64, no GPU"


def seen(
    level: Level, result: Result = "pass", *, backend: str | None = "venv", date: str = "2026-11-21", job: str = ""
) -> Seen:
    return Seen(level=level, result=result, backend=backend, date=date, machine=MACHINE, job=job)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "images/demo/cu130")


def test_the_file_is_the_same_whatever_the_order(place: Place) -> None:
    record(place, LOCK, seen("cpu", job="webui"))
    record(place, LOCK, seen("cpu", job="train"))
    record(place, LOCK, seen("imports", "fail", backend="docker"))

    assert evidence_path(place).read_text() == (
        '{\n  "lock": "abc",\n  "seen": [\n'
        '    {"level": "imports", "backend": "docker", "result": "fail", "date": "2026-11-21",'
        ' "machine": "Debian 12, x86_64, no GPU"},\n'
        '    {"level": "cpu", "job": "train", "backend": "venv", "result": "pass", "date": "2026-11-21",'
        ' "machine": "Debian 12, x86_64, no GPU"},\n'
        '    {"level": "cpu", "job": "webui", "backend": "venv", "result": "pass", "date": "2026-11-21",'
        ' "machine": "Debian 12, x86_64, no GPU"}\n'
        "  ]\n}\n"
    )


def test_the_same_level_backend_and_job_are_seen_once(place: Place) -> None:
    record(place, LOCK, seen("cpu", "fail", job="train"), seen("cpu", job="webui"))
    record(place, LOCK, seen("cpu", date="2026-11-22", job="train"))
    record(place, LOCK, seen("cpu", backend="docker", job="train"))

    assert load_evidence(place, LOCK).seen == (
        seen("cpu", backend="docker", job="train"),
        seen("cpu", date="2026-11-22", job="train"),
        seen("cpu", job="webui"),
    )


def test_what_two_see_at_once_is_kept_of_both(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was written last was all there was."""

    def slowly(*args: Any) -> Evidence:
        found = load_evidence(*args)
        time.sleep(0.1)
        return found

    monkeypatch.setattr("envkit.evidence.load_evidence", slowly)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda job: record(place, LOCK, seen("cpu", job=job)), ("train", "webui", "api")))

    assert [each.job for each in load_evidence(place, LOCK).seen] == ["api", "train", "webui"]
    assert [each.name for each in place.folder.iterdir()] == ["evidence.json"]


def test_a_lock_that_changes_loses_its_evidence(place: Place) -> None:
    record(place, LOCK, seen("cpu"))

    assert load_evidence(place, Hash("def")) == Evidence(lock="def")
    record(place, Hash("def"), seen("imports"))
    assert load_evidence(place, Hash("def")).seen == (seen("imports"),)
    assert load_evidence(place, LOCK).seen == ()


def test_where_nothing_was_seen_there_is_no_evidence(place: Place) -> None:
    assert load_evidence(place, LOCK) == Evidence(lock="abc")
    assert not place.folder.exists()


def test_a_file_of_somebody_else_is_a_fault_with_its_name(place: Place) -> None:
    place.folder.mkdir(parents=True)
    evidence_path(place).write_text('{"lock": "abc", "seen": [{"level": "perfect"}]}')

    with pytest.raises(MatrixError) as caught:
        load_evidence(place, LOCK)

    assert caught.value.faults == (
        f"{evidence_path(place)}: not evidence that envkit wrote: Invalid enum value 'perfect' - at `$.seen[0].level`",
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param((), None, id="nothing was seen"),
        pytest.param((seen("imports"), seen("cpu")), seen("cpu"), id="the strongest"),
        pytest.param((seen("cpu"), seen("imports", "fail")), None, id="below a failure nothing is left"),
        pytest.param((seen("imports"), seen("cpu", "error")), seen("imports"), id="up to a failure"),
        pytest.param((seen("cpu"), seen("cpu", "fail", job="x")), None, id="one job failed"),
        pytest.param(
            (seen("cpu", date="2026-11-22", job="a"), seen("cpu", job="b")),
            seen("cpu", date="2026-11-22", job="a"),
            id="the latest",
        ),
    ],
)
def test_the_highest_level(found: tuple[Seen, ...], expected: Seen | None) -> None:
    assert highest(Evidence(lock="abc", seen=found)) == expected
