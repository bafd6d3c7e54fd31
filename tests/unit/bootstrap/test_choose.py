"""Which steps a machine needs."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from envkit.bootstrap.choose import (
    Outline,
    Sources,
    Wishes,
    choose_route,
    daemon_settings,
    is_ready,
    official_sources,
    outline,
)
from envkit.bootstrap.knowledge import knowledge
from envkit.errors import BackendError
from envkit.host.facts import Disk, Engine, HostFacts, Toolkit
from tests.unit.bootstrap.machines import MISSING, SYSTEMS, USABLE, fresh, system, undriven

NOWHERE = Sources(docker=None, toolkit=None)
AUTODL: dict[str, Any] = {
    "provider": "autodl",
    "system": system("ubuntu-22.04", container="docker", root=True, systemd=False),
    "disks": (Disk("data", "/root/autodl-tmp"), Disk("home", "/root/autodl-tmp/envkit")),
}


def ids(facts: HostFacts, *, sources: Sources | None = None, **wishes: Any) -> list[str]:
    return [each.id for each in plan(facts, sources=sources, **wishes).steps]


def plan(facts: HostFacts, *, sources: Sources | None = None, **wishes: Any) -> Outline:
    return outline(facts, Wishes(**wishes), sources or official_sources())


@pytest.mark.parametrize("name", SYSTEMS)
def test_everything_comes_in_an_order_that_needs_no_second_start(name: str) -> None:
    assert ids(fresh(name), user="me") == [
        *(["packages"] if name.startswith(("ubuntu", "debian")) else []),
        "prerequisites",
        "docker-repository",
        "toolkit-repository",
        "toolkit",
        "daemon-json",
        "nvidia-runtime",
        "docker-engine",
        "docker-running",
        "cdi",
        "docker-group",
        "limits",
    ]


@pytest.mark.parametrize(
    ("changes", "without"),
    [
        ({"gpus": (), "hardware": (), "driver": None}, {"toolkit-repository", "toolkit", "nvidia-runtime", "cdi"}),
        ({"toolkit": Toolkit(path="/usr/bin/nvidia-ctk")}, {"toolkit-repository", "toolkit"}),
        ({"engine": USABLE}, {"docker-repository", "docker-engine", "docker-group"}),
        ({"engine": Engine(state="stopped")}, {"docker-repository", "docker-engine"}),
        ({"engine": Engine(state="denied", group_member=False)}, {"docker-repository", "docker-engine"}),
        ({"system": system(nofile=1048576)}, {"limits"}),
        ({"system": system(nofile=-1)}, {"limits"}),
    ],
)
def test_what_is_there_is_not_brought_again(changes: dict[str, Any], without: set[str]) -> None:
    assert {*ids(fresh(), user="me")} - {*ids(fresh(**changes), user="me")} == without


def test_a_step_is_left_out_where_it_has_no_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which families have a step stood in the code."""
    known = knowledge()
    steps = [structs.replace(each, run={"redhat": "true"}) if each.id == "limits" else each for each in known.steps]
    monkeypatch.setattr("envkit.bootstrap.choose.knowledge", lambda: structs.replace(known, steps=steps))

    assert "limits" not in ids(fresh("debian-13"))
    assert "limits" in ids(fresh("rocky-9"))


def test_root_needs_no_group() -> None:
    assert "docker-group" not in ids(fresh(), user="")


def test_infiniband_locks_memory() -> None:
    assert "memlock" in ids(fresh(system=system(infiniband=True)))
    assert "memlock" not in ids(fresh(system=system(infiniband=True, memlock_kib=-1)))


@pytest.mark.parametrize("kind", ["remote", "desktop", "rootless", "snap"])
def test_an_engine_that_is_not_root_s_here_is_left_alone(kind: str) -> None:
    engine = structs.replace(USABLE, **{kind: True})
    planned = plan(fresh(engine=engine), user="me")

    assert [each.id for each in planned.steps] == ["limits"]
    assert planned.notes[0].startswith("the engine is ")


# Containers and venvs -------------------------------------------------------------------------------------------------


def test_a_rented_container_gets_a_compiler_and_the_reason_against_docker() -> None:
    planned = plan(fresh(**AUTODL))

    assert (planned.route, planned.why) == ("venv", "this is a container of AutoDL, and Docker cannot run in it")
    assert [each.id for each in planned.steps] == ["compiler"]
    assert planned.notes == (
        "its page publishes the ports 6006 and 6008: `envkit run FRAMEWORK APP --port 6006`",
        "environments and caches are kept in /root/autodl-tmp/envkit, on the data disk",
    )


