"""llama.cpp for real: a model gets fewer bits, and answers. It is built from source, which takes minutes."""

from __future__ import annotations

import json
import re
import urllib.error

import pytest

from tests.e2e.machine import Machine, fetch, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "llama-cpp-cpu"), id="venv-cpu")
IMAGE = pytest.param(("docker", "llama-cpp-cpu"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cpu")
QUESTION = {"messages": [{"role": "user", "content": "say 1"}], "max_tokens": 8}


@on(VENV, IMAGE)
@pytest.mark.evidence("export")
def test_a_model_gets_fewer_bits(machine: Machine) -> None:
    machine.run("inspect", "--help")  # makes the environment, and the workspace
    machine.make("make_gguf.py", "models/tiny.gguf")

    machine.run("quantize", "models/tiny.gguf", "models/tiny-q8.gguf", "Q8_0")

    models = machine.workspace / "models"
    assert (models / "tiny-q8.gguf").stat().st_size < (models / "tiny.gguf").stat().st_size / 3
    said = machine.run("inspect", "models/tiny-q8.gguf")
    assert re.search(r"Q8_0 +\| blk\.1\.ffn_up\.weight", said)


@on(VENV, IMAGE)
@pytest.mark.evidence("chat-completion")
def test_its_api_answers_a_chat(machine: Machine) -> None:
    machine.run("inspect", "--help")
    machine.make("make_gguf.py", "models/tiny.gguf")

    with machine.server("serve", "--model", "models/tiny.gguf") as url:
        answer = json.loads(fetch(f"{url}/v1/chat/completions", QUESTION))

    assert answer["usage"]["completion_tokens"] == 8


@on(VENV, IMAGE)
def test_a_key_guards_its_api(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.run("inspect", "--help")
    machine.make("make_gguf.py", "models/tiny.gguf")
    monkeypatch.setenv("LLAMA_API_KEY", "open sesame")

    with (
        machine.server("serve", "--model", "models/tiny.gguf") as url,
        pytest.raises(urllib.error.HTTPError, match="401"),
    ):
        fetch(f"{url}/v1/chat/completions", QUESTION)
