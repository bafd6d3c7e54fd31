"""What a machine is, as a frozen value that goes to JSON and comes back."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Numbers = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)*$")]
"""Such as a driver's version."""


class Gpu(Struct, frozen=True):
    """One GPU, as its driver describes it."""

    index: int = 0
    name: str = "GPU"
    uuid: str = ""
    memory_mib: int | None = None
    compute_capability: Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+$")] | None = None
    """Such as `8.6`."""


class HostFacts(Struct, frozen=True):
    """This machine, or another one that was described; what is not known is None."""

    gpus: tuple[Gpu, ...] = ()
    driver: Numbers | None = None
    cuda_driver: Numbers | None = None
    """The newest CUDA that the driver supports, such as `13.0`."""
    gpu_problem: str | None = None
    """Why GPUs that are plugged in cannot be used, in one sentence."""
