"""A model's config.json becomes its layers: every matrix with its size, so that parameters are counted to the last one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from msgspec import Struct, convert, field

from envkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Experts(Struct, frozen=True, forbid_unknown_fields=True):
    """Names of the keys that describe a mixture of experts."""

    count: str
    width: str
    """Of one expert."""
    shared: str = ""
    """How many experts see every token; they are one block of that many widths."""
    shared_width: str = ""
    """The width of that block, where it has a key of its own."""
    shared_gate: bool = False
    bias: bool = False
    """Whether the router and the experts have biases."""


class Family(Struct, frozen=True, forbid_unknown_fields=True):
    """How a `model_type` differs from the plainest decoder; a name of a key stands for its value."""

    qkv_bias: str = ""
    """The key that says whether q, k and v have biases; `always`, or empty: never."""
    output_bias: str = ""
    mlp_bias: str = ""
    norms: int = 2
    """In each layer."""
    qk_norm: str = ""
    """`head`: q and k are normalised head by head; `whole`: across all heads; else the key that says whether by head."""
    fused: tuple[str, ...] = ()
    """Matrices that stand for several others: `qkv_proj`, `gate_up_proj`."""
    latent: bool = False
    """Multi-head latent attention, DeepSeek's."""
    sinks: bool = False
    """One parameter for each head beside the matrices of attention."""
    experts: Experts | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    """What the family's class takes for keys that config.json leaves out."""


@dataclass(frozen=True)
class Matrix:
    """A linear map of one kind, in all layers that have it."""

    name: str
    inputs: int
    outputs: int
    layers: int
    bias: bool = False
    experts: int = 1
    """How many lie side by side in a layer."""
    kind: Literal["linear", "experts", "router"] = "linear"
    """`linear`: a torch Linear, which LoRA and 4-bit weights apply to. In transformers 5 experts and routers are none."""

    @property
    def parameters(self) -> int:
        """In all layers and experts."""
        return self.layers * self.experts * (self.inputs * self.outputs + (self.outputs if self.bias else 0))

    @property
    def weights(self) -> int:
        """The same without biases, which stay in 16 bits."""
        return self.layers * self.experts * self.inputs * self.outputs


@dataclass(frozen=True)
class Architecture:
    """What of a decoder decides its memory."""

    family: str
    known: bool
    """Whether the family is in families.yaml; else it was taken for a plain decoder."""
    hidden: int
    layers: int
    vocabulary: int
    tied: bool
    matrices: tuple[Matrix, ...]
    small: int
    """Parameters of norms and the like, in all layers."""
    cache_width: int
    """Numbers that the KV cache keeps for a token in a layer."""
    cache_heads: int
    """What it can be divided by between GPUs."""
    attention_width: int
    """Numbers that attention keeps for the backward pass, for a token in a layer: q, k and v twice, and its result."""
    mlp_width: int
    """The same for the widest MLP: the experts that a token sees together."""
    norms: int

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the head where it has its own."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def parameters(self) -> int:
        """All of them; every expert counts, because all lie in memory."""
        return self.embedding + self.small + sum(each.parameters for each in self.matrices)

    @property
    def quantised(self) -> int:
        """Parameters that 4-bit weights apply to."""
        return sum(each.weights for each in self.matrices if each.kind == "linear")

    @property
    def has_experts(self) -> bool:
        """Whether it is a mixture of experts."""
        return any(each.kind == "experts" for each in self.matrices)


