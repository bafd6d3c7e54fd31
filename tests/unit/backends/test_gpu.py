"""The names that a container engine knows GPUs by."""

from __future__ import annotations

import pytest

from envkit.backends.gpu import cdi_names
from envkit.host.facts import Gpu, MigDevice

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
