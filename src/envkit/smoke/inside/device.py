"""Multiplies matrices on the device and compares with float64 on the CPU: python device.py cpu|gpu [HOW-MANY]

HOW-MANY GPUs were handed over, and all of them must be seen. Its last line is JSON, as that of compare.py.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch

SIZE = 256
BOUNDS = {torch.float32: 1e-5, torch.float16: 5e-3, torch.bfloat16: 2e-2}
"""The largest error, as a part of the largest element: about twice a type's rounding, after a sum of 256 products."""


def error(device: str, kind: torch.dtype) -> float:
    """How far the product of two random matrices is from the one in float64."""
    torch.manual_seed(0)
    one, other = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    true = one.double() @ other.double()
    product = (one.to(device, kind) @ other.to(device, kind)).cpu().double()
    return float((product - true).abs().max() / true.abs().max())


def look(wish: str, count: int) -> dict[str, Any]:
    """What is to be said of the devices."""
    torch.backends.cuda.matmul.allow_tf32 = False  # else float32 would be as coarse as float16
    metrics: dict[str, float] = {}
    faults = []
    devices = ["cpu"]
    seen = torch.cuda.device_count()
    if wish == "gpu":
        if seen != count:
            faults.append(f"{count} GPUs were handed over, and torch sees {seen}")
        devices = [f"cuda:{number}" for number in range(seen)]
    elif seen:
        faults.append(f"no GPU was handed over, and torch sees {seen}")
    for device in devices:
        kinds = [torch.float32]
        if device == "cpu" or torch.cuda.is_bf16_supported(including_emulation=False):
            kinds.append(torch.bfloat16)
        if device != "cpu":
            kinds.append(torch.float16)
        for kind in kinds:
            name = f"{device} {str(kind).removeprefix('torch.')}"
            metrics[f"error {name}"] = found = error(device, kind)
            if not found <= BOUNDS[kind]:  # so that NaN is a fault
                faults.append(
                    f"{name}: a product is wrong by {found:.1g} of its largest element, {BOUNDS[kind]:g} is allowed"
                )
    return {"faults": faults, "metrics": metrics, "detail": ", ".join(map(described, devices))}


def described(device: str) -> str:
    """What it is."""
    if device == "cpu":
        return f"the CPU, {torch.get_num_threads()} threads, torch {torch.__version__}"
    found = torch.cuda.get_device_properties(device)
    return f"{found.name}, {found.total_memory // 2**20} MiB, compute capability {found.major}.{found.minor}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 0)))  # noqa: T201  # the result
