"""A machine in words: what evidence says of where something was seen."""

from __future__ import annotations

import pytest

from envkit.host.describe import describe_machine
from envkit.host.facts import Gpu, HostFacts, System

DEBIAN = System(os_name="Debian GNU/Linux 12 (bookworm)", architecture="x86_64")
A100 = Gpu(name="NVIDIA A100-SXM4-80GB", uuid="GPU-1")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (HostFacts(), "not known"),
        (HostFacts(system=DEBIAN, gpus=()), "Debian GNU/Linux 12 (bookworm), x86_64, no GPU"),
        (HostFacts(system=DEBIAN), "Debian GNU/Linux 12 (bookworm), x86_64"),
        (HostFacts(gpus=(A100,)), "NVIDIA A100-SXM4-80GB"),
        (
            HostFacts(system=DEBIAN, gpus=(A100, A100), driver="580.82.07"),
            "Debian GNU/Linux 12 (bookworm), x86_64, 2 × NVIDIA A100-SXM4-80GB, driver 580.82.07",
        ),
    ],
)
def test_in_a_few_words(facts: HostFacts, expected: str) -> None:
    assert describe_machine(facts) == expected
