"""What `envkit diagnose` says of a log: values, to be shown or printed as JSON."""

from __future__ import annotations

from msgspec import Struct

from envkit.diagnose.schema import Severity  # noqa: TC001  # msgspec reads it


class Line(Struct, frozen=True):
    """A line of the log that proves a diagnosis."""

    line: int
    """Its number, from 1."""
    text: str
    """Without colours and prefixes; of a long one the part that matters."""


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
    """What to look at by hand: it was not looked at."""
    confirmed: tuple[str, ...] = ()
    """Facts of this machine that speak for it."""
    contradicted: tuple[str, ...] = ()
    """Facts that it needs and that do not hold here; told only where nothing else explains the log."""
    unchecked: tuple[str, ...] = ()
    """Facts that would, of a machine that was not looked at."""
    consequences: tuple[str, ...] = ()
    """Ids of what else the log shows, and what follows from this."""


class Root(Struct, frozen=True):
    """The exception that the log goes back to, whether or not it is explained."""

    kind: str
    message: str
    line: int
    frame: str = ""
    """File, line and function; empty where no traceback tells."""
    ended_as: str = ""
    """What it became further up, where it is the root of a chain."""


class Report(Struct, frozen=True):
    """All that was found in a log."""

    diagnoses: tuple[Diagnosis, ...]
    """The cause first."""
    exception: Root | None
    """Where nothing explains it, this is what to report."""
    seen: tuple[str, ...]
    """Every id that matched, cause or not, in the order of the log."""
    lines: int
    """Of the log."""
    failed: bool
    """Whether the log shows a failure at all."""

    @property
    def unknown(self) -> bool:
        """Whether nothing here explains what broke, if anything did."""
        return not self.diagnoses
