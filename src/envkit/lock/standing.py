"""How far an environment got: its lock says that it resolves, its evidence what was seen beyond that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from envkit.errors import StaleLockError
from envkit.evidence import failures, highest, load_evidence
from envkit.lock.lockfile import read_lock

if TYPE_CHECKING:
    from envkit.evidence import Level, Seen
    from envkit.matrix.load import MatrixEnvironment


@dataclass(frozen=True)
class Standing:
    """The strongest claim that holds of an environment, and what it rests on."""

    level: Level | None = None
    """None: it has no fresh lock."""
    date: str = ""
    """When that was seen; of `resolved`, the day that the lock was made for."""
    seen: tuple[Seen, ...] = ()
    """All that was seen of this lock."""
    problem: str = ""
    """Why there is no level."""

    @property
    def failed(self) -> tuple[Seen, ...]:
        """What was seen not to work."""
        return failures(self.seen)


def standing(environment: MatrixEnvironment) -> Standing:
    """Where the environment stands today; a lock that is missing, edited or stale is a problem and no error."""
    try:
        lock = read_lock(environment)
    except StaleLockError as error:
        return Standing(problem=error.message)
    evidence = load_evidence(environment, lock)
    best = highest(evidence)
    if best is None:
        return Standing("resolved", lock.exclude_newer[:10], evidence.seen)
    return Standing(best.level, best.date, evidence.seen)