def test_a_home_off_the_data_disk_is_told() -> None:
    disks = (Disk("data", "/root/autodl-tmp"), Disk("home", "/root/.local/share/envkit"))

    assert plan(fresh(**{**AUTODL, "disks": disks})).notes[1] == (
        "`export ENVKIT_HOME=/root/autodl-tmp/envkit` keeps environments on the data disk; now it is /root/.local/share/envkit"
    )


def test_a_container_without_rights_runs_venvs() -> None:
    closed = system(container="kubernetes", root=True)

    assert choose_route(fresh(system=closed), Wishes()) == (
        "venv",
        "this is a container without the right to start others",
    )
    assert choose_route(fresh(system=closed, engine=USABLE), Wishes())[0] == "docker"  # its host's socket


def test_docker_that_cannot_be_is_refused_where_it_is_asked_for() -> None:
    with pytest.raises(BackendError) as caught:
        plan(fresh(**AUTODL), backend="docker")

    assert caught.value.message == (
        "Docker cannot be installed here: this is a container of AutoDL, and Docker cannot run in it"
    )


def test_venvs_that_are_asked_for_bring_no_docker() -> None:
    assert ids(fresh(), backend="venv") == ["limits", "compiler"]


# Machines that no steps are known for ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "title"),
    [("fedora", "43", "Fedora Linux 43"), ("ubuntu", "20.04", "Ubuntu 20.04.6 LTS"), ("rhel", "8.10", "RHEL 8.10")],
)
def test_other_distributions_are_refused_with_what_is_missing(name: str, version: str, title: str) -> None:
    with pytest.raises(BackendError) as caught:
        plan(fresh(system=system(os=name, os_version=version, os_name=title)))

    assert caught.value.message == f"{title} cannot be prepared: no steps are known for it"
    assert caught.value.details == (
        "missing: which of Docker's and NVIDIA's packages are made for it, and its package manager's names\n"
        "known are Ubuntu 22.04, Ubuntu 24.04, Ubuntu 26.04, Debian 12, Debian 13, RHEL 9, Rocky Linux 9"
    )


def test_other_processors_are_refused() -> None:
    with pytest.raises(BackendError, match="aarch64 is not supported yet: the locks hold wheels for x86_64 alone"):
        plan(fresh(system=system(architecture="aarch64")))


# The driver -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "device", "package"),
    [
        ("ubuntu-24.04", "2684", "nvidia-driver-580-server-open"),  # RTX 4090
        ("ubuntu-24.04", "1db4", "nvidia-driver-580-server"),  # V100
        ("ubuntu-24.04", "1eb8", "nvidia-driver-580-server-open"),  # T4, the first generation with open modules
        ("debian-12", "2b85", "nvidia-open"),  # RTX 5090
        ("debian-13", "1b38", "cuda-drivers"),  # P40
        ("rocky-9", "2330", "nvidia-open"),  # H100
    ],
)
def test_the_driver_is_advised_for_the_gpu_and_installed_on_demand(name: str, device: str, package: str) -> None:
    advised, wanted = plan(undriven(name, device)), plan(undriven(name, device), driver=True)

    assert advised.notes == (
        f"there is a GPU and no driver: `--driver` installs {package} (branch 580); without it everything runs on the CPU",
    )
    assert "driver" not in [each.id for each in advised.steps]
    assert [each.id for each in wanted.steps if each.id != "packages"][:2] == ["prerequisites", "driver"]
    assert {"toolkit", "cdi"} <= {each.id for each in wanted.steps}
    assert wanted.values["driver_package"] == package


def test_one_old_gpu_among_new_ones_decides() -> None:
    assert plan(undriven("ubuntu-24.04", "2684", "1db4"), driver=True).values["driver_package"] == (
        "nvidia-driver-580-server"
    )


def test_a_gpu_that_the_branch_does_not_know_gets_no_driver() -> None:
    planned = plan(undriven("ubuntu-24.04", "102d"), driver=True)  # K80

    assert "driver" not in [each.id for each in planned.steps]
    assert planned.notes[0].startswith("there is a GPU that driver 580 does not know any more")


def test_a_driver_that_is_there_is_not_touched() -> None:
    assert "driver" not in ids(fresh(), driver=True)


def test_windows_lends_its_own_driver() -> None:
    assert "driver" not in ids(fresh(gpus=(), driver=None, hardware=("wsl",), pci_devices=()), driver=True)


