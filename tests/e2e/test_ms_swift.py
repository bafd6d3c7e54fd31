"""ms-swift for real: its page, a training, an API. Gigabytes and minutes."""

from __future__ import annotations

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
DOCKER = pytest.param(("docker", "ms-swift-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")
VENV = pytest.param(("venv", "ms-swift-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "ms-swift-cu128"), marks=pytest.mark.matrix, id="venv-cu128")
OLD = pytest.param(("venv", "ms-swift-cu124"), marks=pytest.mark.matrix, id="venv-cu124")


@on(DOCKER, VENV, OLDER, OLD)
def test_it_trains_answers_and_shows_its_page(machine: Machine) -> None:
    machine.smoke("sft-lora", "export", "chat-completion", "webui")
