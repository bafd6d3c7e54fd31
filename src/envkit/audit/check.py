"""A check of an environment, and what several of them come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CheckName = Literal["installed", "companions", "linked", "imports", "cli", "variables"]
Result = Literal["pass", "fail", "skip", "error"]


class Check(Struct, frozen=True):
    """The result of one check; `envkit verify --json` prints these."""

    name: CheckName
    result: Result
    detail: str
    """One sentence: what was found, or how much was looked at."""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    """One line for each thing that is wrong, or that could not be tried."""
    metrics: dict[str, float] = field(default_factory=dict)


def judged(name: CheckName, faults: Sequence[str], fine: str, *, seconds: float = 0.0, **metrics: float) -> Check:
    """A check that passes when nothing is wrong; `fine` is said then."""
    detail = fine if not faults else faults[0] if len(faults) == 1 else f"{len(faults)} faults"
    return Check(name, "fail" if faults else "pass", detail, round(seconds, 1), tuple(faults), metrics)


class Judged(Protocol):
    """Whatever has a result."""

    @property
    def result(self) -> Result:
        """Of it."""


def overall(checks: Iterable[Judged]) -> Result:
    """The worst of them: nothing passes while something failed or could not be tried."""
    results = {each.result for each in checks}
    order: tuple[Result, ...] = ("error", "fail", "skip")
    return next((each for each in order if each in results), "pass")
