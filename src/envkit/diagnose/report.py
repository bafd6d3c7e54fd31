"""What `envkit diagnose` says of a log: values, to be shown or printed as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from envkit.diagnose.schema import Severity


class Line(Struct, frozen=True):
    """A line of the log that proves a diagnosis."""

    line: int
    """Its number, from 1."""
    text: str
    """Without colours and prefixes; the middle of long ones."""


class Diagnosis(Struct, frozen=True):
    """What broke, told with what the log says."""

    id: str
    title: str
    severity: Severity
    cause: str
    fix: tuple[str, ...]
    evidence: tuple[Line, ...]
    source: str
    check: tuple[str, ...] = ()
    """What was not looked at, and should be."""
    consequences: tuple[str, ...] = ()
    """Ids of what else the log shows, and what follows from this."""


class Report(Struct, frozen=True):
    """All that was found in a log."""

    diagnoses: tuple[Diagnosis, ...]
    """The cause first."""
    seen: tuple[str, ...]
    """Every id that matched, causes or not, in the order of the log."""

    @property
    def unknown(self) -> bool:
        """Whether nothing here explains what broke, if anything did."""
        return not self.diagnoses
