"""What is known of libraries and packages (`known.yaml`): typed, and read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from msgspec import Struct, convert

from envkit.finding import Severity  # noqa: TC001  # msgspec reads it


class Names(Struct, frozen=True, forbid_unknown_fields=True):
    """Names, or patterns of names."""

    names: tuple[str, ...]
    source: str


class BuiltFor(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages that state the CUDA that they were built for."""

    packages: tuple[str, ...]
    source: str


class Companion(Struct, frozen=True, forbid_unknown_fields=True):
    """A package that compares its CUDA with torch's when it is imported."""

    agree: Literal["major", "minor"]
    """How much of the version must be the same."""
    error: str
    """What it says otherwise; `{own}` is its CUDA, `{cuda}` torch's."""
    source: str


class Stated(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a package states the torch and the CUDA that it was built with."""

    file: str
    patterns: dict[Literal["torch", "cuda"], str]
    """The first group is the version."""
    source: str


class Alike(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages that must be of one version."""

    packages: tuple[str, ...]
    error: str
    """`{name}`, `{version}` are those of the one that differs, `{first}` and `{wanted}` of the first."""
    source: str
    parts: int = 9
    """How many parts of the version count."""
    severity: Severity = "error"


class Clash(Struct, frozen=True, forbid_unknown_fields=True):
    """Releases that do not go together, though no metadata says so."""

    package: str
    beside: str
    """Both are requirements."""
    error: str
    fix: str
    source: str


class Refusal(Struct, frozen=True, forbid_unknown_fields=True):
    """A package that looks at the versions of others when it is imported, and refuses."""

    looks_at: tuple[str, ...]
    error: str
    """`{requirement}` with its bounds, `{name}`, `{found}`."""
    source: str


class KeptByOthers(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages whose files nobody should compare with RECORD."""

    installers: tuple[str, ...]
    """As the file INSTALLER names them."""
    folders: tuple[str, ...]
    source: str


class Numpy1(Struct, frozen=True, forbid_unknown_fields=True):
    """What modules for NumPy 1 say beside NumPy 2."""

    errors: dict[Literal["Cython", "C"], str]
    """By the language that they were written in."""
    source: str


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """What brings a library of the system."""

    libraries: tuple[str, ...]
    brought_by: str


class Providers(Struct, frozen=True, forbid_unknown_fields=True):
    """What brings libraries."""

    names: tuple[Provider, ...]
    source: str


class StandIns(Struct, frozen=True, forbid_unknown_fields=True):
    """Distributions any of which brings the same modules."""

    groups: tuple[tuple[str, ...], ...]
    source: str


class Symptom(Struct, frozen=True, forbid_unknown_fields=True):
    """What a package says where its own libraries do not load, since it catches the loader's error."""

    error: str
    source: str


class CudaMajor(Struct, frozen=True, forbid_unknown_fields=True):
    """Libraries whose number is the CUDA major version; without `.so`."""

    libraries: tuple[str, ...]
    source: str


class Family(Struct, frozen=True, forbid_unknown_fields=True):
    """Libraries of which a package takes one."""

    files: str
    chosen: str
    """`{cuda}` is torch's CUDA without its dot, `{torch}` torch's major and minor version likewise."""
    always: tuple[str, ...]
    """Taken beside it, and where torch has no CUDA."""
    source: str
    errors: dict[str, str] = {}
    """What it says where its library is not there, by release, newest first; `{path}` is the library's."""
    override: str = ""
    """A variable that names another member, by what stands for `{cuda}`."""
    nearest: str = ""
    """The releases that take another of the same major version where the chosen one is not there."""
    unless: str = ""
    """Where this is installed, the package takes none of them."""


class Optional(Struct, frozen=True, forbid_unknown_fields=True):
    """Libraries that need not load."""

    files: tuple[str, ...]
    reason: str
    source: str
    requirement: str = ""
    """Of these releases alone."""


class Offline(Struct, frozen=True, forbid_unknown_fields=True):
    """Variables that keep libraries off the network."""

    variables: dict[str, str]
    source: str


class Known(Struct, frozen=True, forbid_unknown_fields=True):
    """All of it."""

    driver_libraries: Names
    torch_loads: Names
    built_for: BuiltFor
    companions: dict[str, Companion]
    """By package, as the next ones."""
    stated: dict[str, Stated]
    symptoms: dict[str, Symptom]
    cuda_major: CudaMajor
    same_version: tuple[Alike, ...]
    clashes: tuple[Clash, ...]
    refusals: dict[str, Refusal]
    numpy_1: Numpy1
    providers: Providers
    stand_ins: StandIns
    families: dict[str, Family]
    """By the package that they belong to."""
    optional: tuple[Optional, ...]
    shared_files: Names
    changing_files: Names
    wrong_records: Names
    kept_by_others: KeptByOthers
    offline: Offline


@cache
def known() -> Known:
    """What the shipped file says."""
    text = (Path(__file__).parent / "known.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), Known)
