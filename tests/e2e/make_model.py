"""Makes a Qwen2 model of 111k random parameters with a tokenizer of its own: python make_model.py FOLDER [HEADS]

Its 64 dimensions are divided among HEADS attention heads, 4 by default.

It runs in the environment that is under test, and needs no network.
"""

import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

folder = sys.argv[1]
heads = int(sys.argv[2]) if sys.argv[2:] else 4
special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(
    ["You are a helpful assistant."] * 8,
    trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
)
PreTrainedTokenizerFast(
    tokenizer_object=tokenizer, eos_token=special[2], pad_token=special[0], model_max_length=1024
).save_pretrained(folder)

torch.manual_seed(0)
model = Qwen2ForCausalLM(
    Qwen2Config(
        vocab_size=512,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=(heads + 1) // 2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(special[0]),
        eos_token_id=tokenizer.token_to_id(special[2]),
        pad_token_id=tokenizer.token_to_id(special[0]),
    )
)
model.save_pretrained(folder)
print(sum(each.numel() for each in model.parameters()))  # noqa: T201  # the result
