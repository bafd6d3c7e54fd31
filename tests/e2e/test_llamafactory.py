"""The main job, with the real LLaMA-Factory: its page, a training, and what is left of them. Gigabytes and minutes.

It uses the environments of whoever runs it (ENVKIT_HOME), and makes those that are missing.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from envkit.matrix.load import load_matrix
from tests.e2e.machine import Machine, fetch, name_of, on
from tests.integration.command import docker, until
from tests.integration.conftest import skip
from tests.integration.standin import build_nvml, play

pytestmark = [pytest.mark.slow, pytest.mark.index]
DEMO = [
    "demo_alpaca_en",
    "demo_alpaca_zh",
    "demo_sharegpt_en",
    "demo_sharegpt_zh",
    "demo_pretrain_en",
    "demo_pretrain_zh",
]
PREFERENCES = ["demo_preference_en", "demo_preference_zh"]
GPUS = ["GPU-bbbb", "GPU-aaaa"]
"""As in the stand-in CDI spec."""
WEBUI = name_of("webui")
DOCKER = pytest.param(("docker", "llamafactory-cu130"), marks=pytest.mark.docker, id="docker-cu130")
VENV = pytest.param(("venv", "llamafactory-cu130"), id="venv-cu130")
OLDER = pytest.param(("venv", "llamafactory-cu128"), id="venv-cu128")
OLD = pytest.param(("venv", "llamafactory-cu124"), id="venv-cu124")
OLDEST = pytest.param(("venv", "llamafactory-0.9.3-cu124"), marks=pytest.mark.matrix, id="venv-0.9.3-cu124")


# The page -------------------------------------------------------------------------------------------------------------


@on(OLDER, OLD, OLDEST)
def test_it_trains_and_shows_its_page(machine: Machine) -> None:
    machine.smoke("sft-lora", "webui")


@on(DOCKER)
def test_it_is_proved_in_a_container(machine: Machine) -> None:
    machine.smoke("sft-lora", "export", "chat-completion", "webui")


@on(VENV)
def test_it_is_proved_in_a_venv(machine: Machine) -> None:
    machine.smoke("sft-lora", "dpo", "pretrain", "deepspeed-zero2", "export", "chat-completion", "webui")


@on(pytest.param(("docker", "llamafactory-cu130"), marks=[pytest.mark.docker, pytest.mark.matrix], id="docker-cu130"))
def test_every_check_passes_but_for_what_needs_gpus(machine: Machine) -> None:
    done = machine.cli(
        "smoke", machine.environment, "--backend", "docker", "--device", "cpu", "--json", timeout=1500
    )  # fmt: skip

    skipped = [each["name"] for each in done.json["checks"] if each["result"] != "pass"]
    assert skipped == ["flash-attn", "multi-gpu"]


@on(VENV)
def test_a_changed_byte_is_found(machine: Machine) -> None:
    """With the programs of a smoke test, by hand."""
    kept = machine.workspace
    machine.cli(
        "smoke", machine.environment, "--backend", "venv", "--device", "cpu", "--only", "sft-lora,export", "--workspace",
        kept, timeout=1500,
    )  # fmt: skip
    base = ("smoke/compare.py", "models/tiny", "--adapter", "saves/sft-lora")

    def faults(*options: str) -> list[str]:
        found: list[str] = json.loads(machine.make(*base, *options).splitlines()[-1])["faults"]
        return found

    assert faults("--copy", "saves/sft-lora/checkpoint-20", "--merged", "models/merged") == []
    change_last_byte(kept / "saves/sft-lora/checkpoint-20/adapter_model.safetensors", bit=1)
    change_last_byte(kept / "models/merged/model.safetensors", bit=0x40)  # of a float's exponent

    copied, merged = faults("--copy", "saves/sft-lora/checkpoint-20", "--merged", "models/merged")

    assert copied.startswith(
        "saves/sft-lora and saves/sft-lora/checkpoint-20 are not the same: 1 tensors differ, such as "
    )
    assert merged.startswith("models/merged does not say what models/tiny with saves/sft-lora says: logits differ by ")


def change_last_byte(file: Path, bit: int) -> None:
    """Of the last tensor's last number: its sign and its exponent."""
    content = bytearray(file.read_bytes())
    content[-1] ^= bit
    file.write_bytes(content)


@on(DOCKER, VENV)
def test_the_page_offers_our_data_sets_is_listed_and_stops(machine: Machine) -> None:
    cli = machine.cli
    started = cli("run", "llamafactory", "webui", *machine.options(WEBUI), "--port", "0", "-d", "--json", timeout=1500)
    url = started.json["url"]
    try:
        assert data_sets(url, "Supervised Fine-Tuning") == DEMO
        assert data_sets(url, "Reward Modeling") == PREFERENCES

        listed = cli.instance(WEBUI)
        assert listed
        assert listed.items() >= {
            "framework": "llamafactory", "app": "webui", "environment": machine.environment,
            "backend": machine.backend, "status": "running", "url": url,
        }.items()  # fmt: skip
        assert "Running on local URL" in cli("logs", WEBUI).stdout
    finally:
        cli("stop", WEBUI)
    with pytest.raises(OSError, match="refused"):
        fetch(url)
    assert cli.instance(WEBUI) is None


