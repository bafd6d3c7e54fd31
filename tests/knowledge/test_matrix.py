"""The shipped matrix: names say what they mean, and real machines get what they should."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.audit.judge import variables_of
from envkit.host.home import providers
from envkit.matrix.warn import space_needed

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix, MatrixEnvironment


def test_a_variant_is_named_after_its_cuda(shipped: Matrix) -> None:
    for name, variant in shipped.file.variants.items():
        assert name == (f"cu{variant.cuda.replace('.', '')}" if variant.cuda else "cpu")


def test_a_stack_is_named_after_its_torch_and_variant(shipped: Matrix) -> None:
    for name, stack in shipped.file.torch_stacks.items():
        torch = f"torch-{'.'.join(stack.torch.split('.')[:2])}" if stack.torch else "no-torch"
        assert name == f"{torch}-{stack.variant}"


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


def test_branches_of_drivers_are_in_order_and_begin_with_the_least(shipped: Matrix) -> None:
    for major, driver in shipped.file.drivers.items():
        branches = list(driver.branches)
        cudas = [Version(each) for each in driver.branches.values()]
        assert branches[0] == driver.least.split(".")[0]
        assert branches == sorted(branches, key=int)
        assert cudas == sorted(set(cudas))
        assert {str(each.major) for each in cudas} == {major}


def test_the_driver_that_brought_the_cuda_of_each_variant_is_known(
    environment: MatrixEnvironment, shipped: Matrix
) -> None:
    cuda = environment.variant.cuda
    assert cuda is None or cuda in shipped.file.drivers[cuda.split(".")[0]].branches.values()


def test_every_feature_is_one_that_a_framework_offers(shipped: Matrix) -> None:
    assert {each for framework in shipped.frameworks.values() for each in framework.features} == set(
        shipped.file.features
    )


def test_the_size_of_every_environment_is_known(environment: MatrixEnvironment) -> None:
    size = environment.entry.size

    assert size is not None
    assert (1000 if environment.stack.torch else 100) < size.venv_mib < size.image_mib < 40000
    assert space_needed(environment, "home") == size.venv_mib


def test_what_a_release_does_not_read_is_a_variable_of_its_framework(environment: MatrixEnvironment) -> None:
    unread = environment.entry.unread

    assert set(unread.variables if unread else ()) <= set(variables_of(environment.framework))


def test_providers_can_be_recognised_and_have_a_disk() -> None:
    for provider in providers().values():
        assert provider.variables or provider.paths
        assert Path(provider.data_disk or "/").is_absolute()
