"""The shipped locks: fresh, whole, of one CUDA, and free of addresses."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from itertools import groupby
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envkit.lock.lockfile import Lock, read_lock
from tests.knowledge.conftest import ENVIRONMENTS

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix, MatrixEnvironment

ENTRY = re.compile(r"[a-z0-9][a-z0-9._-]*==[0-9][^\s;]*( \\\n    --hash=sha256:[0-9a-f]{64})+\n")
"""A package with its exact version and its hashes, and nothing else."""


@pytest.fixture
def lock(environment: MatrixEnvironment) -> Lock:
    return read_lock(environment)  # raises when it is missing, edited or stale


def test_files_beside_the_lock_are_parts_of_it(environment: MatrixEnvironment, lock: Lock) -> None:
    torch = (environment.folder / "torch.lock").read_text()

    assert torch == lock.subset(environment.torch_layer)
    assert all(f"\n{entry}" in f"\n{lock.body}" for entry in re.split(r"(?m)^(?=\w)", torch))
    assert (environment.folder / "build.lock").read_text() == lock.build


def test_a_stack_has_one_torch_layer(shipped: Matrix) -> None:
    layers: dict[str, dict[str, list[str]]] = {}
    for each in shipped.environments():
        layers.setdefault(each.entry.stack, {}).setdefault((each.folder / "torch.lock").read_text(), []).append(
            each.name
        )

    assert {stack: list(found.values()) for stack, found in layers.items() if len(found) > 1} == {}


def test_every_package_has_its_hashes_and_nothing_else_is_in_a_lock(lock: Lock) -> None:
    for text in (lock.body, lock.build):
        assert ENTRY.sub("", text) == ""
    assert len(lock.packages) == len(ENTRY.findall(lock.body)) > 10


def test_no_address_is_in_any_lock(environment: MatrixEnvironment) -> None:
    for file in environment.folder.glob("*.lock"):
        assert not re.search(r"://|--index|--find-links| @ ", file.read_text()), file


def test_the_lock_has_what_the_matrix_pins(environment: MatrixEnvironment, lock: Lock) -> None:
    stack = environment.stack
    pins = {canonicalize_name(each.name): str(each.specifier) for each in map(Requirement, environment.entry.require)}

    assert {name: f"=={lock.packages.get(name)}" for name in pins} == pins
    companions = ("torch", "torchvision", "torchaudio", "triton")
    assert {name: lock.packages.get(name) for name in companions} == {name: getattr(stack, name) for name in companions}


def test_the_lock_keeps_to_the_bounds_of_the_matrix(environment: MatrixEnvironment, lock: Lock) -> None:
    for bound in environment.entry.constrain:
        requirement = Requirement(bound.requirement)
        version = lock.packages.get(canonicalize_name(requirement.name))
        assert version is None or requirement.specifier.contains(version, prereleases=True), bound.requirement


def test_what_builds_packages_is_what_the_matrix_says(environment: MatrixEnvironment, lock: Lock) -> None:
    built = {line.split()[0] for line in lock.build.splitlines() if "==" in line}

    assert built == set(environment.build_requires)


def cuda_majors(packages: dict[str, str]) -> set[str]:
    """The CUDA major versions that names and versions of packages speak of."""
    named = {match[1] for name in packages if (match := re.search(r"-cu(\d\d)\d?$", name))}
    versioned = ("cuda-toolkit", "cuda-bindings", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "nvidia-nvjitlink")
    return named | {str(Version(packages[name]).major) for name in versioned if name in packages}


def test_there_is_one_cuda_in_a_lock(environment: MatrixEnvironment, lock: Lock) -> None:
    cuda = environment.variant.cuda
    majors = cuda_majors(lock.packages)

    if cuda:
        assert majors == {cuda.split(".")[0]}
    else:  # the package index has no torch without CUDA: what such a torch needs is there, and of one CUDA too
        assert len(majors) == bool(environment.stack.torch)


def test_two_cudas_would_be_noticed() -> None:
    assert cuda_majors({"nvidia-cudnn-cu12": "9.1", "nvidia-cuda-runtime": "13.0.96"}) == {"12", "13"}
    assert cuda_majors({"cuda-bindings": "13.5.0", "cupy-cuda12x": "1", "torch": "2.11.0"}) == {"13"}


def test_every_library_of_nvidia_that_torch_brings_is_in_the_torch_layer(
    environment: MatrixEnvironment, lock: Lock
) -> None:
    torch = (environment.folder / "torch.lock").read_text()
    others = [pattern[1:] for pattern in environment.torch_layer if pattern.startswith("!")]

    for name, version in lock.packages.items():
        if any(fnmatchcase(name, pattern) for pattern in others):
            continue
        if name in ("torch", "torchvision", "torchaudio", "triton") or name.startswith("nvidia-"):
            assert f"{name}=={version} " in torch


STACKS = {
    stack: list(members)
    for stack, members in groupby(
        sorted(ENVIRONMENTS, key=lambda each: each.entry.stack), lambda each: each.entry.stack
    )
}


@pytest.mark.parametrize("stack", STACKS)
def test_environments_on_the_same_stack_have_the_same_torch_layer(stack: str) -> None:
    assert len({read_lock(each).subset(each.torch_layer) for each in STACKS[stack]}) == 1
