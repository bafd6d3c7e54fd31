"""Loads what a training or an export wrote and compares what the models say: python compare.py BASE --adapter A [--copy B] …

Its last line is JSON: what is wrong (`faults`), what was measured (`metrics`), and one sentence (`detail`). Everything is
computed in float32 on the CPU, so that equal weights give equal logits to the bit.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

BOUND = 1e-4
"""Of the largest logit: what merging an adapter may change, in float32, by rounding."""
BETTER = 0.95
"""What was learnt: on the texts of the training, at most this part of the loss without it."""
TEXTS = [(f"say {number}", f"the number is {number}, as you asked") for number in range(4)]


def load(folder: str, adapter: str | None = None) -> Any:
    """The model in float32, under its adapter."""
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.to(device="cpu", dtype=torch.float32).eval()


def conversations(base: str) -> list[tuple[torch.Tensor, int]]:
    """What was trained on, as tokens, and where the answer begins."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    found = []
    for question, answer in TEXTS:
        before = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        start = tokenizer(before, return_tensors="pt").input_ids
        whole = tokenizer(f"{before}{answer}", return_tensors="pt").input_ids
        found.append((whole, start.shape[1]))
    return found


@torch.no_grad()  # type: ignore[untyped-decorator,unused-ignore]  # torch is not here
def say(model: Any, texts: list[tuple[torch.Tensor, int]]) -> tuple[list[torch.Tensor], float]:
    """The logits for each text, and the mean loss of the answers."""
    logits = [model(input_ids=ids).logits[0] for ids, _ in texts]
    losses = [
        torch.nn.functional.cross_entropy(each[start - 1 : -1], ids[0, start:])
        for each, (ids, start) in zip(logits, texts, strict=True)
    ]
    return logits, float(sum(losses)) / len(losses)


def furthest(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """The largest difference between two models' logits."""
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def weights(folder: str) -> dict[str, torch.Tensor]:
    """Every tensor of an adapter."""
    from safetensors.torch import load_file

    return load_file(str(Path(folder) / "adapter_model.safetensors"))


def different(one: str, other: str) -> list[str]:
    """The names of the tensors of two adapters that are not the same, to the bit."""
    first, second = weights(one), weights(other)
    return sorted(
        name
        for name in {*first, *second}
        if name not in first
        or name not in second
        or first[name].shape != second[name].shape
        or first[name].numpy().tobytes() != second[name].numpy().tobytes()
    )


def learnt(what: str, loss: float, before: float) -> list[str]:
    """What is wrong with a model that should know more than the one it came from."""
    if not math.isfinite(loss):
        return [f"{what} computes a loss of {loss}"]
    if loss > BETTER * before:
        return [f"{what} has learnt nothing: on the training's texts its loss is {loss:.3f}, without it {before:.3f}"]
    return []


def look(asked: argparse.Namespace) -> dict[str, Any]:
    """What is to be said of the models."""
    texts = conversations(asked.base)
    _, loss_before = say(load(asked.base), texts)
    faults: list[str] = []
    metrics = {"loss_before": loss_before}
    detail = []
    if asked.adapter:
        reference, loss = say(load(asked.base, asked.adapter), texts)
        metrics["loss_after"] = loss
        faults += learnt(asked.adapter, loss, loss_before)
        detail.append(f"{asked.adapter} loads")
    if asked.copy:
        copied, _ = say(load(asked.base, asked.copy), texts)
        metrics["copy_difference"] = furthest(reference, copied)
        names = different(asked.adapter, asked.copy)
        if names or not all(map(torch.equal, reference, copied)):
            apart = f"{len(names)} tensors differ, such as {names[0]}" if names else "the same tensors"
            faults.append(
                f"{asked.adapter} and {asked.copy} are not the same: {apart}; logits differ by {metrics['copy_difference']:g}"
            )
        detail.append(f"{asked.copy} gives the same logits")
    if asked.merged:
        merged, _ = say(load(asked.merged), texts)
        largest = max(float(each.abs().max()) for each in reference)
        metrics["merged_difference"] = furthest(reference, merged)
        if not metrics["merged_difference"] <= BOUND * largest:  # so that NaN is a fault
            faults.append(
                f"{asked.merged} does not say what {asked.base} with {asked.adapter} says: logits differ by "
                f"{metrics['merged_difference']:g}, {BOUND * largest:g} is allowed"
            )
        detail.append(f"{asked.merged} gives the logits of base and adapter, to {metrics['merged_difference']:.1g}")
    if asked.model:
        _, loss = say(load(asked.model), texts)
        metrics["loss_after"] = loss
        faults += learnt(asked.model, loss, loss_before)
        detail.append(f"{asked.model} loads")
    return {"faults": faults, "metrics": metrics, "detail": "; ".join(detail)}


def main() -> None:
    """Prints what was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    for option in ("--adapter", "--copy", "--merged", "--model"):
        parser.add_argument(option)
    print(json.dumps(look(parser.parse_args())))  # noqa: T201  # the result


if __name__ == "__main__":
    main()
