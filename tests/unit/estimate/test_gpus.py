"""GPUs as people write them."""

from __future__ import annotations

import pytest
import yaml

from envkit.errors import UsageError
from envkit.estimate.gpus import Gpus, gpus_of, known_gpus, read_gpus
from envkit.host.facts import Gpu, HostFacts, MigDevice


@pytest.mark.parametrize(
    ("text", "gpus"),
    [
        ("H100x8", Gpus("H100", 8, 81559)),
        ("8xh100", Gpus("H100", 8, 81559)),
        ("H100 x 8", Gpus("H100", 8, 81559)),
        ("H100", Gpus("H100", 1, 81559)),
        ("24GB x 2", Gpus("24GB", 2, 24576)),
        ("2 × 24 GiB", Gpus("24 GiB", 2, 24576)),
        ("80G", Gpus("80G", 1, 81920)),
        ("11441MiB", Gpus("11441MiB", 1, 11441)),
        ("RTX 3090", Gpus("3090", 1, 24576)),
        ("4090x8", Gpus("4090", 8, 24564)),
        ("2 x NVIDIA GeForce RTX 4090", Gpus("4090", 2, 24564)),
        ("A100-40GB*4", Gpus("A100-40GB", 4, 40960)),
        ("rtx 4070 ti super", Gpus("4070 Ti Super", 1, 16384)),
    ],
)
def test_what_is_meant(text: str, gpus: Gpus) -> None:
    assert read_gpus(text) == gpus


@pytest.mark.parametrize(
    ("text", "near"), [("5O90", "`5090`"), ("L40SS", "`L40S`"), ("RTX 9999x8", ""), ("H100x0", "`H100`")]
)
def test_what_is_not_known(text: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_gpus(text)

    assert caught.value.message == f"unknown GPU: {text}"
    assert near in caught.value.hint
    assert caught.value.hint.endswith("write its memory, such as `24GB x 2`")


def test_every_name_in_the_file_means_itself() -> None:
    assert {name: read_gpus(name).memory_mib for name in known_gpus()} == known_gpus()


def test_memory_is_what_the_described_machines_have() -> None:
    from tests.knowledge.test_machines import TABLE

    models = yaml.safe_load(TABLE.read_text(encoding="utf-8"))["models"].values()
    described = {each["name"]: each["memory_mib"] for each in models if "memory_mib" in each}
    spelled = {"Tesla M40 24GB": "M40", "Tesla P100-PCIE-16GB": "P100", "Tesla V100-SXM2-16GB": "V100-16GB",
               "Tesla V100-SXM2-32GB": "V100-32GB", "NVIDIA A100-SXM4-40GB": "A100-40GB", "NVIDIA A100-SXM4-80GB": "A100-80GB",
               "NVIDIA H100 80GB HBM3": "H100", "NVIDIA GH200 480GB": "GH200", "NVIDIA B300 SXM6 AC": "B300",
               "NVIDIA RTX PRO 6000 Blackwell Workstation Edition": "PRO 6000"}  # fmt: skip
    del described["A GPU of next year"]

    assert {name: read_gpus(spelled.get(name, name)).memory_mib for name in described} == described


def test_this_machines_gpus_count_as_its_smallest() -> None:
    facts = HostFacts(gpus=(Gpu(name="A", memory_mib=24576), Gpu(index=1, name="B", memory_mib=12288)))

    assert gpus_of(facts) == Gpus("B", 2, 12288)


def test_slices_count_where_a_gpu_is_divided() -> None:
    slices = (MigDevice(0, "A100 MIG 3g.40gb", "MIG-0", 40448), MigDevice(1, "A100 MIG 3g.40gb", "MIG-1", 40448))

    assert gpus_of(HostFacts(gpus=(Gpu(name="A100", memory_mib=81920, mig=True, mig_devices=slices),))) == Gpus(
        "A100 MIG 3g.40gb", 2, 40448
    )


@pytest.mark.parametrize("gpus", [None, (), (Gpu(name="GB10"),)])
def test_gpus_that_are_not_known_are_none(gpus: tuple[Gpu, ...] | None) -> None:
    assert gpus_of(HostFacts(gpus=gpus)) is None
