"""Quantises a layer with bitsandbytes, compares it with the unquantised one, and trains an adapter on it:
python quantized.py 4|8 cpu|gpu

Its last line is JSON, as that of compare.py.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import bitsandbytes as bnb
import torch

WIDTH = 128
BOUNDS = {4: 0.2, 8: 0.05}
"""The error of a layer's output by quantising, as a part of its size (both as norms): NF4 makes about 0.1, int8 about 0.01."""
LEAST = {4: 1e-3, 8: 1e-5}
"""Below this nothing was quantised."""


def quantised(bits: int, plain: torch.nn.Linear, device: str) -> torch.nn.Module:
    """The same layer with fewer bits; moving it to the device quantises it."""
    if bits == 4:
        layer = bnb.nn.Linear4bit(WIDTH, WIDTH, bias=False, quant_type="nf4", compute_dtype=torch.float32)
        layer.weight = bnb.nn.Params4bit(plain.weight.data.clone(), requires_grad=False, quant_type="nf4")
    else:
        layer = bnb.nn.Linear8bitLt(WIDTH, WIDTH, bias=False, has_fp16_weights=False)
        layer.weight = bnb.nn.Int8Params(plain.weight.data.clone(), requires_grad=False, has_fp16_weights=False)
    return layer.to(device)


def qlora(layer: torch.nn.Module, inputs: torch.Tensor, wanted: torch.Tensor) -> list[float]:
    """The losses while an adapter on the frozen layer learns to give what is wanted."""
    torch.manual_seed(1)
    down = torch.nn.Linear(WIDTH, 8, bias=False).to(inputs.device, inputs.dtype)
    up = torch.nn.Linear(8, WIDTH, bias=False).to(inputs.device, inputs.dtype)
    torch.nn.init.zeros_(up.weight)
    optimizer = torch.optim.AdamW([*down.parameters(), *up.parameters()], lr=1e-2)
    losses = []
    for _ in range(20):
        loss = (layer(inputs) + up(down(inputs)) - wanted).float().pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def look(bits: int, wish: str) -> dict[str, Any]:
    """What is to be said of it."""
    device = "cuda" if wish == "gpu" else "cpu"
    kind = torch.float16 if wish == "gpu" and bits == 8 else torch.float32
    torch.manual_seed(0)
    plain = torch.nn.Linear(WIDTH, WIDTH, bias=False)
    inputs = torch.randn(64, WIDTH)
    true = plain(inputs).detach()
    layer = quantised(bits, plain, device)
    found = layer(inputs.to(device, kind)).detach().float().cpu()
    error = float((found - true).norm() / true.norm())
    faults = []
    if not LEAST[bits] <= error <= BOUNDS[bits]:  # so that NaN is a fault
        faults.append(
            f"a layer of {bits} bits is off by {error:.2g} of its output: between {LEAST[bits]:g} and {BOUNDS[bits]:g} is right"
        )
    losses = qlora(layer, inputs.to(device, kind), torch.roll(true, 1, dims=1).to(device, kind))
    if not losses[-1] < 0.98 * losses[0]:
        faults.append(f"an adapter on it learns nothing: loss {losses[0]:.4f}, then {losses[-1]:.4f}")
    metrics = {"error": error, "loss_before": losses[0], "loss_after": losses[-1]}
    return {
        "faults": faults,
        "metrics": metrics,
        "detail": f"bitsandbytes {bnb.__version__}, {bits} bits on the {wish.upper()}",
    }


if __name__ == "__main__":
    print(json.dumps(look(int(sys.argv[1]), sys.argv[2])))  # noqa: T201  # the result
