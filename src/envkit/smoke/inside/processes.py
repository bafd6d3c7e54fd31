"""Adds numbers up across processes, and trains with them as one process would: python processes.py cpu|gpu HOW-MANY

On GPUs each process has one of them, and NCCL adds; on the CPU gloo does. Its last line is JSON, as that of compare.py.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

STEPS = 5
BOUND = 1e-4
"""Of the largest weight: float32, and another order of adding."""


def trained(device: torch.device, rank: int, world: int) -> torch.Tensor:
    """The weights of a small model after a few steps, in which each process sees its part of the data."""
    torch.manual_seed(0)
    model: torch.nn.Module = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    inputs, wanted = torch.randn(8 * world, 16), torch.randn(8 * world, 4)
    share = slice(None) if rank < 0 else slice(8 * rank, 8 * rank + 8)
    model = model.to(device)
    inside = DistributedDataParallel(model) if rank >= 0 else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(STEPS):
        loss = torch.nn.functional.mse_loss(inside(inputs[share].to(device)), wanted[share].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return torch.cat([each.detach().flatten().cpu() for each in model.parameters()])


def work(rank: int, world: int, gpu: bool, meeting: str) -> None:
    """One of the processes; the first writes what it found."""
    device = torch.device(f"cuda:{rank}" if gpu else "cpu")
    if gpu:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if gpu else "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    numbers = torch.arange(1000, dtype=torch.float32, device=device) * (rank + 1)
    dist.all_reduce(numbers)
    true = torch.arange(1000, dtype=torch.float32) * sum(range(1, world + 1))
    weights = trained(device, rank, world)
    if rank == 0:
        torch.save({"sum": bool(torch.equal(numbers.cpu(), true)), "weights": weights}, f"{meeting}.found")
    dist.destroy_process_group()


def look(wish: str, world: int) -> dict[str, Any]:
    """What is to be said of them."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"{folder}/meeting"
        mp.spawn(work, args=(world, wish == "gpu", meeting), nprocs=world)
        found = torch.load(f"{meeting}.found", weights_only=True)
    alone = trained(torch.device("cuda:0" if wish == "gpu" else "cpu"), -1, world)
    error = float((found["weights"] - alone).abs().max() / alone.abs().max())
    faults = [] if found["sum"] else [f"the sum over {world} processes is wrong"]
    if not error <= BOUND:  # so that NaN is a fault
        faults.append(
            f"{world} processes train otherwise than one: weights are {error:.1g} apart, {BOUND:g} is allowed"
        )
    return {"faults": faults, "metrics": {"error": error}, "detail": f"{world} processes add up and train as one does"}


if __name__ == "__main__":
    print(json.dumps(look(sys.argv[1], int(sys.argv[2]))))  # noqa: T201  # the result
