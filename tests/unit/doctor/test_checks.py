"""Every check: a machine that it finds something on, and neighbours that it keeps quiet about."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from envkit.doctor.checks import REGISTRY, Machine
from envkit.doctor.finding import Finding
from envkit.doctor.report import examine
from envkit.host.facts import Gpu, HostFacts, KernelDriver, Settings, System
from tests.unit.doctor.triggers import (
    ALONE,
    BY_CDI,
    CONTAINER,
    DENIED,
    DISKS,
    ENGINE,
    GOOD,
    H100,
    HOST,
    INSIDE,
    MISSING,
    NO_GPU,
    OLD_SPEC,
    PARTS,
    PODMAN,
    RTX_3090,
    RTX_5090,
    SPEC,
    STOPPED,
    TOOLKIT,
    TRIGGERS,
    VENV,
    Trigger,
    answers,
    disks,
    kernel,
    silent,
    with_,
)

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix


def find(matrix: Matrix, facts: HostFacts, frameworks: tuple[str, ...] = ("demo",)) -> dict[str, Finding]:
    """The findings by id; each of them is told once."""
    findings = examine(Machine(facts, matrix, frameworks)).findings
    assert [name for name, count in Counter(each.id for each in findings).items() if count > 1] == []
    return {each.id: each for each in findings}


# Every check ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_a_check_finds_what_it_is_for_and_leaves_its_neighbours_alone(matrix: Matrix, trigger: Trigger) -> None:
    assert trigger.id in find(matrix, trigger.facts, trigger.frameworks)
    for number, neighbour in enumerate(trigger.neighbours):
        assert trigger.id not in find(matrix, neighbour, trigger.frameworks), f"neighbour {number}"


def test_every_check_has_a_machine_that_sets_it_off() -> None:
    assert sorted(each.id for each in TRIGGERS) == sorted(REGISTRY)
    assert [each.id for each in TRIGGERS if not each.neighbours] == []


@pytest.mark.parametrize(
    "facts",
    [HostFacts(), GOOD, NO_GPU, with_(engine=MISSING, podman=PODMAN)],
    ids=["unknown", "good", "no GPU", "podman"],
)
def test_a_machine_with_nothing_wrong_has_no_findings(matrix: Matrix, facts: HostFacts) -> None:
    assert find(matrix, facts, ("demo",)) == {}


@pytest.mark.parametrize("name", REGISTRY)
def test_a_check_bears_what_is_not_known(matrix: Matrix, name: str) -> None:
    trigger = next(each for each in TRIGGERS if each.id == name)
    for facts in (
        HostFacts(),
        *(with_(trigger.facts, **{part: None}) for part in PARTS),
        with_(trigger.facts, **PARTS),
    ):
        for values in REGISTRY[name].look(Machine(facts, matrix, ("demo", "solo"))):
            assert all(isinstance(value, str) for value in values.values())
    assert list(REGISTRY[name].look(Machine(HostFacts(), matrix, ("demo", "solo")))) == []


# One cause is told once -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "ids"),
    [
        (TRIGGERS[0].facts, ["driver-hangs"]),
        (silent("LIBRARY_NOT_FOUND", engine=ALONE, toolkit=None), ["driver-missing"]),
        (silent("DRIVER_NOT_LOADED", kernel_driver=KernelDriver(), engine=ALONE), ["driver-not-loaded"]),
        (silent("DRIVER_NOT_LOADED", system=INSIDE), ["gpus-not-in-container"]),
        (silent("LIB_RM_VERSION_MISMATCH", toolkit=replace(TOOLKIT, cdi_specs=(SPEC,))), ["driver-mismatch"]),
        (with_(CONTAINER, provider="autodl"), ["container-only"]),
        (with_(CONTAINER, engine=STOPPED, provider="autodl"), ["container-only"]),
        (with_(engine=replace(ENGINE, rootless=True, cgroup_driver="systemd")), ["rootless-needs-no-cgroups"]),
        (with_(engine=replace(ALONE, version="19.03.15", buildx="", client="")), ["engine-too-old", "toolkit-by-hook"]),
        (with_(engine=replace(ENGINE, client="", buildx="")), ["docker-cli-missing"]),
        (with_(disks=disks("engine", free_mib=10)), ["disk-full"]),
        (with_(system=replace(HOST, architecture="aarch64")), ["architecture-unsupported"]),
        (with_(gpus=(RTX_5090,), driver="570.86.15", cuda_driver="12.8"), ["driver-too-old"]),
        (with_(engine=BY_CDI, gpus=(replace(H100, mig=True),), toolkit=None), ["mig-without-slices"]),
    ],
)  # fmt: skip
def test_what_follows_from_a_cause_is_not_told(matrix: Matrix, facts: HostFacts, ids: list[str]) -> None:
    assert list(find(matrix, facts, ("demo", "solo"))) == ids


def test_frameworks_that_lack_the_same_are_told_of_together(matrix: Matrix) -> None:
    matrix.frameworks["demo"] = replace(matrix.frameworks["demo"], floors=matrix.frameworks["solo"].floors)
    found = find(matrix, with_(system=replace(HOST, memory_mib=2000)), ("demo", "solo"))

    assert found["memory-small"].title == "there is less memory than demo and solo should have"
    assert found["memory-small"].evidence == "2000 MiB of memory; 4000 MiB are wanted: it swaps"


def test_gpus_of_two_kinds_of_which_one_fits_no_framework(matrix: Matrix) -> None:
    old = Gpu(1, "Tesla V100-SXM2-16GB", "GPU-1", 16384, "7.0")
    found = find(matrix, with_(gpus=(RTX_5090, old)))

    assert list(found) == ["gpu-unsupported"]
    assert found["gpu-unsupported"].evidence == (
        "GPU 1 (Tesla V100-SXM2-16GB) has compute capability 7.0; torch 2.11.0 carries 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"
    )


# What is told, whole --------------------------------------------------------------------------------------------------

VENV_INSTEAD = "or `envkit run FRAMEWORK APP --backend venv`"


def told(matrix: Matrix, name: str, facts: HostFacts | None = None) -> Finding:
    """The finding on these facts, else on those of its trigger."""
    trigger = next(each for each in TRIGGERS if each.id == name)
    return find(matrix, facts or trigger.facts, trigger.frameworks)[name]


def test_a_missing_driver_whole(matrix: Matrix) -> None:
    assert told(matrix, "driver-missing") == Finding(
        id="driver-missing",
        severity="error",
        title="there is an NVIDIA GPU and no driver",
        evidence="on the PCI bus: 0000:01:00.0, driven by nouveau; libnvidia-ml.so.1 is not there",
        otherwise="Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU",
        fix=(
            "Ubuntu: `sudo ubuntu-drivers install`, then restart",
            "Debian: `sudo apt-get install nvidia-driver` (component non-free), then restart",
            "others: https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/",
            "or do without: `envkit run FRAMEWORK APP --device cpu`",
        ),
        repair=(),
        source="https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/",
    )


def test_a_stopped_engine_whole(matrix: Matrix) -> None:
    assert told(matrix, "engine-stopped") == Finding(
        id="engine-stopped",
        severity="error",
        title="Docker is installed and does not answer",
        evidence="nobody answers at unix:///var/run/docker.sock",
        otherwise="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        fix=(
            (
                "`sudo systemctl start docker` (the snap: `sudo snap start docker`);"
                " `sudo journalctl -u docker -n 50` if it does not start"
            ),
            VENV_INSTEAD,
        ),
        repair=(("systemctl", "start", "docker"),),
        source="https://docs.docker.com/engine/daemon/troubleshoot/",
    )


def test_a_stale_spec_whole(matrix: Matrix) -> None:
    assert told(matrix, "cdi-stale") == Finding(
        id="cdi-stale",
        severity="error",
        title="the CDI spec was made for another driver than the one that is loaded",
        evidence="/etc/cdi/nvidia.yaml names the libraries of 570.86.15; loaded is 580.82.07",
        otherwise='error mounting "/usr/lib/x86_64-linux-gnu/libcuda.so.570.86.15" to rootfs at',
        fix=(
            "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`",
            "toolkit 1.18 and later do that at every start: `sudo systemctl enable --now nvidia-cdi-refresh.path`",
        ),
        repair=(("nvidia-ctk", "cdi", "generate", "--output=/etc/cdi/nvidia.yaml"),),
        source="https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/cdi-support.html",
    )


def test_the_reload_trap_whole(matrix: Matrix) -> None:
    assert told(matrix, "gpus-lost-on-reload") == Finding(
        id="gpus-lost-on-reload",
        severity="warning",
        title="`systemctl daemon-reload` can take the GPUs away from running containers",
        evidence=(
            "GPUs are handed over by the nvidia runtime, cgroups are systemd's, and engine 28.1.1 lists no CDI devices of"
            " theirs"
        ),
        otherwise="Failed to initialize NVML: Unknown Error",
        fix=(
            (
                "hand them over by CDI: `sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`; before Docker 28.2 also"
                ' `"features": {"cdi": true}` in /etc/docker/daemon.json and `sudo systemctl restart docker`'
            ),
            'or `"exec-opts": ["native.cgroupdriver=cgroupfs"]` there',
        ),
        repair=(),
        source="https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/troubleshooting.html",
    )


def test_a_rented_container_whole(matrix: Matrix) -> None:
    assert told(matrix, "container-only") == Finding(
        id="container-only",
        severity="note",
        title="this is a container of AutoDL: Docker cannot run in it, and environments run as venvs",
        evidence="ports that can be reached: 6006 and 6008; data disk: /root/autodl-tmp",
        otherwise="Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
        fix=(
            "`envkit run FRAMEWORK APP --backend venv --port 6006`",
            (
                "its page publishes ports 6006 and 6008 of the container and no other; `source /etc/network_turbo` speeds GitHub"
                " and Hugging Face up"
            ),
        ),
        repair=(),
        source="src/envkit/host/providers.yaml",
    )


@pytest.mark.parametrize(
    ("name", "facts", "severity", "evidence"),
    [
        ("driver-hangs", None, "error", "NVML: no answer within 5 s; nvidia-smi and CUDA programs wait for it as well"),
        ("driver-not-in-container", None, "error", "the kernel has driver 580.82.07, and this container (docker) has no libnvidia-ml.so.1"),
        ("gpus-not-in-container", None, "error", "device files in this container (docker): /dev/nvidiactl"),
        ("gpus-not-in-container", silent("DRIVER_NOT_LOADED", system=INSIDE, kernel_driver=kernel(nodes=())), "error", "device files in this container (docker): none"),
        ("driver-not-loaded", None, "error", "NVML: Driver Not Loaded; kernel 6.8.0-45-generic, modules: none of NVIDIA's"),
        ("driver-mismatch", None, "error", "kernel module 580.82.07, libraries of another one"),
        ("driver-mismatch", silent("LIB_RM_VERSION_MISMATCH", driver="580.95.05"), "error", "kernel module 580.82.07, libraries 580.95.05"),
        ("nvml-no-permission", None, "error", "NVML: Insufficient Permissions"),
        ("nvml-unknown-error", None, "error", "NVML: Unknown Error, in docker"),
        ("gpu-lost", None, "error", "NVML: GPU_IS_LOST"),
        ("gpus-not-seen", None, "error", "on the PCI bus: 0000:01:00.0; driver 570.86.15 (proprietary kernel module) sees none"),
        ("gpus-not-seen", silent("GPU_NOT_FOUND"), "error", "on the PCI bus: 0000:01:00.0; driver 580.82.07 (open kernel module) sees none"),
        ("driver-failing", None, "error", "NVML: UNKNOWN; its driver does not answer: Unknown Error"),
        ("uvm-missing", None, "note", "device files: /dev/nvidia0, /dev/nvidiactl"),
        ("uvm-missing-in-container", None, "error", "device files: /dev/nvidia0, /dev/nvidiactl"),
        ("fabric-manager-stopped", None, "error", "4 NVSwitches, fabric manager installed, state of the GPUs' fabric: in progress"),
        ("fabric-manager-stopped", with_(gpus=(replace(H100, fabric=None),), nvswitches=6, fabric_manager="missing"), "error", "6 NVSwitches, fabric manager missing, state of the GPUs' fabric: not known"),
        ("mig-without-slices", None, "error", "NVIDIA A100-SXM4-40GB, MIG enabled, no MIG device"),
        ("driver-too-old", None, "error", "driver 470.256.02; the most patient environment needs 525.60.13, the newest 580.65.06"),
        ("driver-too-old", with_(gpus=(RTX_5090,), driver="570.86.15"), "error", "driver 570.86.15; the most patient environment needs 580.65.06"),
        ("driver-holds-back", None, "note", "driver 550.54.14; 580.65.06 or later is needed; planned: demo-cu124"),
        ("gpu-unsupported", None, "error", "Tesla K80 has compute capability 3.7; torch 2.11.0 carries 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"),
        ("framework-unsupported", None, "warning", "driver 550.54.14 is older than 580.65.06, which CUDA 13.0 needs"),
        ("engine-in-container", None, "note", "no Docker engine answers; this user has no CAP_SYS_ADMIN in the container (docker)"),
        ("engine-missing", None, "note", "neither Docker nor podman, on Ubuntu 22.04.5 LTS"),
        ("engine-denied", None, "error", "permission denied at unix:///var/run/docker.sock; you are not in the group `docker`"),
        ("engine-denied", with_(engine=replace(DENIED, group_member=None)), "error", "permission denied at unix:///var/run/docker.sock"),
        ("engine-failing", None, "error", "tcp://build.example:2375: no Docker engine answers"),
        ("engine-too-old", None, "error", "engine 19.03.15; BuildKit with cache and secret mounts is in 20.10 and later"),
        ("engine-remote", None, "warning", "ssh://build.example"),
        ("engine-outside-container", None, "warning", "unix:///var/run/docker.sock answers, and its folder /var/lib/docker is not in this container (docker)"),
        ("engine-snap-without-gpus", None, "error", "its root is /var/snap/docker/common/var-lib-docker; its runtimes: runc; no CDI devices"),
        ("cdi-lacks-gpus", None, "error", "it lists nvidia.com/gpu=1; the GPUs are GPU-0"),
        ("toolkit-missing", None, "error", "no nvidia-ctk; the engine's runtimes: runc; no CDI devices"),
        ("toolkit-not-configured", None, "error", "/usr/bin/nvidia-ctk is there; the engine's runtimes: runc; no CDI devices"),
        ("cdi-stale-unused", None, "warning", "/etc/cdi/nvidia.yaml names the libraries of 570.86.15; loaded is 580.82.07"),
        ("toolkit-by-hook", None, "note", "/usr/bin/nvidia-container-runtime-hook is there; the engine's runtimes: runc; no CDI devices"),
        ("architecture-unsupported", None, "error", "the processors are aarch64; the locks hold wheels for x86_64 alone"),
        ("memory-small", None, "warning", "3000 MiB of memory; 4000 MiB are wanted: it swaps"),
        ("disk-full", None, "error", "/var/lib/docker has 1023 MiB free"),
        ("engine-disk-small", None, "warning", "/var/lib/docker has 4.9 GiB free; 4.9 GiB are needed: the image, and its packages in the builder's cache"),
        ("home-disk-small", None, "warning", "/home/user/.local/share/envkit has 2.0 GiB free; 2.0 GiB are needed"),
        ("probe-silent", with_(unknown={"nvml": "ValueError: odd"}), "warning", "ValueError: odd"),
        ("cache-elsewhere", None, "warning", "cache /mnt/cache, environments /home/user/.local/share/envkit"),
        ("home-off-data-disk", None, "note", "ENVKIT_HOME is /home/user/.local/share/envkit, with 250 GiB free; the data disk is /root/autodl-tmp"),
        ("shm-small", None, "warning", "/dev/shm has 64 MiB"),  # noqa: S108
        ("nofile-low", None, "note", "`ulimit -n` is 1024"),
        ("memlock-low", None, "note", "`ulimit -l` is 8192 KiB"),
        ("proxy-loopback", None, "warning", "HTTPS_PROXY=http://127.0.0.1:7890"),
        ("index-unreachable", None, "error", "uv's default index: tcp connect error: Connection refused (os error 111)"),
        ("index-unreachable", with_(endpoints=answers("index", "no answer within 8 s", "")), "error", "it: no answer within 8 s"),
        ("registry-unreachable", None, "error", "debian:bookworm-slim: no answer within 8 s"),
        ("huggingface-unreachable", None, "warning", "https://huggingface.co: timed out"),
        ("compiler-missing", None, "warning", "no cc, gcc or clang on the PATH, on Ubuntu 22.04.5 LTS"),
        ("python-missing", None, "note", "there: 3.12"),
        ("cuda-on-library-path", None, "warning", "/usr/local/cuda/lib64: libcublas.so.13, libnccl.so.2"),
    ],
)  # fmt: skip
def test_what_was_seen(matrix: Matrix, name: str, facts: HostFacts | None, severity: str, evidence: str) -> None:
    found = told(matrix, name, facts)

    assert (found.severity, found.evidence) == (severity, evidence)


@pytest.mark.parametrize(
    ("version", "error"),
    [
        ("28.1.1", 'could not select device driver "" with capabilities: [[gpu]]'),
        ("29.1.0", 'could not select device driver "" with capabilities: [[gpu]]'),
        ("29.2.0", "failed to discover GPU vendor from CDI: no known GPU vendor found"),
    ],
)
def test_an_engine_without_a_toolkit_has_words_of_its_age(matrix: Matrix, version: str, error: str) -> None:
    facts = with_(engine=replace(ALONE, version=version), toolkit=replace(TOOLKIT, path="", hook=""))

    assert told(matrix, "toolkit-missing", facts).otherwise == error


def test_torch_counts_the_drivers_cuda_in_its_message(matrix: Matrix) -> None:
    assert told(matrix, "driver-too-old").otherwise == (
        "The NVIDIA driver on your system is too old (found version 11040)"
    )


def test_mirrors_that_help_are_named(matrix: Matrix) -> None:
    assert told(matrix, "index-unreachable").fix[0] == (
        "`--mirror near` with `envkit run`, `build` and `lock`; UV_DEFAULT_INDEX names another index for good"
    )
    assert told(matrix, "huggingface-unreachable").fix[0] == (
        "`export HF_ENDPOINT=https://hf.example`, or `--mirror cn` with `envkit run`"
    )


def test_a_mirror_that_fails_is_not_offered_as_its_own_cure(matrix: Matrix) -> None:
    facts = with_(endpoints=answers("huggingface", "timed out", "https://hf.example"))

    assert "https://hf.example: timed out" in told(matrix, "huggingface-unreachable", facts).evidence


def test_every_full_disk_once(matrix: Matrix) -> None:
    one = tuple(replace(each, free_mib=10) for each in DISKS)
    report = examine(Machine(with_(disks=one), matrix, ("demo",)))

    assert [each.evidence for each in report.findings] == ["/home/user/.local/share/envkit has 10 MiB free"]


def test_a_stale_spec_in_the_folder_that_wins(matrix: Matrix) -> None:
    """/var/run/cdi goes before /etc/cdi."""
    stale = replace(OLD_SPEC, path="/var/run/cdi/nvidia.yaml")
    found = find(matrix, with_(engine=BY_CDI, toolkit=replace(TOOLKIT, cdi_specs=(SPEC, stale))))

    assert found["cdi-stale"].evidence.startswith("/var/run/cdi/nvidia.yaml names the libraries of 570.86.15")


def test_healthy_machines_of_other_kinds(matrix: Matrix) -> None:
    """Each looked wrong once."""
    socket = System(container="kubernetes", sys_admin=False, root=False, architecture="x86_64")
    machines = {
        "infini-ai, Docker in Docker": with_(system=replace(INSIDE, sys_admin=True)),
        "toolkit 1.18 on Docker 28.1": with_(
            engine=replace(ENGINE, cgroup_driver="systemd"),
            toolkit=replace(TOOLKIT, cdi_specs=(replace(SPEC, path="/var/run/cdi/nvidia.yaml"),)),
        ),
        "WSL with Docker Desktop": with_(
            engine=replace(ENGINE, desktop=True), system=replace(HOST, wsl=True), hardware=("wsl",), toolkit=None
        ),
        "podman fails": with_(podman=replace(ENGINE, state="failing", problem="cannot re-exec process")),
        "GPUs that nobody described": with_(gpus=(Gpu(0),)),
        "a driver of a vendor's": with_(
            driver="535.183.06", kernel_driver=kernel(version="535.183.06"), gpus=(RTX_3090,)
        ),
        "a proxy for the company": with_(settings=Settings(proxies={"HTTP_PROXY": "proxy.example:3128"})),
        "a pod": with_(VENV, system=socket, podman=None, engine=None),
    }
    found = {name: set(find(matrix, facts)) - {"driver-holds-back"} for name, facts in machines.items()}

    assert {name: ids for name, ids in found.items() if ids} == {}
