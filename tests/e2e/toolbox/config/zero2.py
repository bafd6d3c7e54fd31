"""Trains a tiny model for ten steps with its optimizer divided (ZeRO-2), and prints each loss: for `deepspeed`."""

import deepspeed
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("models/tiny")
model = AutoModelForCausalLM.from_pretrained("models/tiny", dtype=torch.float32)
settings = {
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-2, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}
engine, optimizer, _, _ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=settings)
batch = tokenizer([f"say {n}: the number is {n}" for n in range(10)], return_tensors="pt").to(engine.device)
for _ in range(10):
    loss = engine(**batch, labels=batch["input_ids"]).loss
    engine.backward(loss)
    engine.step()
    print(f"loss {loss.item():.4f}", flush=True)  # noqa: T201  # the result
stage = engine.zero_optimization_stage()
print(f"optimizer {type(optimizer).__name__}, stage {stage}", flush=True)  # noqa: T201  # the result
