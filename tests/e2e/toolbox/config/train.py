"""Trains a LoRA on a tiny model for ten steps, and prints each loss: what `accelerate launch` starts."""

import torch
from accelerate import Accelerator
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

accelerator = Accelerator()
tokenizer = AutoTokenizer.from_pretrained("models/tiny")
base = AutoModelForCausalLM.from_pretrained("models/tiny", dtype=torch.float32)
model = get_peft_model(base, LoraConfig(target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
batch = tokenizer([f"say {n}: the number is {n}" for n in range(10)], return_tensors="pt").to(accelerator.device)
model, optimizer = accelerator.prepare(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
for _ in range(10):
    loss = model(**batch, labels=batch["input_ids"]).loss
    accelerator.backward(loss)
    optimizer.step()
    optimizer.zero_grad()
    accelerator.print(f"loss {loss.item():.4f}", flush=True)
accelerator.unwrap_model(model).save_pretrained("output/adapter")
