"""What was seen of an environment: read, written, and dropped once its lock is another. Only envkit writes it."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, get_args

import msgspec
from msgspec import Meta, Struct

from envkit.errors import MatrixError
from envkit.share import write_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

Level = Literal["resolved", "installed", "linked", "imports", "cpu", "gpu"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the weakest claim to the strongest; the first follows from a fresh lock and is never recorded."""
Result = Literal["pass", "fail", "error"]


class Seen(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The result of one check: what was asked for and skipped is a failure."""

    level: Level
    job: str = ""
    """What ran, where a level has several jobs, such as `webui`."""
    backend: str | None = None
    """None where it does not matter."""
    result: Result
    date: Annotated[str, Meta(pattern=r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}$")]
    machine: str
    """In a few words and without its name: `Debian 12, x86_64, no GPU`."""
    detail: str = ""
    """What a reader should know beside the result, such as the error."""


class Evidence(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that was seen of an environment that was made from one lock."""

    lock: str
    """The lock's hash."""
    seen: tuple[Seen, ...] = ()

    def of(self, level: Level) -> tuple[Seen, ...]:
        """What was seen on that level."""
        return tuple(each for each in self.seen if each.level == level)


class _Environment(Protocol):
    @property
    def folder(self) -> Path:
        """Where its generated files are."""


class _Lock(Protocol):
    @property
    def sha256(self) -> str:
        """The hash of its packages."""


def evidence_path(environment: _Environment) -> Path:
    """Where the environment's evidence is kept."""
    return environment.folder / "evidence.json"


def load_evidence(environment: _Environment, lock: _Lock) -> Evidence:
    """What was seen of the environment as `lock` makes it; empty where the evidence is of another lock.

    Raises `MatrixError` for a file that is no evidence.
    """
    path = evidence_path(environment)
    if not path.is_file():
        return Evidence(lock=lock.sha256)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Evidence)
    except msgspec.MsgspecError as error:
        raise MatrixError([f"{path}: not evidence that envkit wrote: {error}"]) from error
    return found if found.lock == lock.sha256 else Evidence(lock=lock.sha256)


def record(environment: _Environment, lock: _Lock, *seen: Seen) -> None:
    """Adds what was seen; what was seen before of the same level, backend and job gives way to it."""
    with _alone(environment.folder):
        kept = {_key(each): each for each in (*load_evidence(environment, lock).seen, *seen)}
        text = evidence_text(Evidence(lock=lock.sha256, seen=tuple(kept[key] for key in sorted(kept))))
        write_file(evidence_path(environment), text)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else records there meanwhile; the lock is the folder's own, so that no file is left among the committed."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def evidence_text(evidence: Evidence) -> str:
    """The file's content, one line for each thing seen, so that a change is a line."""
    rows = ",\n".join(
        f"    {msgspec.json.format(msgspec.json.encode(each), indent=0).decode()}" for each in evidence.seen
    )
    seen = f"[\n{rows}\n  ]" if rows else "[]"
    return f'{{\n  "lock": "{evidence.lock}",\n  "seen": {seen}\n}}\n'


def highest(evidence: Evidence) -> Seen | None:
    """The strongest level that passed, with nothing failed on it or below: the latest of what was seen there.

    None where nothing passed: then the environment is `resolved`, if its lock is fresh.
    """
    best = None
    for level in LEVELS:
        seen = evidence.of(level)
        if failures(seen):
            break
        best = max(seen, key=lambda each: each.date, default=best)
    return best


def failures(seen: Iterable[Seen]) -> tuple[Seen, ...]:
    """Those that did not pass."""
    return tuple(each for each in seen if each.result != "pass")


def _key(seen: Seen) -> tuple[int, str, str]:
    return LEVELS.index(seen.level), seen.backend or "", seen.job
