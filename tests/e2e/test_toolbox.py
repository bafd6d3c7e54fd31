"""The training toolbox for real: scripts under its launchers on each torch, and its notebook page. Gigabytes and minutes."""

from __future__ import annotations

import json
import re
import urllib.error

import msgspec
import pytest

from envkit.estimate.architecture import families, read_architecture
from tests.e2e.machine import Machine, fetch, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
NEWEST = pytest.param(("venv", "toolbox-cu132"), id="venv-cu132")
VENV = pytest.param(("venv", "toolbox-cu130"), marks=pytest.mark.matrix, id="venv-cu130")
OLDER = pytest.param(("venv", "toolbox-cu128"), marks=pytest.mark.matrix, id="venv-cu128")
OLD = pytest.param(("venv", "toolbox-cu124"), id="venv-cu124")


@pytest.mark.evidence("sft-lora")
@on(NEWEST, VENV, OLDER, OLD)
def test_a_script_under_accelerate_learns_and_writes_an_adapter(machine: Machine) -> None:
    machine.run("env")  # makes the environment, and the workspace
    machine.prepare()

    said = machine.run("accelerate", "--cpu", "--num_processes", "1", "config/train.py")

    assert fell(said)
    assert (machine.workspace / "output/adapter/adapter_model.safetensors").stat().st_size > 1000


@pytest.mark.evidence("sft-full")
@on(NEWEST, VENV, OLDER, OLD)
def test_a_script_under_deepspeed_zero_2_learns(machine: Machine) -> None:
    machine.run("env")
    machine.prepare()

    said = machine.run("deepspeed", "--num_gpus", "1", "config/zero2.py")

    assert fell(said)
    assert "optimizer DeepSpeedZeroOptimizer, stage 2" in said


@on(NEWEST)
def test_its_notebooks_want_the_token(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "only-for-this-test")

    with machine.server("jupyter") as url:
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(f"{url}/api/contents")
        refused.value.close()
        contents = json.loads(fetch(f"{url}/api/contents?token=only-for-this-test"))

    assert refused.value.code == 403
    assert "output" in [each["name"] for each in contents["content"]]


def fell(said: str) -> bool:
    """Whether a script learnt: ten steps, and the last is far better than the first."""
    losses = [float(each) for each in re.findall(r"^.*\bloss ([0-9.]+)$", said, flags=re.MULTILINE)]
    return len(losses) == 10 and losses[-1] < losses[0] - 0.3


@on(NEWEST)
def test_estimates_count_parameters_as_transformers_does(machine: Machine) -> None:
    """Of small models of every family that the estimate knows, with what they may have or not."""
    machine.run("env")

    said = machine.make("smoke/count_parameters.py", json.dumps(msgspec.to_builtins(families())), "7")

    counted = [json.loads(line) for line in said.splitlines()]
    wrong = [each for each in counted if read_architecture(each["config"]).parameters != each["parameters"]]
    assert wrong == []
    assert len(counted) == 8 * len(families())
