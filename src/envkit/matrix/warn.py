"""What a machine lets a user down with later, in an environment that runs on it; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from packaging.version import Version

from envkit.matrix.fit import listed, own_cuda

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment


Making = Literal["engine", "home"]
_MADE: dict[Making, str] = {"engine": "building the image of", "home": "a venv of"}


def plan_warnings(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts, *, gpu: bool) -> tuple[str, ...]:
    """One sentence each, the most serious first; `gpu` says whether the plan is for the GPUs."""
    found: list[str] = []
    if gpu:
        found += [
            *_not_known(environment, matrix, facts),
            *_ptx(environment, matrix, facts),
            *_gpu_floors(environment, facts),
            *_features(environment, matrix, facts),
        ]
    return (*found, *_memory(environment, facts), *disk_warnings(environment, facts, *_MADE))


def space_needed(environment: MatrixEnvironment, purpose: Making) -> int | None:
    """The MiB that making the environment takes on the disk of that purpose; None where nobody measured it.

    An engine's builder keeps the unpacked wheels in its cache, so that the next build need not fetch them: they count
    a second time. A venv's files are links to uv's cache where both lie on one file system, and count once.
    """
    size = environment.entry.size
    if size is None:
        return None
    return size.image_mib + size.venv_mib if purpose == "engine" else size.venv_mib


def _not_known(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> Iterator[str]:
    if not facts.driver and not facts.cuda_driver:
        least, cuda = matrix.least_driver(environment), environment.variant.cuda
        yield f"the driver is not known: whether it is {least} or later, which CUDA {cuda} needs, was not checked"
    names = [gpu.name for gpu in facts.gpus or () if gpu.compute_capability is None]
    if names or facts.gpus is None:
        what = f"the compute capability of {listed(names)} is" if names else "the GPUs are"
        yield f"{what} not known: whether torch {environment.stack.torch} carries code for it was not checked"


def _ptx(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> Iterator[str]:
    """Minor-version compatibility runs finished code on an older driver, and compiles no newer PTX there."""
    own, cuda = own_cuda(matrix, facts), environment.variant.cuda
    if not own or not cuda or Version(own) >= Version(cuda):
        return
    branches = matrix.file.drivers[cuda.split(".")[0]].branches
    enough = [branch for branch, brought in branches.items() if Version(brought) >= Version(cuda)]
    cure = f"; driver {min(enough, key=int)} or later compiles it" if enough else ""
    yield (
        f"the driver's own CUDA is {own}, older than the environment's {cuda}: what is compiled through PTX when a program"
        " starts (numba, CuPy, kernels of your own) can fail with"
        f" `the provided PTX was compiled with an unsupported toolchain`{cure}"
    )


def _gpu_floors(environment: MatrixEnvironment, facts: HostFacts) -> Iterator[str]:
    title, floors = environment.framework.title, environment.framework.floors
    if floors.capability and (below := _below(floors.capability.least, facts)):
        yield f"{title} wants compute capability {floors.capability.least}, {below}: {floors.capability.reason}"
    if floors.gpu_memory:
        least = floors.gpu_memory.least_mib
        devices = [each for gpu in facts.gpus or () for each in (gpu.mig_devices if gpu.mig else (gpu,))]
        small = [f"{each.name} has {each.memory_mib}" for each in devices if (each.memory_mib or least) < least]
        if small:
            yield f"{title} wants {least} MiB of GPU memory, {listed(small)}: {floors.gpu_memory.reason}"


def _features(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> Iterator[str]:
    for name in environment.framework.features:
        feature = matrix.file.features[name]
        if below := _below(feature.least, facts):
            yield f"{name} needs compute capability {feature.least}, {below}: {feature.instead}"


def _below(least: str, facts: HostFacts) -> str:
    """The models whose compute capability is less, each once; empty where there is none."""
    less = [
        f"{gpu.name} has {gpu.compute_capability}"
        for gpu in facts.gpus or ()
        if gpu.compute_capability and Version(gpu.compute_capability) < Version(least)
    ]
    return listed(less) if less else ""


def _memory(environment: MatrixEnvironment, facts: HostFacts) -> Iterator[str]:
    floor, system = environment.framework.floors.memory, facts.system
    known = [each for each in (system and system.memory_mib, system and system.memory_limit_mib) if each]
    if floor and known and min(known) < floor.least_mib:
        title = environment.framework.title
        yield f"{title} wants {floor.least_mib} MiB of memory, and there are {min(known)}: {floor.reason}"


def disk_warnings(environment: MatrixEnvironment, facts: HostFacts, *purposes: Making) -> Iterator[str]:
    """The disks of these purposes on which there is no room to make the environment, one sentence each."""
    for purpose in purposes:
        disk, needed = facts.disk(purpose), space_needed(environment, purpose)
        if disk and needed and disk.free_mib is not None and disk.free_mib < needed:
            what = f"{_MADE[purpose]} {environment.name}"
            yield f"{disk.path} has {_gigabytes(disk.free_mib)} free, and {what} takes {_gigabytes(needed)}"


def _gigabytes(mebibytes: int) -> str:
    return f"{mebibytes * 2**20 / 1e9:.1f} GB"
