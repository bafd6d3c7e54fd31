"""Which names a container engine knows the chosen GPUs by; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from envkit.host.facts import Gpu

CDI_KIND = "nvidia.com/gpu"
CDI_ALL = f"{CDI_KIND}=all"


def cdi_names(gpus: Sequence[Gpu], devices: Collection[str]) -> tuple[str, ...] | None:
    """The CDI names of these GPUs among `devices`; None where at least one of them has no name there.

    A UUID goes before an index, which moves when a card is added. A GPU in MIG mode is the slices that it is given
    with. `all` hands over every GPU of the machine, so it is taken only where no other name is offered (WSL has no
    other): whoever asks for it must then tell CUDA which GPUs are meant.
    """
    known = {each for each in devices if each.startswith(f"{CDI_KIND}=")}
    if gpus and known == {CDI_ALL}:
        return (CDI_ALL,)
    found = [next((each for each in names if each in known), None) for gpu in gpus for names in _names(gpu)]
    names = tuple(each for each in found if each)
    return names if len(names) == len(found) else None


def _names(gpu: Gpu) -> Iterator[tuple[str, ...]]:
    """For each device to ask for, the names that it may have, best first (`nvidia-ctk cdi generate` has three ways)."""
    if gpu.mig_devices:
        for each in gpu.mig_devices:
            yield _full(each.uuid, f"{gpu.index}:{each.index}", f"mig{gpu.index}:{each.index}")
    elif gpu.mig:
        yield ()  # without slices nothing of it can be used
    else:
        yield _full(gpu.uuid, str(gpu.index), f"gpu{gpu.index}")


def _full(*names: str) -> tuple[str, ...]:
    return tuple(f"{CDI_KIND}={name}" for name in names if name)
