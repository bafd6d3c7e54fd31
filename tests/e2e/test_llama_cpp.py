"""llama.cpp for real: a model gets fewer bits, and answers. It is built from source, which takes minutes."""

from __future__ import annotations

import re

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "llama-cpp-cpu"), id="venv-cpu")
IMAGE = pytest.param(("docker", "llama-cpp-cpu"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cpu")


@on(VENV, IMAGE)
@pytest.mark.evidence("export")
def test_a_model_gets_fewer_bits(machine: Machine) -> None:
    machine.run("inspect", "--help")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("quantize", "models/tiny.gguf", "models/tiny-q8.gguf", "Q8_0")

    models = machine.workspace / "models"
    assert (models / "tiny-q8.gguf").stat().st_size < (models / "tiny.gguf").stat().st_size / 3
    said = machine.run("inspect", "models/tiny-q8.gguf")
    assert re.search(r"Q8_0 +\| blk\.1\.ffn_up\.weight", said)


@on(VENV, IMAGE)
def test_its_api_answers_a_chat_to_whoever_has_the_key(machine: Machine) -> None:
    machine.smoke("chat-completion")
