"""TRL for real: trainings on each torch, also under DeepSpeed. Gigabytes and minutes."""

from __future__ import annotations

import pytest

from tests.e2e.machine import Machine, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
DOCKER = pytest.param(("docker", "trl-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130")
VENV = pytest.param(("venv", "trl-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "trl-cu128"), marks=pytest.mark.matrix, id="venv-cu128")
OLD = pytest.param(("venv", "trl-cu124"), marks=pytest.mark.matrix, id="venv-cu124")


@on(DOCKER, VENV, OLDER, OLD)
def test_it_trains(machine: Machine) -> None:
    machine.smoke("sft-lora", "dpo", "deepspeed-zero2")
