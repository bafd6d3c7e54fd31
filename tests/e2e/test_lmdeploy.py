"""LMDeploy for real, as far as it goes without a GPU: a model gets 4 bits, and a proxy waits for servers."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine, fetch, on

pytestmark = [pytest.mark.slow, pytest.mark.index]
VENV = pytest.param(("venv", "lmdeploy-cu128"), id="venv-cu128", marks=pytest.mark.matrix)


@on(VENV)
@pytest.mark.evidence("export")
def test_a_model_gets_4_bits(machine: Machine) -> None:
    machine.run("env")  # makes the environment, and the workspace
    machine.prepare()

    machine.run("auto-awq", "models/tiny", "--device", "cpu", "--calib-samples", "0", "--w-group-size", "32")

    config = json.loads((machine.workspace / "work_dir/config.json").read_text())
    assert (config["quantization_config"]["quant_method"], config["quantization_config"]["bits"]) == ("awq", 4)
    weights = (machine.workspace / "work_dir/model.safetensors").read_bytes()
    parts = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    packed = parts["model.layers.1.mlp.down_proj.qweight"]
    assert (packed["dtype"], packed["shape"]) == ("I32", [128, 8])  # eight of its 64 columns in a number


@on(VENV)
def test_a_proxy_without_servers_knows_none(machine: Machine) -> None:
    with machine.server("proxy") as url:
        models = json.loads(fetch(f"{url}/v1/models"))

    assert models["data"] == []


@on(VENV)
def test_a_server_is_not_started_without_a_gpu(machine: Machine) -> None:
    done = machine.cli("run", "lmdeploy", "serve", *machine.options("e2e-serve"), "--", "models/tiny", status=4)

    assert done.stderr.startswith("error: lmdeploy needs a GPU, and there is none\n")
