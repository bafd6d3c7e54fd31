"""All checks run over a machine: what was found, and what was not looked for because something else explains it."""

from __future__ import annotations

from dataclasses import dataclass

from envkit.doctor.checks import REGISTRY, Machine, engine, gpu, machine, network, venv
from envkit.doctor.finding import SEVERITIES, Finding, tell

__all__ = ["Report", "engine", "examine", "gpu", "machine", "network", "venv"]
"""The modules of checks register themselves when they are imported, causes before effects."""


@dataclass(frozen=True)
class Report:
    """What `envkit doctor` has to say."""

    findings: tuple[Finding, ...]
    """Errors first."""
    skipped: tuple[tuple[str, str], ...]
    """Checks that were not made, each with the finding that explains what it would have seen."""

    @property
    def ok(self) -> bool:
        """Whether nothing stands in the way."""
        return not any(each.severity == "error" for each in self.findings)


def examine(subject: Machine) -> Report:
    """The findings on a machine; pure, so a recorded machine gives what it gave where it was recorded."""
    found: list[Finding] = []
    skipped: dict[str, str] = {}
    for each in REGISTRY.values():
        explained = next((finding.id for finding in found if finding.id in each.after), None)
        if explained:
            skipped[each.id] = explained
        else:
            found += [tell(each.id, values) for values in each.look(subject)]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(tuple(found), tuple(skipped.items()))
