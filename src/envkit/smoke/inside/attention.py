"""Computes attention forward and backward and compares with the plain formula in float32: python attention.py sdpa|flash-attn cpu|gpu

Its last line is JSON, as that of compare.py.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from typing import Any

import torch

SHAPE = (2, 4, 128, 64)  # batch, heads, tokens, width
BOUNDS = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""The largest error, as a part of the largest element of the float32 result."""

Attention = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def plain(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The formula, causal."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
    return scores.masked_fill(later, -math.inf).softmax(-1) @ value


def sdpa(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """torch's own, with the kernel that it chooses."""
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)


def flash_attn(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """FlashAttention's, which has tokens before heads."""
    from flash_attn import flash_attn_func

    turned = (each.transpose(1, 2) for each in (query, key, value))
    return flash_attn_func(*turned, causal=True).transpose(1, 2)


def results(attention: Attention, device: str, kind: torch.dtype) -> list[torch.Tensor]:
    """The output, and the gradients of all three inputs."""
    torch.manual_seed(0)
    inputs = [torch.randn(SHAPE).to(device, kind).requires_grad_() for _ in range(3)]
    weight = torch.randn(SHAPE).to(device, kind)
    out = attention(*inputs)
    out.backward(weight)
    return [each.detach().float().cpu() for each in (out, *(each.grad for each in inputs))]


def look(name: str, wish: str) -> dict[str, Any]:
    """What is to be said of it."""
    attention: Attention = {"sdpa": sdpa, "flash-attn": flash_attn}[name]
    device = "cuda" if wish == "gpu" else "cpu"
    kinds = [torch.float16] if name == "flash-attn" else [torch.float32]
    if wish == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False):
        kinds.append(torch.bfloat16)
    true = results(plain, "cpu", torch.float32)
    metrics: dict[str, float] = {}
    faults = []
    for kind in kinds:
        found = results(attention, device, kind)
        for part, one, other in zip(("output", "dq", "dk", "dv"), found, true, strict=True):
            what = f"{str(kind).removeprefix('torch.')} {part}"
            metrics[f"error {what}"] = error = float((one - other).abs().max() / other.abs().max())
            if not error <= BOUNDS[kind]:  # so that NaN is a fault
                faults.append(f"{what} is wrong by {error:.1g} of its largest element, {BOUNDS[kind]:g} is allowed")
    return {
        "faults": faults,
        "metrics": metrics,
        "detail": f"{name} agrees with the formula in float32 on the {wish.upper()}",
    }


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], sys.argv[2])))  # noqa: T201  # the result
