"""What every hub can do, and how it refuses: the shape that the libraries of both are brought into."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Literal, Protocol

from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from envkit.hub.known import Known
    from envkit.hub.sources import Kind

Why = Literal["missing", "denied", "unreachable", "busy", "broken", "unspoken"]
"""It is not there; it may not be had; nobody answers; come back later; what came is not what was listed; its library is not
installed."""


class RefusedError(Exception):
    """A hub does not give, or take, what it was asked for; `reason` is a clause for the user."""

    def __init__(self, why: Why, reason: str) -> None:
        """Why, in one word and in a clause, which is shown without a password."""
        self.why = why
        self.reason = redact(reason)
        super().__init__(self.reason)


class StoppedError(BaseException):
    """Somebody does not want the rest any more; no `except Exception` of a library takes it for a fault of the network."""


@dataclass(frozen=True)
class Listing:
    """A repository at one commit."""

    repository: str
    kind: Kind
    revision: str
    """As it was asked for; empty: the hub's default."""
    commit: str
    """What that is now; a branch where the hub does not tell."""
    files: dict[str, Known]


@dataclass(frozen=True)
class Into:
    """Where files go: a hub's cache, or a folder of their own."""

    cache: Path
    folder: Path | None = None


def is_meant(name: str, include: Iterable[str], exclude: Iterable[str]) -> bool:
    """Whether the patterns mean it, in the way of both libraries: shell patterns, and `folder/` for all that is in it."""

    def matches(patterns: Iterable[str]) -> bool:
        return any(fnmatch(name, f"{each}*" if each.endswith("/") else each) for each in patterns)

    return (not include or matches(include)) and not matches(exclude)


class Remote(Protocol):
    """A hub at one endpoint. Everything may raise `RefusedError`."""

    def listing(self, repository: str, kind: Kind, revision: str) -> Listing:
        """Every file of it."""
        ...

    def place(self, listing: Listing, into: Into) -> Path:
        """The folder in which the files will be, which need not exist."""
        ...

    def partial(self, listing: Listing, name: str, into: Into) -> Path:
        """The beginning of a file that an earlier try left; it need not exist."""
        ...

    def fetch(self, listing: Listing, name: str, into: Into, advance: Callable[[int], None]) -> None:
        """Brings one file that is not there, going on where an earlier try stopped.

        May leave files for `finish`. `advance` hears of bytes, and raises what ends the work.
        """
        ...

    def finish(self, listing: Listing, names: Sequence[str], into: Into, advance: Callable[[int], None]) -> None:
        """Makes of what was brought what frameworks find."""
        ...

    def send(
        self, folder: Path, names: Sequence[str], repository: str, kind: Kind, *, private: bool, message: str
    ) -> str:
        """Makes the repository if it is not there, and sends the files; its address."""
        ...
