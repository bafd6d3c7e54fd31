"""`--gpus`: indices and UUIDs, never a count."""

from __future__ import annotations

import pytest

from envkit.errors import UsageError
from envkit.host.facts import Gpu, HostFacts, MigDevice
from envkit.matrix.gpus import select_gpus

SLICES = tuple(MigDevice(index, f"slice {index}", f"MIG-{index}f00", 9856) for index in range(3))
FACTS = HostFacts(
    (
        Gpu(0, "NVIDIA A100", "GPU-aa11", 40960, "8.0"),
        Gpu(1, "NVIDIA A100", "GPU-ab22", 40960, "8.0", mig=True, mig_devices=SLICES),
        Gpu(3, "NVIDIA A100", "GPU-ab22-3", 40960, "8.0"),
    ),
    driver="580.82.07",
)
Chosen = list[tuple[int, list[int]]]


def chosen(wish: str | None) -> Chosen:
    """Index of each chosen GPU, and the indices of its slices."""
    facts = select_gpus(FACTS, wish)
    assert facts.driver == FACTS.driver
    return [(gpu.index, [each.index for each in gpu.mig_devices]) for gpu in facts.gpus or ()]


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (None, [(0, []), (1, [0, 1, 2]), (3, [])]),
        ("all", [(0, []), (1, [0, 1, 2]), (3, [])]),
        ("none", []),
        ("0", [(0, [])]),
        ("3,0", [(3, []), (0, [])]),
        ("0, 0,GPU-aa11", [(0, [])]),
        ("GPU-aa", [(0, [])]),
        ("GPU-ab22", [(1, [0, 1, 2])]),  # the whole of one UUID, though another one begins with it
        ("GPU-ab22-", [(3, [])]),
        ("1", [(1, [0, 1, 2])]),
        ("MIG-1f00", [(1, [1])]),
        ("MIG-2,MIG-0", [(1, [2, 0])]),
        ("MIG-2,1", [(1, [2, 0, 1])]),
        ("MIG-0,0", [(1, [0]), (0, [])]),
    ],
)
def test_what_is_chosen(wish: str | None, expected: Chosen) -> None:
    assert chosen(wish) == expected


@pytest.mark.parametrize(
    ("wish", "message", "hint"),
    [
        ("2", "there is no GPU with index 2", "there are: 0, 1, 3"),
        ("00", "there is no GPU with index 00", "there are: 0, 1, 3"),
        ("GPU-ff", "there is no GPU with UUID GPU-ff", "there are: GPU-aa11, GPU-ab22, GPU-ab22-3"),
        ("GPU-a", "more than one UUID begins with GPU-a", "there are: GPU-aa11, GPU-ab22, GPU-ab22-3"),
        ("GPU-ab", "more than one UUID begins with GPU-ab", "there are: GPU-ab22, GPU-ab22-3"),
        ("MIG-9", "there is no GPU with UUID MIG-9", "there are: MIG-0f00, MIG-1f00, MIG-2f00"),
        ("", "not a GPU: ''", "write indices (`0,1`), UUIDs (`GPU-…`, `MIG-…`), `all` or `none`"),
        ("0,all", "not a GPU: 'all'", "write indices (`0,1`), UUIDs (`GPU-…`, `MIG-…`), `all` or `none`"),
        ("-1", "not a GPU: '-1'", "write indices (`0,1`), UUIDs (`GPU-…`, `MIG-…`), `all` or `none`"),
    ],
)
def test_what_is_not_there(wish: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        select_gpus(FACTS, wish)

    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_without_gpus_none_can_be_chosen() -> None:
    with pytest.raises(UsageError, match=r"^there is no GPU to choose: the plan is for the CPU$"):
        select_gpus(HostFacts(gpus=()), "0")
    with pytest.raises(UsageError, match=r"^the GPUs of this machine are not known: none can be chosen$"):
        select_gpus(HostFacts(), "0")


def test_gpus_that_cannot_be_used_are_the_plan_s_to_refuse() -> None:
    broken = HostFacts(gpu_problem="its driver does not answer")

    assert select_gpus(broken, "0") == broken
    assert select_gpus(broken, "none") == HostFacts(gpus=())
