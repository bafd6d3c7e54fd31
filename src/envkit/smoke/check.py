"""The result of a smoke check, what several of them come to, and what of them is evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from envkit.audit.check import Result, overall
from envkit.backends.base import BackendName  # noqa: TC001  # msgspec reads it
from envkit.evidence import Level, Seen

if TYPE_CHECKING:
    from collections.abc import Sequence

ENVIRONMENT_CHECKS = ("import", "cli")
"""They say of an environment what `envkit verify` says, and are no jobs: they are no evidence of one."""


class Cause(Struct, frozen=True):
    """What is known of a failure by its log."""

    id: str
    title: str
    fix: tuple[str, ...]


class Check(Struct, frozen=True, kw_only=True):
    """The result of one check; `envkit smoke --json` prints these."""

    name: str
    result: Result
    detail: str
    """One sentence: what was seen, or the first thing that is wrong."""
    seconds: float = 0.0
    faults: tuple[str, ...] = ()
    """One line for each thing that is wrong."""
    metrics: dict[str, float] = field(default_factory=dict)
    losses: tuple[float, ...] = ()
    """Of each step, where something was trained."""
    command: tuple[str, ...] = ()
    """The framework's own command that ran."""
    log: tuple[str, ...] = ()
    """The last lines that it printed, where it did not pass."""
    diagnosis: Cause | None = None


class Report(Struct, frozen=True, kw_only=True):
    """What became of the checks of one environment."""

    environment: str
    backend: BackendName
    device: str
    machine: str
    """In a few words, as evidence has it."""
    checks: tuple[Check, ...]
    result: Result
    """The worst of them. What was skipped counts where it was asked for by name, and is a failure then."""


def judged(name: str, faults: Sequence[str], fine: str, **more: object) -> Check:
    """A check that passes when nothing is wrong; `fine` is said then."""
    detail = fine if not faults else faults[0] if len(faults) == 1 else f"{faults[0]} (and {len(faults) - 1} more)"
    return Check(name=name, result="fail" if faults else "pass", detail=detail, faults=tuple(faults), **more)  # type: ignore[arg-type]


def result_of(checks: Sequence[Check], asked: Sequence[str]) -> Result:
    """What they come to; `asked` are those that the user named. Nothing passes where nothing ran."""
    if any(each.result == "skip" and each.name in asked for each in checks):
        return max(overall(checks), "fail", key=("skip", "fail", "error").index)
    ran = [each for each in checks if each.result != "skip"]
    return overall(ran) if ran else "skip"


def evidence_of(report: Report, *, date: str) -> list[Seen]:
    """The jobs of the report as evidence of its device's level; what was skipped was not seen."""
    level: Level = "gpu" if report.device == "gpu" else "cpu"
    return [
        Seen(
            level=level,
            job=each.name,
            backend=report.backend,
            result=each.result,
            date=date,
            machine=report.machine,
            detail="" if each.result == "pass" else each.detail,
        )
        for each in report.checks
        if each.result != "skip" and each.name not in ENVIRONMENT_CHECKS
    ]
