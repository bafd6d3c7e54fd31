"""`envkit build`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.host.facts import Disk, Gpu, HostFacts
from envkit.lock.lockfile import lock_path
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit, Machine


def test_what_is_missing_is_built_and_what_is_there_is_not(envkit: Envkit, machine: Machine) -> None:
    first = envkit("build", "demo-cu130", "solo-cu130", "--json")
    second = envkit("build", "demo-cu130", "--json")
    forced = envkit("build", "demo-cu130", "--force", "--json")

    assert [each["built"] for each in (*first.data, *second.data, *forced.data)] == [True, True, False, True]
    assert first.data[0] == {"environment": "demo-cu130", "image": "envkit/demo:2.1.0-cu130", "built": True}
    assert second.err == "envkit/demo:2.1.0-cu130 is there and fresh\n"
    assert [each.environment.name for each in machine.docker.made] == ["demo-cu130", "solo-cu130", "demo-cu130"]


def test_base_image_and_mirror_reach_the_backend(envkit: Envkit, machine: Machine) -> None:
    envkit("build", "demo-cu130", "--base-image", "mine:1", "--mirror", "near")

    assert machine.docker.made[0].base_image == "mine:1"
    assert machine.docker.made[0].mirror is not None
    assert machine.docker.made[0].mirror.index == "https://index.example/simple"


def test_a_dry_run_builds_nothing(envkit: Envkit, machine: Machine) -> None:
    result = envkit("build", "demo-cu130", "--dry-run", "--json")

    assert result.err == "would build envkit/demo:2.1.0-cu130\n"
    assert result.data[0]["built"] is False
    assert machine.docker.made == []


def test_podman_builds_where_it_is_asked_for_or_docker_does_not_work(envkit: Envkit, machine: Machine) -> None:
    machine.podman = FakeBackend("podman")
    envkit("build", "demo-cu130", "--backend", "podman")
    assert [len(each.made) for each in (machine.docker, machine.podman)] == [0, 1]

    machine.docker = FakeBackend("docker", problem="no Docker engine answers")
    envkit("build", "demo-cu124")
    assert [each.environment.name for each in machine.podman.made] == ["demo-cu130", "demo-cu124"]


def test_what_does_not_run_or_fit_here_is_built_with_a_warning(envkit: Envkit, machine: Machine) -> None:
    v100 = Gpu(0, "Tesla V100-SXM2-16GB", "GPU-0", 16384, "7.0")
    machine.facts = HostFacts((v100,), driver="535.54.03", disks=(Disk("engine", "/var/lib/docker", free_mib=10),))

    result = envkit("build", "demo-cu130", "demo-cu124", "--dry-run")
    full = envkit("build", "solo-cu130", "--dry-run")

    assert result.err == (
        "warning: demo-cu130 does not run on this machine's GPU: driver 535.54.03 is older than 580.65.06, which CUDA 13.0"
        " needs\n"
        "warning: demo-cu130 does not run on this machine's GPU: Tesla V100-SXM2-16GB has compute capability 7.0; torch"
        " 2.11.0 carries 7.5, 8.0, 8.6, 9.0, 10.0, 12.0\n"
        "would build envkit/demo:2.1.0-cu130\n"
        "would build envkit/demo:2.0.0-cu124\n"
    )
    assert full.err.splitlines()[-2:] == [
        "warning: /var/lib/docker has 0.0 GB free, and building the image of solo-cu130 takes 5.2 GB",
        "would build envkit/solo:1.17.0-cu130",
    ]


def test_nothing_is_built_before_every_name_and_lock_was_looked_at(
    envkit: Envkit, machine: Machine, matrix: Matrix
) -> None:
    assert envkit("build", "demo-cu130", "demo-cu99").status == 2
    lock_path(matrix.environment("demo-cu124")).unlink()
    assert envkit("build", "demo-cu130", "demo-cu124").status == 6
    assert envkit("build", "demo-cu130", "--mirror", "nera").err == (
        "error: unknown mirror: nera\n\nhint: did you mean `near`?\n"
    )
    assert envkit("build").status == 2
    assert machine.docker.made == []
