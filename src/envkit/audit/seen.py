"""What the programs that run inside an environment say of it: the other end of `probe.py` and `answers.py`."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field


class FileFault(Struct, frozen=True):
    """A file that is not as its package's RECORD states."""

    path: str
    distributions: tuple[str, ...]
    fault: Literal["missing", "size", "hash", "shared"]
    """Gone; of another length; of another content (where it was read); claimed by two packages that disagree about it."""


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
    sites: tuple[str, ...] = ()
    """The folders of packages, in the order in which Python looks into them."""
    markers: dict[str, str] = field(default_factory=dict)
    """What the markers of requirements are judged by."""
    requires: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """What a distribution asks for, as its METADATA says it."""
    tags: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of the wheel that a distribution came in."""
    wheels: dict[str, str] = field(default_factory=dict)
    """The name of that wheel, where it was installed from an address."""
    recorded: dict[str, int] = field(default_factory=dict)
    """How many files a distribution states."""
    stated: dict[str, dict[str, str]] = field(default_factory=dict)
    """What packages say of the `torch` and the `cuda` that they were built with, as they write it."""
    cut: dict[str, Literal["header", "content"]] = field(default_factory=dict)
    """Libraries that are shorter than they say themselves, and what is not whole of them."""
    numpy: dict[str, Literal["Cython", "C"]] = field(default_factory=dict)
    """Modules that work with NumPy 1 alone, and the language that they were written in."""
    architectures: tuple[str, ...] = ()
    """What torch's CUDA code is compiled for, such as sm_90; empty: not known."""

    @property
    def versions(self) -> dict[str, str]:
        """By name; of a package that is there twice, the one that is imported."""
        return dict(reversed(self.distributions))

    @property
    def torch_cuda(self) -> str:
        """The CUDA that torch was built for; empty: none, or there is no torch."""
        return self.cuda.get("torch", "")


class Answer(Struct, frozen=True):
    """How a program ended, and what it printed."""

    status: int | None
    """None: it did not end in time."""
    output: str
    seconds: float
