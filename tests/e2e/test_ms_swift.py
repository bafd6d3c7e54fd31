"""ms-swift for real: its page, a training, an API. Gigabytes and minutes."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine, fetch, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
DOCKER = pytest.param(("docker", "ms-swift-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")
VENV = pytest.param(("venv", "ms-swift-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "ms-swift-cu128"), marks=pytest.mark.matrix, id="venv-cu128")
OLD = pytest.param(("venv", "ms-swift-cu124"), marks=pytest.mark.matrix, id="venv-cu124")


@pytest.mark.evidence("webui")
@on(DOCKER, VENV, OLDER, OLD)
def test_the_page_is_ms_swift_s(machine: Machine) -> None:
    with machine.server("webui") as url:
        config = json.loads(fetch(f"{url}/config"))
    tabs = [each["props"].get("label") for each in config["components"] if each["type"] == "tabitem"]
    assert "LLM预训练/微调" in tabs  # in Chinese, unless SWIFT_UI_LANG says otherwise


@pytest.mark.evidence("sft-lora")
@on(DOCKER, VENV, OLDER, OLD)
def test_a_lora_training_learns_and_writes_an_adapter(machine: Machine) -> None:
    machine.run("sft", "--help")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("sft", "config/e2e.yaml")

    written = machine.workspace / "output/e2e"
    assert (written / "checkpoint-10/adapter_model.safetensors").stat().st_size > 1000
    said = [json.loads(line) for line in (written / "logging.jsonl").read_text().splitlines()]
    losses = [float(each["loss"]) for each in said if "loss" in each]
    assert len(losses) >= 10
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3


@pytest.mark.evidence("chat-completion")
@on(DOCKER, VENV, OLDER, OLD)
def test_its_api_answers_a_chat(machine: Machine) -> None:
    machine.run("sft", "--help")
    machine.prepare()
    model = ["--model", "models/tiny", "--model_type", "qwen2", "--template", "qwen2_5", "--torch_dtype", "float32"]

    with machine.server("deploy", *model, "--infer_backend", "transformers") as url:
        question = {"model": "tiny", "messages": [{"role": "user", "content": "say 1"}], "max_tokens": 8}
        answer = json.loads(fetch(f"{url}/v1/chat/completions", question))

    assert answer["usage"]["completion_tokens"] == 8
