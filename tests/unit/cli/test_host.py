"""`envkit host`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from envkit.host.facts import Gpu, HostFacts

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Envkit, Machine

H200 = Gpu(0, "NVIDIA H200", "GPU-0", 143771, "9.0")


def test_a_machine_with_a_gpu(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts((H200,), driver="580.82.07", cuda_driver="13.0")

    assert envkit("host").out == (
        "GPU 0   NVIDIA H200, 143771 MiB, compute capability 9.0, GPU-0\ndriver  580.82.07, for CUDA up to 13.0\n"
    )
    assert msgspec.convert(envkit("host", "--json").data, HostFacts) == machine.facts


def test_a_machine_without_a_gpu(envkit: Envkit) -> None:
    assert envkit("host").out == "GPU     none from NVIDIA\n"


def test_a_gpu_that_cannot_be_used_is_not_left_out(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(gpu_problem="its driver does not answer: Driver Not Loaded")

    assert envkit("host").out == "GPU     there is one, but its driver does not answer: Driver Not Loaded\n"
