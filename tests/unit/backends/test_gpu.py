"""The names that a container engine knows GPUs by."""

from __future__ import annotations

from typing import Any

import pytest

from envkit.backends.gpu import GpuRequest, cdi_names, cuda_env, request_gpus
from envkit.host.facts import CdiSpec, Engine, Gpu, MigDevice, Toolkit

FIRST, SECOND = Gpu(index=0, uuid="GPU-aaaa"), Gpu(index=1, uuid="GPU-bbbb")
SLICES = (MigDevice(index=0, uuid="MIG-cccc"), MigDevice(index=2, uuid="MIG-dddd"))
SLICED = Gpu(index=1, uuid="GPU-bbbb", mig=True, mig_devices=SLICES)


def full(*names: str) -> tuple[str, ...]:
    """As engines write them."""
    return tuple(f"nvidia.com/gpu={name}" for name in names)


BY_INDEX = full("0", "1", "all")
BY_UUID = full("GPU-aaaa", "GPU-bbbb", "all")
BY_TYPE = full("gpu0", "gpu1", "all")
BY_BOTH = full("0", "1", "GPU-aaaa", "GPU-bbbb", "all")


@pytest.mark.parametrize(
    ("gpus", "variables"),
    [
        ([], {"CUDA_VISIBLE_DEVICES": ""}),
        ([SECOND, FIRST], {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "1,0"}),
        ([SLICED], {"CUDA_VISIBLE_DEVICES": "MIG-cccc,MIG-dddd"}),
        ([FIRST, SLICED], {"CUDA_VISIBLE_DEVICES": "GPU-aaaa,MIG-cccc,MIG-dddd"}),
    ],
)
def test_cuda_is_told_numbers_as_the_driver_counts_and_slices_by_uuid(
    gpus: list[Gpu], variables: dict[str, str]
) -> None:
    assert cuda_env(gpus) == variables


@pytest.mark.parametrize(
    ("gpus", "devices", "names"),
    [
        ([FIRST], BY_INDEX, full("0")),
        ([SECOND], BY_INDEX, full("1")),
        ([FIRST, SECOND], BY_INDEX, full("0", "1")),
        ([SECOND, FIRST], BY_INDEX, full("1", "0")),
        ([FIRST, SECOND], BY_UUID, full("GPU-aaaa", "GPU-bbbb")),
        ([SECOND], BY_TYPE, full("gpu1")),
        ([SECOND], BY_BOTH, full("GPU-bbbb")),
        ([Gpu(index=1)], BY_BOTH, full("1")),
        # Only some of them have a name: none is asked for, and `all` would be more than was chosen.
        ([FIRST, SECOND], full("0", "all"), None),
        ([FIRST], full("GPU-ffff", "all"), None),
        ([FIRST], (), None),
        ([FIRST], ("vendor.com/net=0", "amd.com/gpu=0"), None),
        # WSL knows no single GPU.
        ([FIRST], full("all"), full("all")),
        ([FIRST, SECOND], ("vendor.com/net=0", *full("all")), full("all")),
        ([], full("all"), ()),
        ([], (), ()),
        # Slices stand for their GPU, by UUID, by GPU and slice, or by type.
        ([SLICED], full("MIG-cccc", "MIG-dddd", "1:0", "1:2", "all"), full("MIG-cccc", "MIG-dddd")),
        ([FIRST, SLICED], full("0", "1", "1:0", "1:2", "all"), full("0", "1:0", "1:2")),
        ([SLICED], full("gpu0", "mig1:0", "mig1:2", "all"), full("mig1:0", "mig1:2")),
        ([SLICED], full("0", "1", "1:0", "all"), None),
        ([Gpu(index=1, uuid="GPU-bbbb", mig=True)], BY_BOTH, None),
    ],
)  # fmt: skip
def test_the_names_of_exactly_the_chosen_gpus(
    gpus: list[Gpu], devices: tuple[str, ...], names: tuple[str, ...] | None
) -> None:
    assert cdi_names(gpus, devices) == names


# The way to ask -------------------------------------------------------------------------------------------------------

RUNTIME = ("nvidia", "runc")
HOOK = Toolkit(path="/usr/bin/nvidia-ctk", hook="/usr/bin/nvidia-container-runtime-hook")
STALE = Toolkit(hook="x", cdi_specs=(CdiSpec("/etc/cdi/nvidia.yaml", full("0"), driver="570.86.10"),))


@pytest.mark.parametrize(
    ("engine", "toolkit", "request_"),
    [
        ({}, None, None),
        ({}, Toolkit(path="/usr/bin/nvidia-ctk"), None),
        ({"runtimes": ("runc",), "cdi_devices": ()}, Toolkit(), None),
        ({"runtimes": RUNTIME}, None, GpuRequest("runtime", ("GPU-aaaa",))),
        ({"runtimes": RUNTIME, "cdi_devices": full("GPU-aaaa", "all")}, HOOK, GpuRequest("cdi", full("GPU-aaaa"))),
        ({"runtimes": RUNTIME, "cdi_devices": full("GPU-bbbb")}, HOOK, GpuRequest("runtime", ("GPU-aaaa",))),
        ({"cdi_devices": full("0", "1")}, None, GpuRequest("cdi", full("0"))),
        ({"cdi_devices": full("1")}, None, None),
        # A spec of another driver than the one that is loaded names files that are gone.
        ({"runtimes": RUNTIME, "cdi_devices": full("0")}, STALE, GpuRequest("runtime", ("GPU-aaaa",))),
        ({"cdi_devices": full("0")}, STALE, GpuRequest("cdi", full("0"))),  # doctor tells what comes of it
        # No engine tells whether it found the hook.
        ({"runtimes": ("runc",), "remote": False}, HOOK, GpuRequest("hook", ("GPU-aaaa",))),
        ({"runtimes": ("runc",), "remote": True}, HOOK, None),  # this machine's hook is not that engine's
    ],
)
def test_an_engine_is_asked_for_what_it_offers(
    engine: dict[str, Any], toolkit: Toolkit | None, request_: GpuRequest | None
) -> None:
    assert request_gpus(Engine(state="usable", **engine), toolkit, [FIRST], driver="580.82.07") == request_


def test_slices_are_asked_for_by_their_own_uuids() -> None:
    asked = request_gpus(Engine(state="usable", runtimes=RUNTIME), None, [FIRST, SLICED])

    assert asked == GpuRequest("runtime", ("GPU-aaaa", "MIG-cccc", "MIG-dddd"))
