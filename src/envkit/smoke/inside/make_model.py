"""Makes a tiny model of random parameters with a tokenizer and a chat template: python make_model.py FOLDER [--kind llama] [--heads 1]

It runs in the environment that is under test, and needs no network. The same seed gives the same model.
"""

from __future__ import annotations

import argparse

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = ["You are a helpful assistant.", "say 1", "the number is 2, as you asked", "user assistant system"]
KINDS = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Trained on a few sentences; every byte is a token too, so nothing is unknown to it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 8, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL[2],
        pad_token=SPECIAL[0],
        model_max_length=1024,
        chat_template=CHAT,
    )


def make_model(kind: str, heads: int, seed: int) -> torch.nn.Module:
    """A model of about 107k parameters whose most likely token never is one that ends an answer."""
    configured, built = KINDS[kind]
    torch.manual_seed(seed)
    model = built(
        configured(
            vocab_size=512,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=(heads + 1) // 2,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            initializer_range=0.1,  # with the usual 0.02 no adapter could make a token likely, and no loss would fall far
            bos_token_id=0,
            eos_token_id=2,
            pad_token_id=0,
        )
    )
    with torch.no_grad():  # their logits are 0, and some other's is more: greedy answers are as long as was asked for
        model.get_input_embeddings().weight[: len(SPECIAL)] = 0
    return model


def main() -> None:
    """Writes the model, and prints how many parameters it has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--kind", choices=sorted(KINDS), default="qwen2")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    make_tokenizer().save_pretrained(asked.folder)
    model = make_model(asked.kind, asked.heads, asked.seed)
    model.save_pretrained(asked.folder)
    print(f"{sum(each.numel() for each in model.parameters())} parameters")  # noqa: T201  # the result


if __name__ == "__main__":
    main()
