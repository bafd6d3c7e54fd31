"""Trains a tiny model on conversations with the Trainer, as a file of its arguments says: train.py FILE

Any launcher may start it: `accelerate launch`, `deepspeed`, `torchrun`, or Python itself.
"""

import sys
from dataclasses import dataclass

from datasets import load_dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    HfArgumentParser,
    Trainer,
    TrainingArguments,
    set_seed,
)


@dataclass
class Wish:
    """What the file says beside the Trainer's own arguments."""

    lora: bool = False
    """Whether an adapter is trained, and not the model itself."""


wish, arguments = HfArgumentParser((Wish, TrainingArguments)).parse_yaml_file(sys.argv[1])
set_seed(arguments.seed)  # the Trainer does so too, after the adapter was made
tokenizer = AutoTokenizer.from_pretrained("models/tiny")
model = AutoModelForCausalLM.from_pretrained("models/tiny", dtype="float32")
if wish.lora:
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))


def encode(row):
    """A conversation as tokens."""
    return tokenizer(tokenizer.apply_chat_template(row["messages"], tokenize=False))


rows = load_dataset("json", data_files="sets/messages/train.jsonl", split="train")
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=rows.map(encode, remove_columns=rows.column_names),
    data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    processing_class=tokenizer,
)
trainer.train()
trainer.save_model()