@on(DOCKER)
def test_the_image_is_as_large_as_plans_expect(machine: Machine) -> None:
    machine.run("version")  # makes it
    environment = load_matrix().environment(machine.environment)

    size = int(docker("image", "inspect", "--format", "{{.Size}}", environment.image)) / 2**20

    assert environment.entry.size
    assert 0.95 < size / environment.entry.size.image_mib < 1.05


@on(DOCKER)
def test_the_page_gets_the_gpu_that_was_chosen(
    machine: Machine, stand_in_gpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From the driver's library to the inside of the container; the GPU is a stand-in, all between is not."""
    described = machine.cli.cwd / "machine"
    gpus = [f"gpu NVIDIA GeForce RTX 3090\nuuid {uuid}\nmemory 25769803776\ncapability 8.6\n" for uuid in GPUS]
    described.write_text("driver 580.82.07\ncuda 13000\n" + "".join(gpus))
    library = build_nvml(tmp_path_factory.mktemp("nvml"))
    cli = replace(machine.cli, env={**machine.cli.env, **play(library, described)})
    options = ["--backend", "docker", "--workspace", machine.workspace, "--name", WEBUI, "--port", "0", "-d"]

    cli("run", "llamafactory", "webui", *options, "--gpus", "1", timeout=1500)

    try:
        seen = docker("exec", f"envkit-{WEBUI}", "cat", "/proc/1/environ").split("\0")
        assert [each for each in seen if each.startswith("STAND_IN_GPU=")] == [f"STAND_IN_GPU={GPUS[1]}"]
    finally:
        cli("stop", WEBUI)


@on(DOCKER, VENV)
def test_ctrl_c_ends_the_page_and_leaves_nothing(machine: Machine) -> None:
    with machine.cli.running(
        "run", "llamafactory", "webui", *machine.options(WEBUI), "--port", "0", terminal=True
    ) as running:
        running.wait_for("http://127.0.0.1:", timeout=1500)
        running.type("\x03")
        assert running.end() == 130
    assert machine.cli.instance(WEBUI) is None


def data_sets(url: str, stage: str) -> list[str]:
    """What the page offers for a stage once its list is opened."""
    answer = json.loads(fetch(f"{url}/gradio_api/run/list_datasets", {"data": ["data", stage]}))
    return [name for name, _ in answer["data"][0]["choices"]]


# Jobs -----------------------------------------------------------------------------------------------------------------


@on(DOCKER, VENV, OLDER, OLD, OLDEST)
def test_its_version_is_the_locked_one(machine: Machine) -> None:
    environment = load_matrix().environment(machine.environment)

    assert f"Welcome to LLaMA Factory, version {environment.version}" in machine.run("version")


@on(DOCKER)
def test_a_training_in_somebody_s_workspace_belongs_to_them(machine: Machine) -> None:
    if os.getuid():
        skip("needs root: nobody else can give a folder away")
    machine.workspace.mkdir()
    os.chown(machine.workspace, 12345, 12345)
    machine.run("version")
    machine.prepare()

    machine.run("train", "smoke/sft-lora.yaml")

    written = list((machine.workspace / "saves/sft-lora").rglob("*"))
    assert machine.workspace / "saves/sft-lora/adapter_model.safetensors" in written
    assert {each.stat().st_uid for each in written} == {12345}


@on(DOCKER, VENV)
def test_a_bad_configuration_is_the_app_s_own_error(machine: Machine) -> None:
    (machine.workspace / "config").mkdir(parents=True)
    (machine.workspace / "config/bad.yaml").write_text(
        "model_name_or_path: models/nowhere\nstage: sft\nno_such_key: 1\n"
    )

    said = machine.run("train", "config/bad.yaml", status=1)

    assert "no_such_key" in said


@on(DOCKER, VENV)
def test_ctrl_c_ends_a_training(machine: Machine) -> None:
    machine.run("version")
    machine.prepare()
    config = machine.workspace / "smoke/sft-lora.yaml"
    config.write_text(config.read_text().replace("max_steps: 20", "max_steps: 100000"))
    log = machine.workspace / "saves/sft-lora/trainer_log.jsonl"

    with machine.cli.running(
        "run", "llamafactory", "train", *machine.options(name_of("train")), "--", "smoke/sft-lora.yaml"
    ) as training:
        until(lambda: log.exists() or training.process.poll() is not None, timeout=300)
        training.send(signal.SIGINT)
        assert training.process.wait(60) == 130
    assert machine.cli.instance(name_of("train")) is None
