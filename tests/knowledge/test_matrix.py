"""The shipped matrix: names say what they mean, and real machines get what they should."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from envkit.errors import NoPlanError
from envkit.host.facts import Gpu, HostFacts
from envkit.host.home import providers
from envkit.matrix.plan import make_plan

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix, MatrixEnvironment


def test_a_variant_is_named_after_its_cuda(shipped: Matrix) -> None:
    for name, variant in shipped.file.variants.items():
        assert name == (f"cu{variant.cuda.replace('.', '')}" if variant.cuda else "cpu")


def test_a_stack_is_named_after_its_torch_and_variant(shipped: Matrix) -> None:
    for name, stack in shipped.file.torch_stacks.items():
        major, minor = (stack.torch or "0.0").split(".")[:2]
        assert name == f"torch-{major}.{minor}-{stack.variant}"


def test_capabilities_are_in_order_and_there_once(shipped: Matrix) -> None:
    for stack in shipped.file.torch_stacks.values():
        assert stack.capabilities == sorted(set(stack.capabilities), key=Version)


def test_every_part_of_the_matrix_is_used(shipped: Matrix) -> None:
    environments = shipped.environments()

    assert {each.entry.stack for each in environments} == set(shipped.file.torch_stacks)
    assert {each.stack.variant for each in environments} == set(shipped.file.variants)
    assert {each.framework.name for each in environments} == set(shipped.frameworks)


def test_images_have_names_of_their_own(shipped: Matrix) -> None:
    images = [each.image for each in shipped.environments()]

    assert len(set(images)) == len(images)


def test_the_torch_layer_holds_the_torch_stack(environment: MatrixEnvironment) -> None:
    assert {"torch", "torchvision", "torchaudio", "triton", "nvidia-*"} <= set(environment.torch_layer)


def test_mirrors_are_encrypted_where_no_hash_or_signature_guards_them(shipped: Matrix) -> None:
    for mirror in shipped.file.mirrors.values():
        assert (mirror.index or "https:").startswith("https:")
        assert (mirror.huggingface or "https:").startswith("https:")  # apt checks signatures


@pytest.mark.parametrize(
    ("model", "capability", "driver", "environment"),
    [
        ("Tesla P100-PCIE-16GB", "6.0", "580.82.07", "llamafactory-cu124"),
        ("NVIDIA GeForce GTX 1080 Ti", "6.1", "535.183.01", "llamafactory-cu124"),
        ("Tesla V100-SXM2-32GB", "7.0", "535.54.03", "llamafactory-cu124"),
        ("Tesla V100-SXM2-32GB", "7.0", "580.82.07", "llamafactory-cu124"),
        ("Tesla T4", "7.5", "580.82.07", "llamafactory-cu130"),
        ("NVIDIA A100-SXM4-80GB", "8.0", "550.54.15", "llamafactory-cu124"),
        ("NVIDIA GeForce RTX 3090", "8.6", "470.82.01", None),
        ("NVIDIA GeForce RTX 3090", "8.6", "525.60.13", "llamafactory-cu124"),
        ("NVIDIA GeForce RTX 3090", "8.6", "535.183.01", "llamafactory-cu124"),
        ("NVIDIA GeForce RTX 3090", "8.6", "580.65.06", "llamafactory-cu130"),
        ("NVIDIA GeForce RTX 4090", "8.9", "580.82.07", "llamafactory-cu130"),
        ("NVIDIA H200", "9.0", "580.82.07", "llamafactory-cu130"),
        ("NVIDIA B200", "10.0", "580.82.07", "llamafactory-cu130"),
        ("NVIDIA GeForce RTX 5090", "12.0", "570.86.10", None),
        ("NVIDIA GeForce RTX 5090", "12.0", "580.82.07", "llamafactory-cu130"),
    ],
)
def test_what_a_machine_gets(
    shipped: Matrix, model: str, capability: str, driver: str, environment: str | None
) -> None:
    facts = HostFacts((Gpu(0, model, "GPU-0", 24576, capability),), driver=driver)

    if environment is None:
        with pytest.raises(NoPlanError):
            make_plan(shipped, "llamafactory", facts)
    else:
        plan = make_plan(shipped, "llamafactory", facts)
        assert (plan.environment.name, plan.device) == (environment, "gpu")


def test_providers_can_be_recognised_and_have_a_disk() -> None:
    for provider in providers().values():
        assert provider.variables or provider.paths
        assert Path(provider.data_disk or "/").is_absolute()
