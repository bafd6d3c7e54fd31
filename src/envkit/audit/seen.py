"""What the programs that run inside an environment say of it: the other end of `probe.py` and `answers.py`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class FileFault(Struct, frozen=True):
    """A file that is not as its package's RECORD states."""

    path: str
    distributions: tuple[str, ...]
    fault: Literal["missing", "size", "shared"]
    """Gone; of another length; claimed by two packages that state different hashes."""


class LinkFault(Struct, frozen=True):
    """A library that would not load."""

    library: str
    distribution: str
    """Empty: no package brought it."""
    kind: Literal["missing", "undefined", "version"]
    what: str
    """The library that is not found; the first undefined symbol; the library and the version that it lacks."""
    more: int
    """Further undefined symbols."""
    roots: tuple[str, ...]
    """What is loaded by name, and brings this library."""


class Seen(Struct, frozen=True):
    """An installed environment, looked at and not imported."""

    python: str
    seconds: tuple[float, float, float]
    """What was spent on packages, on libraries, on names."""
    distributions: tuple[tuple[str, str], ...]
    """Normalised name and version; a package that has metadata twice is there twice."""
    records: int
    """How many files the distributions state."""
    files: tuple[FileFault, ...]
    cuda: dict[str, str]
    """The CUDA that a package states it was built for; empty: for none."""
    members: tuple[str, ...]
    """The files of families (`known.yaml`) that are there."""
    sonames: dict[str, str]
    """Where the library of that name is."""
    libraries: int
    linking: tuple[LinkFault, ...]
    programs: tuple[str, ...]
    """Of those that were asked for, the ones that are there."""
    words: tuple[str, ...]
    """Of the names that were asked for, the ones that occur in sources or libraries."""


class Answer(Struct, frozen=True):
    """How a program ended, and what it printed."""

    status: int | None
    """None: it did not end in time."""
    output: str
    seconds: float
