"""Makes a Llama model of random parameters in GGUF, with a vocabulary of bytes: python make_gguf.py FILE

It runs in the environment that is under test, and needs neither torch nor a network.
"""

import sys

import gguf
import numpy as np

WIDTH, HIDDEN, LAYERS, HEADS, KV_HEADS = 64, 128, 2, 4, 2
CHAT = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)

tokens = ["<unk>", "<s>", "</s>", *(f"<0x{each:02X}>" for each in range(256)), "\u2581"]
kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 2, *[gguf.TokenType.BYTE] * 256, gguf.TokenType.NORMAL]

writer = gguf.GGUFWriter(sys.argv[1], "llama")
writer.add_name("tiny")
writer.add_context_length(512)
writer.add_embedding_length(WIDTH)
writer.add_feed_forward_length(HIDDEN)
writer.add_block_count(LAYERS)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_rope_dimension_count(WIDTH // HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_vocab_size(len(tokens))
writer.add_file_type(gguf.LlamaFileType.ALL_F32)
writer.add_tokenizer_model("llama")
writer.add_token_list(tokens)
writer.add_token_scores([0.0] * len(tokens))
writer.add_token_types(kinds)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_unk_token_id(0)
writer.add_chat_template(CHAT)

random = np.random.default_rng(0)
kv_width = WIDTH // HEADS * KV_HEADS
shapes = {"token_embd": (len(tokens), WIDTH), "output": (len(tokens), WIDTH)}
for layer in range(LAYERS):
    shapes |= {
        f"blk.{layer}.attn_q": (WIDTH, WIDTH),
        f"blk.{layer}.attn_k": (kv_width, WIDTH),
        f"blk.{layer}.attn_v": (kv_width, WIDTH),
        f"blk.{layer}.attn_output": (WIDTH, WIDTH),
        f"blk.{layer}.ffn_gate": (HIDDEN, WIDTH),
        f"blk.{layer}.ffn_up": (HIDDEN, WIDTH),
        f"blk.{layer}.ffn_down": (WIDTH, HIDDEN),
    }
norms = ["output_norm", *(f"blk.{layer}.{name}" for layer in range(LAYERS) for name in ("attn_norm", "ffn_norm"))]
for name, shape in shapes.items():
    writer.add_tensor(f"{name}.weight", random.normal(0, 0.1, shape).astype(np.float32))
for name in norms:
    writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
