"""vLLM for real, on the CPU: its API, its key, a file of requests. Gigabytes and minutes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
CPU = pytest.param(("venv", "vllm-cpu"), id="venv-cpu")
DOCKER = pytest.param(("docker", "vllm-cpu"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cpu")
TINY = ["--max-model-len", "256"]


def prepare(machine: Machine) -> Machine:
    """The machine with a model in its workspace, and with what a small server needs in its environment."""
    machine.run("collect-env")  # makes the environment, and the workspace
    machine.prepare()
    return replace(machine, cli=replace(machine.cli, env={**machine.cli.env, "VLLM_CPU_KVCACHE_SPACE": "1"}))


@on(CPU)
def test_what_it_sees_is_its_own_environment(machine: Machine) -> None:
    said = machine.run("collect-env")

    assert "vLLM Version" in said
    assert "torch==2.13.0" in said


@on(CPU, DOCKER)
def test_its_api_answers_a_chat_to_whoever_has_the_key(machine: Machine) -> None:
    machine.smoke("chat-completion")


@on(CPU)
def test_a_file_of_requests_is_answered(machine: Machine) -> None:
    machine = prepare(machine)
    files = ["-i", "data/requests.jsonl", "-o", "output/answers.jsonl"]

    machine.run("run-batch", "--model", "models/tiny", *files, *TINY)

    answers = [json.loads(line) for line in (machine.workspace / "output/answers.jsonl").read_text().splitlines()]
    assert {each["custom_id"]: each["response"]["status_code"] for each in answers} == {"first": 200, "second": 200}
    assert all(each["response"]["body"]["usage"]["completion_tokens"] >= 1 for each in answers)


@on(CPU)
def test_what_cannot_run_in_it_says_why(machine: Machine) -> None:
    done = machine.cli("run", "vllm", "bench", *machine.options("e2e-bench"), status=2)

    assert "error: vllm-cpu cannot run bench: there is no way to it but the command `vllm`" in done.stderr
