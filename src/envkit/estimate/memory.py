"""The memory of each GPU, part by part, for a way to train or to run a model; formulas and sources: docs/estimate.md; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envkit.errors import UsageError

if TYPE_CHECKING:
    from envkit.estimate.architecture import Architecture, Matrix

Method = Literal["full", "lora", "qlora", "inference"]
Part = Literal["weights", "gradients", "optimizer", "activations", "logits", "buffers", "kv cache", "context"]

METHODS: tuple[Method, ...] = ("full", "lora", "qlora", "inference")
HALF, SINGLE = 2, 4
"""Bytes of a number in bf16 or fp16, and in fp32."""
ADAM = 2 * SINGLE
"""Bytes that AdamW keeps for a trained parameter: two moments."""
NF4 = (4 + 8 / 64 + 32 / (64 * 256)) / 8
"""Bytes of a 4-bit weight: with an 8-bit scale for 64 of them, and an fp32 one for 256 scales (QLoRA, arXiv:2305.14314, §3)."""
LOGIT = HALF + SINGLE + SINGLE
"""Bytes for a token and a word: transformers' loss casts logits to fp32, and its softmax keeps as much again."""
BUCKET = 500_000_000
"""Numbers in one of DeepSpeed's two buckets (`reduce_bucket_size`, `allgather_bucket_size`), which ZeRO 1 and 2 allocate."""
LIVE = 1_000_000_000
"""Parameters that ZeRO 3 may have gathered at one time (`stage3_max_live_parameters`)."""
CONTEXT = 1 << 30
"""Bytes before the first tensor: CUDA's context and the libraries' kernels; transformers' guide to a GPU's memory saw 1.3 GB."""
THUMB: dict[Method, float] = {"full": 20, "lora": 2, "qlora": 0.5, "inference": 2}
"""Bytes for a parameter, as people say."""


@dataclass(frozen=True)
class Model:
    """What is estimated."""

    name: str
    parameters: int
    architecture: Architecture
    """Its shape, or that of a model of about its size."""
    exact: bool = True
    """Whether the shape is its own."""
    stored: int | None = None
    """Bytes of its files, where they were read."""
    quantised: bool = False
    """Whether those files hold quantised weights."""


@dataclass(frozen=True)
class Wish:
    """What is to be done with it."""

    method: Method = "lora"
    batch: int = 1
    """On each GPU."""
    length: int = 2048
    """Tokens of a sequence; for inference, of prompt and answer together."""
    gpus: int = 1
    zero: int = 0
    """DeepSpeed's ZeRO stage; 0: none, every GPU holds everything."""
    rank: int = 8
    targets: tuple[str, ...] = ()
    """Names of the matrices that LoRA adapts; none: all."""
    checkpointing: bool = True
    """Whether activations are computed again instead of kept."""


@dataclass(frozen=True)
class Estimate:
    """The memory of one GPU."""

    parts: dict[Part, int]
    """Bytes."""
    trained: int
    """Parameters that are trained, on all GPUs together."""

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(self.parts.values())


_STAGES: dict[Part, int] = {"optimizer": 1, "gradients": 2, "weights": 3}
"""From which ZeRO stage on GPUs divide a part between them (ZeRO, arXiv:1910.02054, figure 1)."""


def estimate(model: Model, wish: Wish) -> Estimate:
    """The memory that each GPU needs; raises `UsageError` for what cannot be."""
    if wish.method == "inference":
        return Estimate(_inference(model, wish), 0)
    if wish.method == "qlora" and wish.zero == 3:
        raise UsageError("DeepSpeed's ZeRO 3 does not divide 4-bit weights", hint="`--zero 2`, or `--method lora`")
    trained = _trained(model, wish)
    if wish.method == "full":  # bf16 weights and gradients, and AdamW with an fp32 copy of the weights
        needed: dict[Part, int] = {"weights": HALF, "gradients": HALF, "optimizer": SINGLE + ADAM}
        frozen = 0
    else:  # PEFT keeps adapters in fp32
        needed = {"weights": SINGLE, "gradients": SINGLE, "optimizer": ADAM}
        frozen = _frozen(model, wish)
    parts: dict[Part, int] = {part: number * trained for part, number in needed.items()}
    parts["weights"] += frozen
    gradients = parts["gradients"]
    for part, stage in _STAGES.items():
        if wish.zero >= stage:
            parts[part] = _share(parts[part], wish.gpus)
    parts["activations"] = _activations(model.architecture, wish)
    parts["logits"] = wish.batch * wish.length * model.architecture.vocabulary * LOGIT
    parts["buffers"] = _buffers(model, wish, trained, gradients)
    parts["context"] = CONTEXT
    return Estimate(parts, trained)


def targets(model: Model, wish: Wish) -> list[Matrix]:
    """The matrices that get an adapter; raises `UsageError` for names that the model has not."""
    there = {each: each.name.split(".")[-1] for each in model.architecture.matrices if each.kind == "linear"}
    if unknown := set(wish.targets) - set(there.values()):
        raise UsageError(
            f"the model has nothing to adapt that is called {', '.join(sorted(unknown))}",
            hint=f"it has: {', '.join(dict.fromkeys(there.values()))}",
        )
    return [each for each, name in there.items() if not wish.targets or name in wish.targets]


def _trained(model: Model, wish: Wish) -> int:
    if wish.method == "full":
        return model.parameters
    return sum(wish.rank * (each.inputs + each.outputs) * each.layers for each in targets(model, wish))


def _frozen(model: Model, wish: Wish) -> int:
    """Bytes of the weights below the adapters."""
    if model.quantised and model.stored:
        return model.stored
    if wish.method == "lora":
        return HALF * model.parameters
    shape = model.architecture
    quantised = model.parameters * shape.quantised // shape.parameters
    return int(NF4 * quantised) + HALF * (model.parameters - quantised)


def _activations(shape: Architecture, wish: Wish) -> int:
    """Bytes that the backward pass finds again: of every layer, or one number a token of each and all of the widest."""
    residual = HALF * shape.hidden
    layer = (
        2 * residual
        + shape.norms * (SINGLE + HALF) * shape.hidden  # its input is cast to fp32, its output is not
        + HALF * (shape.attention_width + 4 * shape.mlp_width)  # gate, up, what becomes of gate, and their product
    )
    per_token = shape.layers * residual + layer if wish.checkpointing else shape.layers * layer
    return wish.batch * wish.length * per_token


def _buffers(model: Model, wish: Wish, trained: int, gradients: int) -> int:
    """Bytes that GPUs exchange parameters and gradients in."""
    if wish.zero == 3:
        return HALF * (min(LIVE, model.parameters) + min(BUCKET, trained))
    if wish.zero:
        return HALF * 2 * min(BUCKET, trained)
    return gradients if wish.gpus > 1 else 0  # torch's DDP copies them (`gradient_as_bucket_view` is off by default)


def _inference(model: Model, wish: Wish) -> dict[Part, int]:
    """Weights and cache are divided between GPUs by tensor parallelism."""
    shape, tokens = model.architecture, wish.batch * wish.length
    widest = max(shape.attention_width, 3 * shape.mlp_width)
    cache = tokens * shape.layers * shape.cache_width * HALF
    return {
        "weights": _share(model.stored or HALF * model.parameters, wish.gpus),
        "kv cache": _share(cache, min(wish.gpus, shape.cache_heads)),
        "activations": tokens * HALF * (2 * shape.hidden + _share(widest, wish.gpus)),
        "logits": wish.batch * shape.vocabulary * SINGLE,
        "context": CONTEXT,
    }


def _share(number: int, gpus: int) -> int:
    return -(-number // gpus)
