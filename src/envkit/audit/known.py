"""What is known of libraries and packages (`known.yaml`): typed, and read once."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from msgspec import Struct, convert


class Names(Struct, frozen=True, forbid_unknown_fields=True):
    """Names, or patterns of names."""

    names: tuple[str, ...]
    source: str


class BuiltFor(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages that state the CUDA that they were built for."""

    packages: tuple[str, ...]
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
    cuda_major: CudaMajor
    same_version: tuple[BuiltFor, ...]
    families: dict[str, Family]
    """By the package that they belong to."""
    optional: tuple[Optional, ...]
    shared_files: Names
    offline: Offline


@cache
def known() -> Known:
    """What the shipped file says."""
    text = (Path(__file__).parent / "known.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), Known)