# Where packages come from ---------------------------------------------------------------------------------------------


def test_without_docker_s_repository_the_distribution_s_engine_is_taken() -> None:
    planned = plan(fresh("debian-12"), sources=NOWHERE)

    assert [each.id for each in planned.steps] == [
        "packages",
        "prerequisites",
        "daemon-json",
        "distribution-engine",
        "docker-running",
        "limits",
    ]
    assert planned.values["engine_packages"] == ["docker.io"]
    assert planned.notes == (
        "Docker's own repository does not answer, nor does a mirror of it: the distribution's engine is taken",
        "NVIDIA's repository does not answer, nor does a mirror of it: containers get no GPU yet, venvs do",
    )


def test_a_distribution_without_an_engine_runs_venvs_then() -> None:
    planned = plan(fresh("rocky-9"), sources=NOWHERE)

    assert [each.id for each in planned.steps] == ["limits"]
    assert planned.notes[0].endswith("Rocky Linux 9 has no engine of its own: environments run as venvs")


def test_addresses_of_mirrors_stand_in_the_files() -> None:
    planned = plan(
        fresh("debian-13"), sources=Sources("https://near.example/docker-ce", "https://near.example/toolkit")
    )

    assert "URIs: https://near.example/docker-ce/linux/debian\nSuites: trixie\n" in planned.values["docker_source"]
    assert "URIs: https://near.example/toolkit/stable/deb/amd64\n" in planned.values["toolkit_source"]


# Docker's settings ----------------------------------------------------------------------------------------------------

LOGS = {"log-driver": "json-file", "log-opts": {"max-size": "50m", "max-file": "3"}}


@pytest.mark.parametrize(
    ("facts", "wishes", "registries", "wanted"),
    [
        (fresh(gpus=(), hardware=()), Wishes(), (), LOGS),
        (fresh(), Wishes(), (), {**LOGS, "features": {"cdi": True}}),
        (
            fresh(engine=structs.replace(USABLE, version="20.10.24+dfsg1")),
            Wishes(),
            (),
            {**LOGS, "exec-opts": ["native.cgroupdriver=cgroupfs"]},
        ),
        *(
            (fresh(engine=structs.replace(USABLE, version=version)), Wishes(), (), {**LOGS, "features": {"cdi": True}})
            for version in ("27.5.1-rd", "dev", None)
        ),
        (
            fresh(gpus=(), hardware=()),
            Wishes(data_root="/data/docker"),
            ("https://hub.example",),
            {**LOGS, "registry-mirrors": ["https://hub.example"], "data-root": "/data/docker"},
        ),
    ],
)
def test_what_docker_is_told(
    facts: HostFacts, wishes: Wishes, registries: tuple[str, ...], wanted: dict[str, object]
) -> None:
    assert daemon_settings(facts, wishes, Sources("x", "x", registries)) == wanted


def test_a_data_root_that_nobody_will_use_is_told() -> None:
    note = "`--data-root` does nothing: no engine is set up here"

    assert note in plan(fresh(**AUTODL), data_root="/data/docker").notes
    assert note in plan(fresh(engine=structs.replace(USABLE, rootless=True)), data_root="/data/docker").notes
    assert note not in plan(fresh(), data_root="/data/docker").notes


# Whether anything is missing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "backend", "ready"),
    [
        ({}, "auto", False),
        ({"engine": USABLE}, "auto", False),  # the GPU does not reach containers
        ({"engine": structs.replace(USABLE, runtimes=("nvidia", "runc"))}, "auto", True),
        ({"engine": structs.replace(USABLE, cdi_devices=("nvidia.com/gpu=all",))}, "docker", True),
        ({"engine": USABLE, "gpus": ()}, "auto", True),
        ({"podman": Engine(state="usable")}, "auto", True),
        ({"podman": Engine(state="usable")}, "docker", False),
        ({"engine": MISSING}, "podman", True),  # nothing that steps could bring
        ({}, "venv", False),  # no compiler
        ({"compilers": ("/usr/bin/gcc",)}, "venv", True),
        ({"compilers": None}, "venv", True),  # not known
        (AUTODL, "auto", False),
        ({**AUTODL, "compilers": ("/usr/bin/gcc",)}, "auto", True),
    ],
)
def test_whether_up_has_anything_to_prepare(changes: dict[str, Any], backend: str, ready: bool) -> None:
    assert is_ready(fresh(**changes), backend) is ready