@cache
def families() -> dict[str, Family]:
    """Every family that is known, by `model_type`."""
    text = (Path(__file__).parent / "families.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), dict[str, Family])


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """The layers that config.json describes; raises `UsageError` where it lacks what every decoder has.

    Of a model that sees or hears as well, it is the language model alone.
    """
    text = config.get("text_config")
    if isinstance(text, dict):
        config = {"model_type": config.get("model_type", ""), **text}
    name = str(config.get("model_type", ""))
    family = families().get(name)
    return _Reading(family or Family(), {**(family or Family()).defaults, **config}).architecture(
        name, family is not None
    )


class _Reading:
    """Takes a config.json apart."""

    def __init__(self, family: Family, config: Mapping[str, Any]) -> None:
        """Reads what every decoder has."""
        self.family = family
        self.config = config
        self.hidden = self.number("hidden_size", "n_embd", "d_model")
        self.layers = self.number("num_hidden_layers", "n_layer", "num_layers")
        self.heads = self.number("num_attention_heads", "n_head")
        self.kv_heads = self.number("num_key_value_heads", default=self.heads)
        self.head = self.number("head_dim", default=self.hidden // self.heads)
        self.width = self.number("intermediate_size", "n_inner", default=4 * self.hidden)

    def number(self, *names: str, default: int | None = None) -> int:
        """The value of the first key that is there; raises `UsageError` where it is no sensible number."""
        found = next((self.config[each] for each in names if self.config.get(each) is not None), default)
        if isinstance(found, bool) or not isinstance(found, int) or not 0 < found < 1 << 40:
            raise UsageError(
                f"the config.json has no `{names[0]}` that counts: {found!r}",
                hint="name a config.json of a language model, its folder, or a count such as `7B`",
            )
        return found

    def count(self, name: str) -> int:
        """The value of a key that may be zero or missing."""
        value = self.config.get(name) if name else 0
        return value if isinstance(value, int) else 0

    def says(self, key: str) -> bool:
        """Whether the family has it always, or the config's key says so."""
        return key == "always" or bool(key and self.config.get(key))

    def architecture(self, name: str, known: bool) -> Architecture:
        """All of it."""
        matrices = (*self.attention(), *self.mlps())
        return Architecture(
            family=name,
            known=known,
            hidden=self.hidden,
            layers=self.layers,
            vocabulary=self.number("vocab_size"),
            tied=bool(self.config.get("tie_word_embeddings", False)),
            matrices=matrices,
            small=self.small(),
            cache_width=self.cache_width(),
            cache_heads=1 if self.family.latent else self.kv_heads,
            attention_width=self.attention_width(),
            mlp_width=max(self.seen_width(each) for each in (True, False)),
            norms=self.family.norms,
        )

    def attention(self) -> Iterator[Matrix]:
        """Its matrices."""
        if self.family.latent:
            yield from self.latent_attention()
            return
        q, kv = self.heads * self.head, self.kv_heads * self.head
        bias = self.says(self.family.qkv_bias)
        if "qkv_proj" in self.family.fused:
            yield Matrix("qkv_proj", self.hidden, q + 2 * kv, self.layers, bias)
        else:
            yield Matrix("q_proj", self.hidden, q, self.layers, bias)
            yield Matrix("k_proj", self.hidden, kv, self.layers, bias)
            yield Matrix("v_proj", self.hidden, kv, self.layers, bias)
        yield Matrix("o_proj", q, self.hidden, self.layers, self.says(self.family.output_bias))

    def latent_attention(self) -> Iterator[Matrix]:
        """DeepSeek's: keys and values go through a narrow vector, which alone is cached."""
        bias = self.says(self.family.qkv_bias)
        rope, rank = self.number("qk_rope_head_dim"), self.number("kv_lora_rank")
        q = self.heads * (self.number("qk_nope_head_dim") + rope)
        value = self.number("v_head_dim")
        if narrow := self.count("q_lora_rank"):
            yield Matrix("q_a_proj", self.hidden, narrow, self.layers, bias)
            yield Matrix("q_b_proj", narrow, q, self.layers)
        else:
            yield Matrix("q_proj", self.hidden, q, self.layers)
        yield Matrix("kv_a_proj_with_mqa", self.hidden, rank + rope, self.layers, bias)
        yield Matrix("kv_b_proj", rank, self.heads * (self.number("qk_nope_head_dim") + value), self.layers)
        yield Matrix("o_proj", self.heads * value, self.hidden, self.layers, self.says(self.family.output_bias))

    def mlps(self) -> Iterator[Matrix]:
        """Those of plain layers, and those of layers with experts."""
        sparse = self.sparse_layers()
        if dense := self.layers - sparse:
            yield from self.mlp("", self.width, dense, bias=self.says(self.family.mlp_bias))
        experts = self.family.experts
        if not experts or not sparse:
            return
        count, width = self.number(experts.count), self.number(experts.width)
        yield Matrix("router", self.hidden, count, sparse, experts.bias, kind="router")
        yield Matrix("experts.gate_up_proj", self.hidden, 2 * width, sparse, experts.bias, count, "experts")
        yield Matrix("experts.down_proj", width, self.hidden, sparse, experts.bias, count, "experts")
        if shared := self.shared_width():
            yield from self.mlp("shared_expert.", shared, sparse, bias=self.says(self.family.mlp_bias))
        if experts.shared_gate:
            yield Matrix("shared_expert_gate", self.hidden, 1, sparse)

    def mlp(self, prefix: str, width: int, layers: int, *, bias: bool) -> Iterator[Matrix]:
        """A gated one."""
        if "gate_up_proj" in self.family.fused:
            yield Matrix(f"{prefix}gate_up_proj", self.hidden, 2 * width, layers, bias)
        else:
            yield Matrix(f"{prefix}gate_proj", self.hidden, width, layers, bias)
            yield Matrix(f"{prefix}up_proj", self.hidden, width, layers, bias)
        yield Matrix(f"{prefix}down_proj", width, self.hidden, layers, bias)

    def sparse_layers(self) -> int:
        """How many layers have experts."""
        if not self.family.experts or not self.count(self.family.experts.count):
            return 0
        plain = self.config.get("mlp_only_layers") or []
        step = self.count("decoder_sparse_step") or 1
        first = self.count("first_k_dense_replace")
        return sum(
            each >= first and (each + 1) % step == 0 and each not in plain for each in range(min(self.layers, 1 << 16))
        )

    def shared_width(self) -> int:
        """Of what every token sees beside its experts."""
        experts = self.family.experts
        if not experts:
            return 0
        return self.count(experts.shared_width) + self.count(experts.shared) * self.count(experts.width)

    def seen_width(self, sparse: bool) -> int:
        """How wide the MLP is that one token goes through; 0 where no layer is like that."""
        experts = self.family.experts
        if not sparse or not experts:
            return 0 if self.sparse_layers() == self.layers else self.width
        if not self.sparse_layers():
            return 0
        return self.number("num_experts_per_tok", default=1) * self.count(experts.width) + self.shared_width()

    def small(self) -> int:
        """Norms, and what else is no matrix."""
        each = self.family.norms * self.hidden
        if self.family.qk_norm == "whole":
            each += (self.heads + self.kv_heads) * self.head
        elif self.family.qk_norm == "head" or self.says(self.family.qk_norm):
            each += 2 * self.head
        if self.family.latent:
            each += self.count("q_lora_rank") + self.number("kv_lora_rank")
        if self.family.sinks:
            each += self.heads
        return each * self.layers + self.hidden

    def cache_width(self) -> int:
        """Keys and values of a token, or what stands for them."""
        if self.family.latent:
            return self.number("kv_lora_rank") + self.number("qk_rope_head_dim")
        return 2 * self.kv_heads * self.head

    def attention_width(self) -> int:
        """q, k, v before and after the rotation, and the result."""
        if self.family.latent:
            q = self.heads * (self.number("qk_nope_head_dim") + self.number("qk_rope_head_dim"))
            return 4 * q + 2 * self.heads * self.number("v_head_dim")
        return 2 * (self.heads + self.kv_heads) * self.head + (self.kv_heads + self.heads) * self.head
