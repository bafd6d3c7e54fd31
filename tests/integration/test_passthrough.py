"""GPUs handed to containers by a real engine: stand-ins, because what is asked for is the same where they are real."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envkit.apps.launch import Request, plan_launch
from envkit.apps.workspace import open_workspace
from envkit.backends.base import Recipe, Silent
from envkit.backends.docker import DockerBackend
from envkit.errors import BackendError
from envkit.host.facts import Gpu, HostFacts, MigDevice, Toolkit
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tests.integration.command import containers, docker

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Launch
    from tests.integration.command import Cli

pytestmark = [pytest.mark.docker, pytest.mark.index]

BY_INDEX = Gpu(index=0, uuid="GPU-without-a-name")
BY_UUID = Gpu(index=7, uuid="GPU-aaaa")
SLICED = Gpu(index=1, uuid="GPU-bbbb", mig=True, mig_devices=(MigDevice(index=3, uuid="MIG-cccc"),))
NOWHERE = Gpu(index=5, uuid="GPU-ffff")
NO_TOOLKIT = HostFacts(toolkit=Toolkit())
HOOK = HostFacts(toolkit=Toolkit(hook="/usr/bin/nvidia-container-runtime-hook"))


@pytest.fixture
def launch(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """The tiny framework's `sleep`, ready to start in a container."""
    monkeypatch.setenv("ENVKIT_HOME", str(cli.home))
    environment = load_matrix(cli.matrix).environment("tiny-cpu")
    recipe, backend = Recipe(environment, read_lock(environment)), DockerBackend()
    if not backend.has(recipe):
        backend.make(recipe, Silent())
    request = Request(app="sleep", args=(), workspace=cli.cwd / "workspace")
    launch = plan_launch(request, environment.framework.apps["sleep"], recipe, backend, {"docker": backend})
    open_workspace(launch, environment)
    return launch


@pytest.mark.parametrize(
    ("gpus", "handed"),
    [((BY_INDEX,), "0"), ((BY_UUID,), "GPU-aaaa"), ((SLICED,), "MIG-cccc"), ((), None)],
)
def test_a_container_sees_the_gpu_that_was_chosen(
    launch: Launch, stand_in_gpus: Path, gpus: tuple[Gpu, ...], handed: str | None
) -> None:
    backend = DockerBackend()
    assert backend.gpu_problem() is None

    backend.start(replace(launch, gpus=gpus))

    try:
        seen = docker("exec", f"envkit-{launch.name}", "cat", "/proc/1/environ").split("\0")
        assert [each for each in seen if each.startswith("STAND_IN_GPU=")] == (
            [f"STAND_IN_GPU={handed}"] if gpus else []
        )
        docker("exec", f"envkit-{launch.name}", "test", "-c", "/dev/nvidia-stand-in", status=0 if gpus else 1)
    finally:
        backend.remove(launch.name, grace_seconds=0)


def test_a_gpu_that_the_engine_has_no_name_for_starts_nothing(
    launch: Launch, stand_in_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envkit.backends.docker.probe_host", lambda _: NO_TOOLKIT)

    with pytest.raises(BackendError, match=r"^there is a GPU, but this Docker engine cannot hand it to a container$"):
        DockerBackend().start(replace(launch, gpus=(NOWHERE,)))

    assert not containers("docker", "tiny")


def test_a_spec_whose_device_file_is_gone_leaves_no_container(launch: Launch, stand_in_gpus: Path) -> None:
    stand_in_gpus.write_text(stand_in_gpus.read_text().replace('"/dev/null"', '"/dev/gone"'))

    with pytest.raises(BackendError, match=r"the container did not start: .*CDI") as caught:
        DockerBackend().start(replace(launch, gpus=(BY_INDEX,)))

    assert caught.value.hint == (
        "`envkit doctor` finds what is wrong with the GPUs of this engine; or use `--backend venv` or `--device cpu`"
    )
    assert not containers("docker", "tiny")


def test_an_engine_without_the_toolkit_refuses_and_leaves_no_container(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a toolkit that was installed without a restart of the engine."""
    monkeypatch.setattr("envkit.backends.docker.probe_host", lambda _: HOOK)

    with pytest.raises(BackendError) as caught:
        DockerBackend().start(replace(launch, gpus=(NOWHERE,)))

    assert 'could not select device driver "" with capabilities: [[gpu compute utility]]' in caught.value.message
    assert "`envkit doctor`" in caught.value.hint
    assert not containers("docker", "tiny")
