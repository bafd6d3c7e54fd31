"""Host facts go to JSON and come back."""

from __future__ import annotations

import msgspec

from envkit.host.facts import Gpu, HostFacts


def test_facts_come_back_from_json_as_they_were() -> None:
    gpu = Gpu(index=1, name="NVIDIA H200", uuid="GPU-1", memory_mib=143771, compute_capability="9.0")
    facts = HostFacts(gpus=(gpu,), driver="580.82.07", cuda_driver="13.0")

    assert msgspec.json.decode(msgspec.json.encode(facts), type=HostFacts) == facts


def test_what_is_left_out_is_unknown() -> None:
    assert msgspec.json.decode(b"{}", type=HostFacts) == HostFacts(
        gpus=None, driver=None, cuda_driver=None, gpu_problem=None
    )
