"""Ten steps of LoRA on a tiny random model, without a GPU: numbers of 32 bits throughout."""

import torch
from datasets import load_dataset
from mmengine.dataset import DefaultSampler
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper
from peft import LoraConfig
from torch.optim import AdamW
from transformers import AutoModelForCausalLM, AutoTokenizer
from xtuner.dataset import process_hf_dataset
from xtuner.dataset.collate_fns import default_collate_fn
from xtuner.dataset.map_fns import openai_map_fn, template_map_fn_factory
from xtuner.engine.runner import TrainLoop
from xtuner.model import SupervisedFinetune
from xtuner.utils import PROMPT_TEMPLATE

tokenizer = {
    "type": AutoTokenizer.from_pretrained,
    "pretrained_model_name_or_path": "models/tiny",
    "padding_side": "right",
}
model = {
    "type": SupervisedFinetune,
    "llm": {
        "type": AutoModelForCausalLM.from_pretrained,
        "pretrained_model_name_or_path": "models/tiny",
        "torch_dtype": torch.float32,
    },
    "lora": {"type": LoraConfig, "r": 8, "lora_alpha": 16, "task_type": "CAUSAL_LM"},
}
train_dataloader = {
    "batch_size": 4,
    "num_workers": 0,
    "dataset": {
        "type": process_hf_dataset,
        "dataset": {"type": load_dataset, "path": "json", "data_files": ["data/numbers.jsonl"]},
        "tokenizer": tokenizer,
        "max_length": 256,
        "dataset_map_fn": openai_map_fn,
        "template_map_fn": {"type": template_map_fn_factory, "template": PROMPT_TEMPLATE.qwen_chat},
        "pack_to_max_length": False,
        "map_num_proc": 1,
    },
    "sampler": {"type": DefaultSampler, "shuffle": True},
    "collate_fn": {"type": default_collate_fn},
}
optim_wrapper = {"type": OptimWrapper, "optimizer": {"type": AdamW, "lr": 1e-2}}
train_cfg = {"type": TrainLoop, "max_iters": 10}
default_hooks = {
    "logger": {"type": LoggerHook, "log_metric_by_epoch": False, "interval": 1},
    "checkpoint": {"type": CheckpointHook, "by_epoch": False, "interval": 10},
}
env_cfg = {"mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0}}
log_processor = {"by_epoch": False, "window_size": 1}
randomness = {"seed": 0}
