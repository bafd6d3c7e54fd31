"""Makes a tiny model with torchtune alone, which comes without transformers: python make_torchtune.py FOLDER

It is a Qwen2 model of random parameters with a tokenizer of its own, in the files that the hub has. It needs no network.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torchtune.models.qwen2 import qwen2
from torchtune.models.qwen2._convert_weights import qwen2_tune_to_hf

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(
    ["You are a helpful assistant."] * 8,
    trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
)
tokenizer.model.save(str(folder))
tokenizer.save(str(folder / "tokenizer.json"))

torch.manual_seed(0)
model = qwen2(
    vocab_size=512,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    embed_dim=64,
    intermediate_dim=128,
    max_seq_len=1024,
    tie_word_embeddings=True,
)
for each in model.parameters():
    if each.dim() > 1:
        torch.nn.init.normal_(each, std=0.1)  # as make_model.py has it: with less, no adapter could make a token likely
config = {
    "architectures": ["Qwen2ForCausalLM"],
    "hidden_size": 64,
    "model_type": "qwen2",
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}
(folder / "config.json").write_text(json.dumps(config))
weights = qwen2_tune_to_hf(model.state_dict(), num_heads=4, num_kv_heads=2, dim=64, tie_word_embeddings=True)
save_file({name: each.contiguous() for name, each in weights.items()}, folder / "model.safetensors")
print(sum(each.numel() for each in model.parameters()))  # noqa: T201  # the result
