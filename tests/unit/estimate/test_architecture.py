"""Parameters follow from a config.json: the arithmetic of every kind of layer, and what is refused."""

from __future__ import annotations

import pytest

from envkit.errors import UsageError
from envkit.estimate.architecture import read_architecture
from envkit.estimate.catalogue import find_model, known_models, model_of_count

SMALL = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "vocab_size": 10}
"""A decoder that can be counted by hand: heads of 4."""


@pytest.mark.parametrize("name", known_models())
def test_a_known_model_has_as_many_parameters_as_its_hub_says(name: str) -> None:
    known = known_models()[name]

    assert read_architecture(known.config).parameters == known.parameters


def test_a_plain_decoder_by_hand() -> None:
    attention, mlp, norms = 4 * 8 * 8, 3 * 8 * 12, 2 * 8

    assert (
        read_architecture({"model_type": "mistral", **SMALL}).parameters == 2 * (attention + mlp + norms) + 8 + 2 * 80
    )


@pytest.mark.parametrize(
    ("config", "more"),
    [
        ({"model_type": "mistral", "tie_word_embeddings": True}, -80),
        ({"model_type": "mistral", "num_key_value_heads": 1}, -2 * 2 * 8 * 4),
        ({"model_type": "mistral", "head_dim": 6}, 2 * 4 * 8 * 4),
        ({"model_type": "qwen2"}, 2 * 3 * 8),
        ({"model_type": "llama", "attention_bias": True}, 2 * 4 * 8),
        ({"model_type": "llama", "mlp_bias": True}, 2 * (12 + 12 + 8)),
        ({"model_type": "qwen3", "head_dim": 4}, 2 * 2 * 4),
        ({"model_type": "olmo2"}, 2 * 2 * 8),
        ({"model_type": "gemma2", "head_dim": 4}, 2 * 2 * 8 - 80),
        ({"model_type": "phi3"}, 0),
        ({"model_type": "gpt_oss", "head_dim": 4, "num_local_experts": 1}, 2 * (4 * 8 + 2 + 8 + 1 + 24 + 8)),
        ({"model_type": "mixtral", "num_local_experts": 3}, 2 * (2 * 3 * 8 * 12 + 3 * 8)),
        ({"model_type": "qwen3_moe", "head_dim": 4, "num_experts": 3, "moe_intermediate_size": 5, "mlp_only_layers": [0]}, 16 + 3 * 3 * 8 * 5 + 24 - 288),
        ({"model_type": "qwen2_moe", "num_experts": 3, "moe_intermediate_size": 5, "shared_expert_intermediate_size": 7, "decoder_sparse_step": 2}, 48 + 3 * 3 * 8 * 5 + 24 + 3 * 8 * 7 + 8 - 288),
    ],
    ids=lambda each: each["model_type"] if isinstance(each, dict) else "",
)  # fmt: skip
def test_what_a_family_or_a_key_adds(config: dict[str, object], more: int) -> None:
    plain = read_architecture({"model_type": "mistral", **SMALL}).parameters

    assert read_architecture({**SMALL, **config}).parameters == plain + more


def test_every_expert_counts_and_a_token_meets_some() -> None:
    mixtral = read_architecture(known_models()["mistralai/Mixtral-8x7B-v0.1"].config)

    assert mixtral.has_experts
    assert mixtral.mlp_width == 2 * 14336
    assert sum(each.parameters for each in mixtral.matrices if each.kind == "experts") == 32 * 8 * 3 * 4096 * 14336


def test_grouped_queries_keep_a_smaller_cache_and_latent_attention_a_smaller_one_still() -> None:
    llama = read_architecture(known_models()["meta-llama/Llama-3.1-8B"].config)
    deepseek = read_architecture(known_models()["deepseek-ai/DeepSeek-V3"].config)

    assert (llama.cache_width, llama.cache_heads) == (2 * 8 * 128, 8)
    assert (deepseek.cache_width, deepseek.cache_heads) == (512 + 64, 1)


def test_a_model_that_sees_is_counted_by_its_language_model() -> None:
    text = {**known_models()["Qwen/Qwen2.5-7B"].config}

    assert read_architecture({"model_type": "some_vl", "text_config": text}).parameters == 7615616512


def test_an_unknown_family_is_taken_for_a_plain_decoder_and_says_so() -> None:
    read = read_architecture({"model_type": "brand_new", **SMALL})

    assert not read.known
    assert read.parameters == read_architecture({"model_type": "mistral", **SMALL}).parameters


@pytest.mark.parametrize(
    ("key", "value"),
    [("hidden_size", None), ("num_hidden_layers", "28"), ("vocab_size", -1), ("num_attention_heads", True), ("hidden_size", 1 << 50)],
)  # fmt: skip
def test_a_config_without_a_sensible_number_is_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        read_architecture({**SMALL, key: value})

    assert caught.value.message == f"the config.json has no `{key}` that counts: {value!r}"


@pytest.mark.parametrize("text", ["Qwen/Qwen2.5-7B", "qwen2.5-7b-instruct", "Qwen2.5-7B-Chat"])
def test_a_name_is_found_however_it_is_spelled(text: str) -> None:
    found = find_model(text)

    assert found is not None
    assert found.name == "Qwen/Qwen2.5-7B"


def test_another_model_of_the_same_beginning_is_not_taken_for_it() -> None:
    assert find_model("Qwen/Qwen2.5-7B-Instruct-AWQ") is None


@pytest.mark.parametrize(
    ("text", "count", "shape"),
    [
        ("7B", 7_000_000_000, "mistralai/Mistral-7B-v0.3"),
        ("0.5b", 500_000_000, "Qwen/Qwen2.5-0.5B"),
        ("494032768", 494032768, "Qwen/Qwen2.5-0.5B"),
        ("72B", 72_000_000_000, "Qwen/Qwen2.5-72B"),
    ],
)
def test_a_count_has_the_shape_of_the_nearest_model(text: str, count: int, shape: str) -> None:
    found = model_of_count(text)

    assert found is not None
    assert (found.parameters, found.exact) == (count, False)
    assert found.name == f"{text}, in the shape of {shape}"


@pytest.mark.parametrize("text", ["7", "B", "7Q", "-7B", "0B", "7B-x", "1e9"])
def test_what_is_no_count(text: str) -> None:
    found = model_of_count(text)

    assert found is None or found.parameters == 7
