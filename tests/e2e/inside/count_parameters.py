"""Prints, line by line, a config.json of a small model and how many parameters transformers gives it: PROGRAM FAMILIES SEED

Runs in an environment with transformers, with the families of envkit's estimate as JSON; nothing is allocated.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

EACH = 8


def invent(name: str, family: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A config that uses what the family has, at random."""
    groups, head = rng.choice([1, 2, 4]), rng.choice([8, 16])
    heads = groups * rng.choice([1, 2, 3])
    config: dict[str, Any] = {
        "hidden_size": heads * head * rng.choice([1, 2]),
        "num_hidden_layers": rng.randint(1, 5),
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "intermediate_size": rng.choice([24, 40]),
        "vocab_size": rng.choice([64, 100]),
        "tie_word_embeddings": rng.random() < 0.5,
        **{key: rng.choice([0, 1, None]) for key in ("pad_token_id", "bos_token_id", "eos_token_id")},
    }
    if "head_dim" in family["defaults"] or rng.random() < 0.5:
        config["head_dim"] = head
    for key in ("attention_bias", "mlp_bias", "qkv_bias", "attention_out_bias", "use_qk_norm"):
        if rng.random() < 0.5:
            config[key] = rng.random() < 0.5
    if experts := family["experts"]:
        config |= {experts["count"]: rng.choice([2, 4]), "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
        if experts["width"] != "intermediate_size":
            config[experts["width"]] = 12
        if experts["shared"]:
            config[experts["shared"]] = rng.choice([1, 2])
            config["first_k_dense_replace"] = rng.choice([0, 1, 2])
        if experts["shared_width"]:
            config[experts["shared_width"]] = 20
        if name.startswith("qwen"):
            config |= {"decoder_sparse_step": rng.choice([1, 2]), "mlp_only_layers": rng.choice([[], [0]])}
    if family["latent"]:
        config |= {"q_lora_rank": rng.choice([None, 6]), "kv_lora_rank": 10, "qk_rope_head_dim": 4}
        config |= {"qk_nope_head_dim": 8, "v_head_dim": 6}
        config.pop("head_dim", None)
    return config


rng = random.Random(int(sys.argv[2]))  # noqa: S311  # the same models at every run
for name, family in json.loads(sys.argv[1]).items():
    for _ in range(EACH):
        config = invent(name, family, rng)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[name](**config))
        count = sum(each.numel() for each in model.parameters())
        sys.stdout.write(json.dumps({"config": {"model_type": name, **config}, "parameters": count}) + "\n")
