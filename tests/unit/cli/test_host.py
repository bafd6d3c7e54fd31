"""`envkit host`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from envkit.host.facts import (
    CdiSpec,
    CudaFolder,
    Disk,
    Engine,
    Gpu,
    HostFacts,
    KernelDriver,
    MigDevice,
    Python,
    Settings,
    System,
    Toolkit,
)
from envkit.host.probes.mirrors import Measured

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit, Machine

H200 = Gpu(0, "NVIDIA H200", "GPU-0", 143771, "9.0", mig=False, fabric="completed")
UBUNTU = System(
    os="ubuntu",
    os_name="Ubuntu 22.04.5 LTS",
    kernel="6.8.0-45-generic",
    architecture="x86_64",
    glibc="2.35",
    cpus=192,
    memory_mib=2 * 2**20,
)
DOCKER = Engine(
    state="usable",
    endpoint="unix:///var/run/docker.sock",
    version="28.3.2",
    buildx="0.25.0",
    rootless=False,
    desktop=False,
    snap=False,
    remote=False,
    runtimes=("nvidia", "runc"),
    cdi=True,
    cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all"),
    cgroup_driver="systemd",
    mirrors=("https://mirror.example",),
)
REST = "Docker    not known\npodman    not known\nsystem    not known\n"
"""What every machine says of which nothing else is known."""


def test_a_machine_with_everything(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(
        gpus=(H200, Gpu(1, "NVIDIA H200", "GPU-1", 143771, "9.0", fabric="not supported")),
        driver="580.82.07",
        cuda_driver="13.0",
        nvml="ok",
        nvswitches=4,
        fabric_manager="running",
        kernel_driver=KernelDriver("580.82.07", open=True, modules=("nvidia", "nvidia_uvm")),
        toolkit=Toolkit(
            "/usr/bin/nvidia-ctk", cdi_specs=(CdiSpec("/etc/cdi/a.yaml", ("nvidia.com/gpu=0",), "580.82.07"),)
        ),
        engine=DOCKER,
        podman=Engine(state="missing", problem="podman is not installed"),
        disks=(
            Disk("engine", "/var/lib/docker", 1024 * 1024, 512 * 1024, "259:2"),
            Disk("data", "/workspace"),
        ),
        system=UBUNTU,
        provider="",
        pythons=(Python("3.10", "/usr/bin/python3.10"), Python("3.12", "/usr/bin/python3.12")),
        compilers=("/usr/bin/gcc",),
        cuda_folders=(CudaFolder("/usr/local/cuda/lib64", ("libcublas.so.12", "libcudart.so.12")),),
        settings=Settings(proxies={"HTTPS_PROXY": "http://***@proxy:3128"}, index="https://mirror.example/simple"),
        unknown={"compilers": "no answer within 3 s"},
    )

    assert envkit("host").out == (
        "GPU 0     NVIDIA H200, 143771 MiB, compute capability 9.0, GPU-0\n"
        "          NVSwitch fabric completed\n"
        "GPU 1     NVIDIA H200, 143771 MiB, compute capability 9.0, GPU-1\n"
        "driver    580.82.07, for CUDA up to 13.0\n"
        "          kernel module 580.82.07 (open), loaded: nvidia, nvidia_uvm\n"
        "          4 NVSwitches, fabric manager running\n"
        "toolkit   /usr/bin/nvidia-ctk\n"
        "          /etc/cdi/a.yaml: 1 CDI devices, made for driver 580.82.07\n"
        "Docker    28.3.2, at unix:///var/run/docker.sock, buildx 0.25.0, cgroups by systemd, nvidia runtime, "
        "CDI: nvidia.com/gpu=0, nvidia.com/gpu=all, mirrors https://mirror.example\n"
        "podman    podman is not installed\n"
        "system    Ubuntu 22.04.5 LTS, x86_64, kernel 6.8.0-45-generic, glibc 2.35; 192 CPUs, 2048.0 GiB of memory\n"
        "disk      512.0 GiB of 1024.0 GiB free for Docker's images: /var/lib/docker (file system 259:2)\n"
        "          room not known for the provider's data disk: /workspace (file system not known)\n"
        "Python    3.10, 3.12\n"
        "compiler  /usr/bin/gcc\n"
        "CUDA      /usr/local/cuda/lib64 on LD_LIBRARY_PATH has libcublas.so.12, libcudart.so.12\n"
        "index     https://mirror.example/simple\n"
        "models    Hugging Face\n"
        "proxy     HTTPS_PROXY=http://***@proxy:3128\n"
        "not known compilers: no answer within 3 s\n"
    )
    assert msgspec.convert(envkit("host", "--json").data, HostFacts) == machine.facts


def test_a_rented_container(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(
        gpus=(Gpu(0, "NVIDIA GeForce RTX 4090", "GPU-0", 24564, "8.9"),),
        driver="550.54.14",
        engine=Engine(state="missing", problem="no Docker engine answers"),
        podman=Engine(state="usable", version="4.3.1", rootless=True, cgroup_driver="cgroupfs"),
        system=msgspec.structs.replace(UBUNTU, container="docker", memory_limit_mib=98304, wsl=True),
        provider="autodl",
        pythons=(),
        compilers=(),
        settings=Settings(modelscope=True),
    )

    assert envkit("host").out == (
        "GPU 0     NVIDIA GeForce RTX 4090, 24564 MiB, compute capability 8.9, GPU-0\n"
        "driver    550.54.14, for CUDA up to not known\n"
        "Docker    no Docker engine answers\n"
        "podman    4.3.1, rootless, cgroups by cgroupfs\n"
        "system    Ubuntu 22.04.5 LTS, x86_64, kernel 6.8.0-45-generic, glibc 2.35, WSL; 192 CPUs, 2048.0 GiB of memory "
        "(limited to 96.0 GiB)\n"
        "container AutoDL\n"
        "Python    none\n"
        "compiler  none\n"
        "index     uv's default\n"
        "models    ModelScope\n"
    )


def test_slices_and_what_a_driver_does_not_tell(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(
        gpus=(
            Gpu(
                0,
                "NVIDIA A100",
                "GPU-0",
                40960,
                "8.0",
                mig=True,
                mig_devices=(MigDevice(0, "MIG 1g.5gb", "MIG-0", 4864),),
            ),
            Gpu(1, "NVIDIA A100", "GPU-1", mig=True),
            Gpu(2, mig_devices=(MigDevice(3),)),
        ),
        nvswitches=6,
        kernel_driver=KernelDriver("535.183.01", open=False),
    )

    assert envkit("host").out == (
        "GPU 0     NVIDIA A100, 40960 MiB, compute capability 8.0, GPU-0\n"
        "          slice 0: MIG 1g.5gb, 4864 MiB, MIG-0\n"
        "GPU 1     NVIDIA A100, memory not known, compute capability not known, GPU-1\n"
        "          in MIG mode, without slices\n"
        "GPU 2     GPU, memory not known, compute capability not known\n"
        "          slice 3: MIG device, memory not known\n"
        "driver    kernel module 535.183.01 (proprietary), loaded: not known\n"
        "          6 NVSwitches, fabric manager not known\n" + REST
    )


@pytest.mark.parametrize(
    ("facts", "line"),
    [
        (HostFacts(gpus=()), "none from NVIDIA"),
        (HostFacts(), "not known"),
        (
            HostFacts(gpu_problem="its driver does not answer: Driver Not Loaded"),
            "there is one, but its driver does not answer: Driver Not Loaded",
        ),
    ],
)
def test_a_machine_without_a_gpu_that_can_be_used(
    envkit: Envkit, machine: Machine, facts: HostFacts, line: str
) -> None:
    machine.facts = facts

    assert envkit("host").out == f"GPU       {line}\n{REST}"


def test_engines_of_another_kind(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(
        gpus=(),
        engine=Engine(state="usable", endpoint="ssh://***@server", remote=True, desktop=True, snap=True, rootless=True),
        podman=Engine(state="failing", problem="`podman info` cannot be read"),
        toolkit=Toolkit(hook="/usr/bin/nvidia-container-runtime-hook"),
        system=System(container="lxc"),
    )

    assert envkit("host").out == (
        "GPU       none from NVIDIA\n"
        "toolkit   /usr/bin/nvidia-container-runtime-hook\n"
        "Docker    version not known, at ssh://***@server, rootless, remote, Docker Desktop, snap\n"
        "podman    `podman info` cannot be read\n"
        "system    system not known, architecture not known, kernel not known, glibc not known; "
        "CPUs not known, memory not known\n"
        "container lxc\n"
    )


def test_which_mirrors_would_be_used(envkit: Envkit, machine: Machine) -> None:
    assert envkit("host", "--mirror", "near").out.splitlines()[-1] == (
        "mirror    near: index https://index.example/simple, apt http://apt.example/debian, docker hub hub.example,"
        " huggingface https://hf.example"
    )
    assert envkit("host", "--mirror", "near", "--json").data["mirror"]["docker_hub"] == "hub.example"


def test_mirrors_by_measurement_are_shown_with_what_became_of_each(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = ("https://registry-1.docker.io", "https://huggingface.co")
    monkeypatch.setattr(
        "envkit.host.probes.mirrors.measure",
        lambda pairs: [Measured(each, 0.5, "no answer" if each in dead else "") for each, _ in pairs],
    )

    assert envkit("host", "--mirror", "auto").out.splitlines()[-9:] == [
        "mirror    auto: docker hub hub.example, huggingface https://hf.example",
        "asked     index the usual one: 0.5 s",
        "          index https://index.example/simple: 0.5 s",
        "          docker hub registry-1.docker.io: no answer",
        "          docker hub hub.example: 0.5 s",
        "          huggingface https://huggingface.co: no answer",
        "          huggingface https://hf.example: 0.5 s",
        "          modelscope https://modelscope.cn: 0.5 s",
        "          apt http://apt.example/debian: 0.5 s",
    ]


@pytest.mark.parametrize("answers", [True, False])
def test_packages_of_debian_are_taken_only_from_an_address_that_answered(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    dead = ("", *(() if answers else ("http://apt.example/debian",)))
    monkeypatch.setattr(
        "envkit.host.probes.mirrors.measure",
        lambda pairs: [Measured(each, 0.5, "no answer" if each in dead else "") for each, _ in pairs],
    )

    mirror = envkit("host", "--mirror", "auto", "--json").data["mirror"]

    assert mirror["index"] == "https://index.example/simple"
    assert mirror["apt"] == ("http://apt.example/debian" if answers else None)


def test_a_password_in_the_address_of_a_mirror_is_not_shown(envkit: Envkit, machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("about: ours\nindex: https://me:hunter2@ours.example/simple\n")

    shown = envkit("host", "--mirror", str(file)).out, envkit("host", "--mirror", str(file), "--json").out

    assert all("hunter2" not in each and "https://***@ours.example/simple" in each for each in shown)


def test_a_variable_sets_the_mirrors_for_good(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENVKIT_MIRROR", "near")
    envkit("build", "demo-cu130")

    assert machine.docker.made[0].mirror is not None
    assert envkit("host").out.splitlines()[-1].startswith("mirror    near: ")
    assert not any(line.startswith("mirror") for line in envkit("host", "--mirror", "none").out.splitlines()[:-1])
