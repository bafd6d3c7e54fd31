"""torchtune for real: a LoRA training. Gigabytes and minutes."""

from __future__ import annotations

import re

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "torchtune-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "torchtune-cu128"), id="venv-cu128", marks=pytest.mark.matrix)
OLD = pytest.param(("venv", "torchtune-cu124"), id="venv-cu124", marks=pytest.mark.matrix)
DOCKER = pytest.param(("docker", "torchtune-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")


@pytest.mark.evidence("sft-lora")
@on(VENV, OLDER, OLD, DOCKER)
def test_a_lora_training_learns_and_writes_an_adapter(machine: Machine) -> None:
    machine.run("ls")  # makes the environment, and the workspace
    machine.make("smoke/make_torchtune.py", "models/tiny")  # transformers is no part of it

    machine.run("run", "lora_finetune_single_device", "--config", "config/e2e.yaml")

    written = machine.workspace / "output/e2e"
    assert (written / "epoch_1/adapter_model.safetensors").stat().st_size > 1000
    said = (written / "logs/losses.txt").read_text()
    losses = [float(each) for each in re.findall(r"^Step \d+ \| loss:([\d.]+) ", said, re.MULTILINE)]
    assert len(losses) == 10
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3
