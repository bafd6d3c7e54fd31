"""XTuner for real: a LoRA training, and its adapter for Transformers. Gigabytes and minutes."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "xtuner-cu124"), id="venv-cu124", marks=pytest.mark.matrix)


@pytest.mark.evidence("sft-lora")
@on(VENV)
def test_a_lora_training_learns_and_its_adapter_is_converted(machine: Machine) -> None:
    machine.run("list-cfg")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("train", "config/e2e.py", "--work-dir", "work_dirs/e2e")  # its status says nothing

    log = next((machine.workspace / "work_dirs/e2e").glob("*/vis_data/scalars.json"))
    losses = [json.loads(line)["loss"] for line in log.read_text().splitlines()]
    assert len(losses) == 10
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3

    machine.run("convert", "pth_to_hf", "config/e2e.py", "work_dirs/e2e/iter_10.pth", "work_dirs/adapter")

    assert (machine.workspace / "work_dirs/adapter/adapter_model.safetensors").stat().st_size > 1000
