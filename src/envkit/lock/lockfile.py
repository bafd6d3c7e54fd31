"""Reads and writes locks, splits off the torch layer, and says whether a lock still follows from the matrix."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envkit.errors import StaleLockError

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import MatrixEnvironment

_NAME = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>\S+)")
_FIELD = re.compile(r"^# (?P<key>[a-z-]+): (?P<value>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Lock:
    """An environment's lock: a header of facts, then every package with its hashes."""

    environment: str
    inputs: str
    """The hash of what the lock was made from."""
    exclude_newer: str
    """Nothing published after this moment (RFC 3339) was looked at, so the same lock can be made again."""
    resolver: str
    body: str
    """The packages in pip's requirements format; no index addresses."""
    build: str
    """In the same format: what installs the packages and builds their source distributions."""

    @cached_property
    def sha256(self) -> str:
        """The identity of the lock: the hash of its packages, whatever the header says."""
        return _sha256(self.body)

    @cached_property
    def packages(self) -> dict[str, str]:
        """Version by normalised name."""
        found = map(_NAME.match, self.body.splitlines())
        return {match["name"]: match["version"] for match in found if match}

    def subset(self, patterns: tuple[str, ...]) -> str:
        """The entries whose name the patterns choose, as they stand in the lock: never a second resolution."""
        entries = re.split(r"\n(?=\S)", self.body.rstrip("\n"))
        return "".join(f"{entry}\n" for entry in entries if chosen(entry.split("==")[0], patterns))

    def compiled(self, environment: MatrixEnvironment) -> dict[str, str]:
        """For each package that images carry compiled: its entry, and those of what its build imports, by file name."""
        files = {}
        for name, how in environment.compiled.items():
            if name in self.packages:
                files[f"{name}.lock"] = self.subset((name,))
                files[f"{name}-build.lock"] = self.subset(tuple(how.build_with))
        return files

    def text(self) -> str:
        """The file's content."""
        return (
            f"# Made by `envkit lock {self.environment}` from envmatrix.yaml; change that.\n"
            f"# environment: {self.environment}\n"
            f"# inputs: {self.inputs}\n"
            f"# packages: {self.sha256}\n"
            f"# build: {_sha256(self.build)}\n"
            f"# exclude-newer: {self.exclude_newer}\n"
            f"# resolver: {self.resolver}\n"
            f"{self.body}"
        )


def chosen(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether the patterns choose the package: the last that matches decides; `!` before it means: not this one."""
    deciding = [pattern for pattern in patterns if fnmatchcase(name, pattern.removeprefix("!"))]
    return bool(deciding) and not deciding[-1].startswith("!")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def lock_path(environment: MatrixEnvironment) -> Path:
    """Where the environment's lock is kept."""
    return environment.folder / "requirements.lock"


def python_platform(environment: MatrixEnvironment) -> str:
    """The resolver's name for the machines that a lock is for: Linux with the base image's processors and C library."""
    return f"{environment.base.architecture}-manylinux_{environment.base.glibc.replace('.', '_')}"


def requirements(environment: MatrixEnvironment) -> str:
    """What the resolver is asked for."""
    names = {canonicalize_name(Requirement(each).name) for each in environment.entry.require}
    brought = [each for name, how in environment.compiled.items() if name in names for each in how.require]
    return "\n".join([*environment.entry.require, *environment.stack.pins, *brought, ""])


def constraints(environment: MatrixEnvironment) -> str:
    """What the resolver must not contradict: bounds that no package states."""
    return "\n".join([*(each.requirement for each in environment.entry.constrain), ""])


def overrides(environment: MatrixEnvironment) -> str:
    """What the resolver must take instead of what packages ask for."""
    return "\n".join([*(each.requirement for each in environment.entry.override), ""])


def inputs_hash(environment: MatrixEnvironment) -> str:
    """The hash of all that decides a lock's content, apart from the moment it was made."""
    inputs = {
        "requirements": requirements(environment).split(),
        "constraints": sorted(constraints(environment).split("\n")),
        "python": environment.entry.python,
        "platform": python_platform(environment),
        "build": sorted(environment.build_requires),
    }
    if environment.entry.override:
        inputs["overrides"] = sorted(each.requirement for each in environment.entry.override)
    if environment.build_options:
        inputs["build-options"] = environment.build_options
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def load_lock(environment: MatrixEnvironment) -> Lock | None:
    """The environment's lock, fresh or not; None where there is none.

    Raises `StaleLockError` when a hand has changed it.
    """
    path = lock_path(environment)
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    start = match.start() if (match := re.search(r"^(?!#)", text, re.MULTILINE)) else len(text)
    fields = {match["key"]: match["value"] for match in _FIELD.finditer(text[:start])}
    refresh = (
        f"put the change into envmatrix.yaml; `rm {path}` and `envkit lock {environment.name}` make the lock again"
    )
    missing = {"inputs", "packages", "build", "exclude-newer", "resolver"} - fields.keys()
    if missing:
        lacks = f"its header lacks: {', '.join(sorted(missing))}"
        raise StaleLockError(f"not a lock of envkit: {path}", details=lacks, hint=refresh)
    build = (environment.folder / "build.lock").read_text() if (environment.folder / "build.lock").is_file() else ""
    lock = Lock(environment.name, fields["inputs"], fields["exclude-newer"], fields["resolver"], text[start:], build)
    for file, found, expected in (
        (path, lock.sha256, fields["packages"]),
        (environment.folder / "build.lock", _sha256(build), fields["build"]),
    ):
        if found != expected:
            raise StaleLockError(
                f"a lock was edited by hand: {file}",
                details=f"it hashes to         {found}\nits header expects   {expected}",
                hint=refresh,
            )
    return lock


def read_lock(environment: MatrixEnvironment) -> Lock:
    """The environment's lock; raises `StaleLockError` when it is missing, edited, or not made from this matrix."""
    lock = load_lock(environment)
    refresh = f"run `envkit lock {environment.name}`"
    if lock is None:
        raise StaleLockError(f"{environment.name} has no lock: {lock_path(environment)}", hint=refresh)
    if lock.inputs != inputs_hash(environment):
        stale = f"the lock of {environment.name} does not follow from envmatrix.yaml any more: {lock_path(environment)}"
        raise StaleLockError(stale, hint=refresh)
    return lock
