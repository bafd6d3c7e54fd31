"""Axolotl for real: a training, the merge of its adapter, its page. Gigabytes and minutes."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine, fetch, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "axolotl-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "axolotl-cu128"), id="venv-cu128", marks=pytest.mark.matrix)
OLD = pytest.param(("venv", "axolotl-cu124"), id="venv-cu124", marks=pytest.mark.matrix)
DOCKER = pytest.param(("docker", "axolotl-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")


@pytest.mark.evidence("sft-lora")
@on(VENV, OLDER, OLD, DOCKER)
def test_a_lora_training_learns_and_its_adapter_is_merged(machine: Machine) -> None:
    machine.run("train", "--help")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("train", "config/e2e.yaml")

    written = machine.workspace / "outputs/e2e"
    assert (written / "adapter_model.safetensors").stat().st_size > 1000
    state = json.loads((written / "checkpoint-10/trainer_state.json").read_text())
    losses = [each["loss"] for each in state["log_history"] if "loss" in each]
    assert len(losses) == 10
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3

    machine.run("merge-lora", "config/e2e.yaml")

    assert (written / "merged/config.json").is_file()


@pytest.mark.evidence("webui")
@on(VENV)
def test_its_page_answers_and_is_shared_with_nobody(machine: Machine) -> None:
    machine.run("train", "--help")
    machine.prepare()

    with machine.server("webui", "config/e2e.yaml") as url:
        config = json.loads(fetch(f"{url}/config"))

    assert config["title"] == "Axolotl Gradio Interface"
