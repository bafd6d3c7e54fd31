"""What a machine is, as a frozen value that goes to JSON and comes back."""

from __future__ import annotations

from msgspec import Struct


class Gpu(Struct, frozen=True):
    """One GPU, as its driver describes it."""

    index: int
    name: str
    uuid: str
    memory_mib: int
    compute_capability: str
    """Such as `8.6`."""


class HostFacts(Struct, frozen=True):
    """This machine, or another one that was described; what is not known is None."""

    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    cuda_driver: str | None = None
    """The newest CUDA that the driver supports, such as `13.0`."""
    gpu_problem: str | None = None
    """Why GPUs that are plugged in cannot be used, in one sentence."""
