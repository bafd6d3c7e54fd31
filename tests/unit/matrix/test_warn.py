"""What works on a machine only in part becomes warnings, each with what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

from envkit.host.facts import Disk, Gpu, HostFacts, MigDevice, System
from envkit.matrix.fit import own_cuda
from envkit.matrix.plan import make_plan
from envkit.matrix.warn import space_needed

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix

BF16 = "bf16 needs compute capability 8.0, {}: use fp16"
FP8 = "fp8 needs compute capability 8.9, {}: use bf16"
CAPABILITY = "Solo wants compute capability 8.0, {}: it crawls"
GPU_MEMORY = "Solo wants 8000 MiB of GPU memory, {}: nothing fits"
MEMORY = "Solo wants 4000 MiB of memory, and there are {}: it swaps"
T4 = Gpu(0, "Tesla T4", "GPU-0", 15360, "7.5")
H200 = Gpu(1, "NVIDIA H200", "GPU-1", 143771, "9.0")


def warnings(
    matrix: Matrix,
    *gpus: Gpu,
    framework: str = "solo",
    driver: str | None = "580.82.07",
    cuda_driver: str | None = None,
    system: System | None = None,
    disks: tuple[Disk, ...] = (),
) -> list[str]:
    facts = HostFacts(gpus or None, driver=driver, cuda_driver=cuda_driver, system=system, disks=disks)
    return list(make_plan(matrix, framework, facts, device="gpu").warnings)


# GPUs -----------------------------------------------------------------------------------------------------------------


def test_a_gpu_that_can_do_everything_is_not_warned_of(matrix: Matrix) -> None:
    assert warnings(matrix, H200) == []


def test_a_feature_is_told_once_with_every_model_that_lacks_it(matrix: Matrix) -> None:
    a10 = Gpu(3, "NVIDIA A10", "GPU-3", 23028, "8.6")

    assert warnings(matrix, T4, H200, T4, a10) == [
        CAPABILITY.format("Tesla T4 has 7.5"),
        BF16.format("Tesla T4 has 7.5"),
        FP8.format("Tesla T4 has 7.5 and NVIDIA A10 has 8.6"),
    ]


def test_a_framework_that_states_no_feature_and_no_floor_warns_of_none(matrix: Matrix) -> None:
    assert warnings(matrix, T4, framework="demo") == []


def test_gpu_memory_counts_by_the_slice(matrix: Matrix) -> None:
    slices = (MigDevice(0, "A100 MIG 1g.5gb", "MIG-0", 4864), MigDevice(1, "A100 MIG 3g.20gb", "MIG-1", 19968))
    in_slices = Gpu(0, "NVIDIA A100", "GPU-0", 40960, "9.0", mig=True, mig_devices=slices)
    small = Gpu(1, "A small GPU", "GPU-1", 6144, "9.0")

    assert warnings(matrix, in_slices, small) == [
        GPU_MEMORY.format("A100 MIG 1g.5gb has 4864 and A small GPU has 6144")
    ]


def test_what_is_not_known_was_not_checked(matrix: Matrix) -> None:
    driver = "the driver is not known: whether it is 580.65.06 or later, which CUDA 13.0 needs, was not checked"
    code = "not known: whether torch 2.11.0 carries code for it was not checked"

    assert warnings(matrix, driver=None) == [driver, f"the GPUs are {code}"]
    assert warnings(matrix, Gpu(0, "A GPU"), Gpu(1, "A GPU"), Gpu(2, "Another"), driver=None, cuda_driver="13.0") == [
        f"the compute capability of A GPU and Another is {code}"
    ]


# PTX ------------------------------------------------------------------------------------------------------------------


def ptx(own: str) -> str:
    return (
        f"the driver's own CUDA is {own}, older than the environment's 12.4: what is compiled through PTX when a program"
        " starts (numba, CuPy, kernels of your own) can fail with"
        " `the provided PTX was compiled with an unsupported toolchain`; driver 550 or later compiles it"
    )


@pytest.mark.parametrize(
    ("driver", "cuda_driver", "own"),
    [
        ("525.60.13", None, "12.0"),
        ("530.41.03", None, "12.0"),  # a branch that the table leaves out has at least what the one before it had
        ("535.54.03", None, "12.2"),
        ("535.54.03", "12.3", "12.3"),  # what the driver says goes before the table
        (None, "12.1", "12.1"),
        ("550.54.14", None, None),
        ("575.51.03", None, None),
        ("550.54.14", "12.4", None),
    ],
)
def test_a_driver_older_than_the_cuda_does_not_compile_its_ptx(
    matrix: Matrix, driver: str | None, cuda_driver: str | None, own: str | None
) -> None:
    told = warnings(matrix, H200, framework="demo", driver=driver, cuda_driver=cuda_driver)

    assert told == ([ptx(own)] if own else [])


def test_the_cuda_of_a_driver_older_than_the_table_is_not_guessed(matrix: Matrix) -> None:
    assert own_cuda(matrix, HostFacts(driver="470.82.01")) is None
    assert own_cuda(matrix, HostFacts()) is None
    assert own_cuda(matrix, HostFacts(driver="700.10")) == "13.0"


# Memory and disks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("system", "there"),
    [
        (System(memory_mib=3999), 3999),
        (System(memory_mib=500000, memory_limit_mib=2048), 2048),
        (System(memory_mib=4000), None),
        (System(memory_limit_mib=8000), None),
        (System(), None),
        (None, None),
    ],
)
def test_memory_is_what_a_process_may_use(matrix: Matrix, system: System | None, there: int | None) -> None:
    assert warnings(matrix, H200, system=system) == ([MEMORY.format(there)] if there else [])


def test_disks_without_room(matrix: Matrix) -> None:
    disks = (
        Disk("engine", "/var/lib/docker", free_mib=4999),
        Disk("home", "/data/envkit", free_mib=1999),
        Disk("shm", "/dev/shm", free_mib=1),  # noqa: S108  # a path in a description
    )

    assert warnings(matrix, H200, disks=disks) == [
        "/var/lib/docker has 5.2 GB free, and building the image of solo-cu130 takes 5.2 GB",
        "/data/envkit has 2.1 GB free, and a venv of solo-cu130 takes 2.1 GB",
    ]


@pytest.mark.parametrize(
    "disks", [(Disk("engine", "/", free_mib=5000), Disk("home", "/", free_mib=2000)), (Disk("engine", "/"),), ()]
)
def test_disks_with_room_or_of_unknown_size_are_not_warned_of(matrix: Matrix, disks: tuple[Disk, ...]) -> None:
    assert warnings(matrix, H200, disks=disks) == []


@pytest.mark.parametrize(
    ("environment", "purpose", "needed"),
    [("solo-cu130", "engine", 5000), ("solo-cu130", "home", 2000), ("demo-cu130", "home", None)],
)
def test_the_space_that_making_an_environment_takes(
    matrix: Matrix, environment: str, purpose: Literal["engine", "home"], needed: int | None
) -> None:
    assert space_needed(matrix.environment(environment), purpose) == needed


def test_a_plan_for_the_cpu_says_nothing_about_gpus(matrix: Matrix) -> None:
    facts = HostFacts((T4,), driver="535.54.03", system=System(memory_mib=1))

    assert make_plan(matrix, "demo", facts, device="cpu").warnings == ()
