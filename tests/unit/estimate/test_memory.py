"""Memory by part: the formulas of docs/estimate.md on models whose numbers can be checked, and laws that always hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.errors import UsageError
from envkit.estimate.advice import would_fit
from envkit.estimate.catalogue import find_model, known_models
from envkit.estimate.gpus import Gpus
from envkit.estimate.memory import METHODS, Model, Wish, estimate

NAMES = list(known_models())


def model(name: str = "Qwen/Qwen2.5-7B") -> Model:
    found = find_model(name)
    assert found
    return found


def test_full_training_takes_sixteen_bytes_for_a_parameter() -> None:
    """ZeRO, arXiv:1910.02054, §3.1: 2 for weights, 2 for gradients, 12 for the optimizer."""
    parts = estimate(model(), Wish("full")).parts
    p = 7615616512

    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (2 * p, 2 * p, 12 * p)


@pytest.mark.parametrize(
    ("zero", "weights", "gradients", "optimizer"), [(0, 1, 1, 1), (1, 1, 1, 4), (2, 1, 4, 4), (3, 4, 4, 4)]
)
def test_each_zero_stage_divides_one_part_more(zero: int, weights: int, gradients: int, optimizer: int) -> None:
    p = 7615616512
    parts = estimate(model(), Wish("full", gpus=4, zero=zero)).parts

    assert parts["weights"] == 2 * p // weights
    assert parts["gradients"] == 2 * p // gradients
    assert parts["optimizer"] == 12 * p // optimizer


@pytest.mark.parametrize(
    ("name", "rank", "targets", "trained"),
    [
        ("Qwen/Qwen2.5-7B", 8, (), 20185088),
        ("meta-llama/Llama-3.1-8B", 8, (), 20971520),
        ("meta-llama/Llama-3.1-8B", 16, ("q_proj", "v_proj"), 6815744),
        ("microsoft/Phi-3-mini-4k-instruct", 8, ("qkv_proj",), 32 * 8 * (3072 + 9216)),
    ],
)
def test_lora_trains_as_much_as_peft_says(name: str, rank: int, targets: tuple[str, ...], trained: int) -> None:
    wish = Wish("lora", rank=rank, targets=targets)
    needed = estimate(model(name), wish)

    assert needed.trained == trained
    assert needed.parts["weights"] == 2 * model(name).parameters + 4 * trained
    assert (needed.parts["gradients"], needed.parts["optimizer"]) == (4 * trained, 8 * trained)


def test_qlora_leaves_embeddings_and_norms_in_sixteen_bits() -> None:
    shape = model().architecture
    needed = estimate(model(), Wish("qlora"))
    rest = shape.parameters - shape.quantised

    assert rest == shape.embedding + shape.small + 28 * (3584 + 2 * 512)  # with the biases of q, k and v
    assert needed.parts["weights"] == int(0.515869140625 * shape.quantised) + 2 * rest + 4 * needed.trained


def test_experts_are_not_quantised_and_get_no_adapter() -> None:
    """In transformers 5 they are one parameter, and bitsandbytes and PEFT take `nn.Linear`."""
    mixtral = model("mistralai/Mixtral-8x7B-v0.1")
    attention = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024)

    assert mixtral.architecture.quantised == attention
    assert estimate(mixtral, Wish("lora", rank=8)).trained == 32 * 8 * (2 * (4096 + 4096) + 2 * (4096 + 1024))


def test_the_cache_of_grouped_queries() -> None:
    """Llama 3.1 8B: 2 × 32 layers × 8 heads × 128 × 2 bytes are 128 KiB for a token."""
    parts = estimate(model("meta-llama/Llama-3.1-8B"), Wish("inference", batch=2, length=8192)).parts

    assert parts["kv cache"] == 2 * 8192 * 128 * 1024
    assert parts["weights"] == 2 * 8030261248


def test_tensor_parallelism_divides_the_cache_by_its_heads_at_most() -> None:
    one = estimate(model(), Wish("inference", length=4096)).parts["kv cache"]

    assert estimate(model(), Wish("inference", length=4096, gpus=2)).parts["kv cache"] == one // 2
    assert estimate(model(), Wish("inference", length=4096, gpus=8)).parts["kv cache"] == one // 4


def test_files_that_are_quantised_are_taken_as_they_are() -> None:
    packed = replace(model(), stored=5_500_000_000, quantised=True)

    assert estimate(packed, Wish("inference")).parts["weights"] == 5_500_000_000
    assert estimate(packed, Wish("lora")).parts["weights"] == 5_500_000_000 + 4 * 20185088


def test_torch_copies_gradients_between_gpus_that_share_nothing() -> None:
    assert estimate(model(), Wish("full")).parts["buffers"] == 0
    assert estimate(model(), Wish("full", gpus=2)).parts["buffers"] == 2 * 7615616512
    assert estimate(model(), Wish("full", gpus=2, zero=2)).parts["buffers"] == 2 * 2 * 500_000_000
    assert estimate(model(), Wish("full", gpus=2, zero=3)).parts["buffers"] == 2 * (1_000_000_000 + 500_000_000)


def test_zero_three_and_four_bits_do_not_go_together() -> None:
    with pytest.raises(UsageError, match="does not divide 4-bit weights"):
        estimate(model(), Wish("qlora", gpus=2, zero=3))


def test_a_matrix_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        estimate(model("microsoft/Phi-3-mini-4k-instruct"), Wish("lora", targets=("q_proj", "o_proj")))

    assert caught.value.message == "the model has nothing to adapt that is called q_proj"
    assert caught.value.hint == "it has: qkv_proj, o_proj, gate_up_proj, down_proj"


wishes = st.builds(
    Wish,
    method=st.sampled_from(METHODS),
    batch=st.integers(1, 64),
    length=st.integers(1, 1 << 17),
    gpus=st.integers(1, 64),
    zero=st.integers(0, 2),
    rank=st.integers(1, 256),
    checkpointing=st.booleans(),
)


@given(st.sampled_from(NAMES), wishes)
def test_more_of_anything_never_takes_less(name: str, wish: Wish) -> None:
    total = estimate(model(name), wish).total

    assert estimate(model(name), replace(wish, batch=wish.batch + 1)).total > total
    assert estimate(model(name), replace(wish, length=wish.length * 2)).total > total
    assert estimate(model(name), replace(wish, rank=wish.rank + 1)).total >= total
    if not wish.checkpointing:
        assert estimate(model(name), replace(wish, checkpointing=True)).total <= total


@given(st.sampled_from(NAMES), wishes)
def test_every_part_is_a_whole_number_and_none_is_negative(name: str, wish: Wish) -> None:
    for part, number in estimate(model(name), wish).parts.items():
        assert isinstance(number, int), part
        assert number >= 0, part


@given(st.sampled_from(NAMES), wishes, st.integers(4, 200))
def test_what_is_said_to_fit_fits(name: str, wish: Wish, gigabytes: int) -> None:
    gpus = Gpus("GPU", wish.gpus, gigabytes << 10)
    for change in would_fit(model(name), wish, gpus):
        assert change.options
        assert estimate(model(name), change.wish).total <= gigabytes << 30


@pytest.mark.parametrize(
    ("wish", "gpus", "options"),
    [
        (Wish("full"), Gpus("4090", 1, 24564), ["--method lora", "--gpus 8 --zero 3"]),
        (Wish("full", gpus=8), Gpus("4090", 8, 24564), ["--zero 3", "--method lora"]),
        (Wish("lora", batch=8), Gpus("4090", 1, 24564), ["--batch 2", "--length 512"]),
        (Wish("lora"), Gpus("T4", 1, 15360), ["--method qlora", "--gpus 2 --zero 3"]),
        (
            Wish("lora", batch=4, checkpointing=False),
            Gpus("T4", 1, 15360),
            ["--method qlora --batch 1 --checkpointing", "--batch 1 --gpus 2 --zero 3 --checkpointing"],
        ),
        (Wish("inference", length=131072), Gpus("4090", 1, 24564), ["--length 32768", "--gpus 2"]),
        (Wish("lora"), Gpus("GTX", 1, 2048), []),
    ],
    ids=str,
)
def test_what_would_fit(wish: Wish, gpus: Gpus, options: list[str]) -> None:
    assert [each.options for each in would_fit(model(), wish, gpus)] == options
