"""TRL for real: a training on each torch, also under DeepSpeed. Gigabytes and minutes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.machine import Machine, on

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.index]
DOCKER = pytest.param(("docker", "trl-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")
VENV = pytest.param(("venv", "trl-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "trl-cu128"), marks=pytest.mark.matrix, id="venv-cu128")
OLD = pytest.param(("venv", "trl-cu124"), marks=pytest.mark.matrix, id="venv-cu124")


@pytest.mark.evidence("sft-lora")
@on(DOCKER, VENV, OLDER, OLD)
def test_a_lora_training_learns_and_writes_an_adapter(machine: Machine) -> None:
    machine.run("env")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("sft", "--config", "config/e2e.yaml")

    assert (machine.workspace / "saves/e2e/adapter_model.safetensors").stat().st_size > 1000
    assert fell(losses(machine.workspace / "saves/e2e"))


@on(DOCKER, VENV)
def test_a_training_under_deepspeed_zero_2_learns(machine: Machine) -> None:
    machine.run("env")
    machine.prepare()

    machine.run("sft", "--config", "config/e2e.yaml", "--accelerate_config", "config/zero2.yaml")

    divided = "checkpoint-10/global_step10/zero_pp_rank_0_mp_rank_00_optim_states.pt"
    assert (machine.workspace / "saves/e2e" / divided).is_file()
    assert fell(losses(machine.workspace / "saves/e2e"))


def losses(written: Path) -> list[float]:
    """What each step of the training lost."""
    state = json.loads((written / "checkpoint-10/trainer_state.json").read_text())
    return [float(each["loss"]) for each in state["log_history"] if "loss" in each]


def fell(losses: list[float]) -> bool:
    """Whether the training learnt: ten steps, and the last three are better than the first three."""
    return len(losses) == 10 and sum(losses[-3:]) < sum(losses[:3]) - 0.3
