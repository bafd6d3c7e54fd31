"""How a container engine, and CUDA itself, are asked for the chosen GPUs; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envkit.host.cdi import CDI_KIND

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from envkit.host.facts import CdiSpec, Engine, Gpu, Toolkit

CDI_ALL = f"{CDI_KIND}=all"


@dataclass(frozen=True)
class GpuRequest:
    """The way to ask, and the names to ask for."""

    way: Literal["cdi", "runtime", "hook"]
    """CDI devices; the nvidia runtime with its variables; what `docker run --gpus` does."""
    ids: tuple[str, ...]


def request_gpus(
    engine: Engine, toolkit: Toolkit | None, gpus: Sequence[Gpu], *, driver: str | None = None
) -> GpuRequest | None:
    """How to ask this engine for these GPUs, from what it really offers; None: it offers nothing.

    CDI goes first: it survives `systemctl daemon-reload` and needs no hook. A spec made for another driver than the one
    that is loaded names files that are gone, so the runtime goes before it. `--gpus` works without the runtime
    wherever the engine finds the toolkit's hook, which no engine tells.
    """
    uuids = tuple(each for gpu in gpus for each in gpu.device_ids)
    names = cdi_names(gpus, engine.cdi_devices or ()) if engine.cdi_devices else None
    runtime = "nvidia" in (engine.runtimes or ())
    if names is not None and not (runtime and stale_specs(names, toolkit, driver)):
        return GpuRequest("cdi", names)
    if runtime:
        return GpuRequest("runtime", uuids)
    if toolkit and toolkit.hook and not engine.remote:
        return GpuRequest("hook", uuids)
    return None


def cuda_env(gpus: Sequence[Gpu]) -> Mapping[str, str]:
    """The variables that let CUDA see these GPUs alone, in this order; without any, none.

    Numbers, since DeepSpeed's launcher and vLLM's platform code call int() on each (vllm#13815); PCI order is that of
    the driver's own indices, where CUDA by itself has the fastest first. Slices of a GPU have no number.
    """
    if any(gpu.mig for gpu in gpus) or not gpus:
        return {"CUDA_VISIBLE_DEVICES": ",".join(each for gpu in gpus for each in gpu.device_ids)}
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(str(gpu.index) for gpu in gpus)}


def stale_specs(names: Collection[str], toolkit: Toolkit | None, driver: str | None) -> tuple[CdiSpec, ...]:
    """The CDI specs that these names lead to and that were made for another driver than `driver`.

    Where two specs have a name, the one in /var/run/cdi counts: of the folders that engines read, the last one wins.
    """
    specs = sorted(toolkit.cdi_specs if toolkit else (), key=lambda spec: "/run/cdi/" in spec.path)
    meant = {name: spec for spec in specs for name in spec.devices if name in names}
    return tuple(dict.fromkeys(spec for spec in meant.values() if spec.driver and driver and spec.driver != driver))


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
