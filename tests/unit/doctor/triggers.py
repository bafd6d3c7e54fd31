"""For every check, a small machine on which it finds something, and the nearest ones on which it must not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from envkit.host.facts import (
    CdiSpec,
    CudaFolder,
    Disk,
    Endpoint,
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


@dataclass(frozen=True)
class Trigger:
    """A check, a machine that sets it off, and machines that are almost the same and do not."""

    id: str
    facts: HostFacts
    neighbours: tuple[HostFacts, ...]
    frameworks: tuple[str, ...] = ("demo",)


RTX_3090 = Gpu(0, "NVIDIA GeForce RTX 3090", "GPU-0", 24576, "8.6", mig=False, fabric="not supported")
K80 = Gpu(0, "Tesla K80", "GPU-0", 11441, "3.7", mig=False)
RTX_5090 = Gpu(0, "NVIDIA GeForce RTX 5090", "GPU-0", 32607, "12.0", mig=False)
H100 = Gpu(0, "NVIDIA H100 80GB HBM3", "GPU-0", 81559, "9.0", mig=False, fabric="completed")
SLICE = MigDevice(0, "NVIDIA A100 MIG 1g.5gb", "MIG-0", 4864)
A100_MIG = Gpu(0, "NVIDIA A100-SXM4-40GB", "GPU-0", 40960, "8.0", mig=True, mig_devices=(SLICE,))
DRIVER = KernelDriver(
    "580.82.07",
    open=True,
    modules=("nvidia", "nvidia_uvm"),
    nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
)
TOOLKIT = Toolkit("/usr/bin/nvidia-ctk", "/usr/bin/nvidia-container-runtime-hook")
BASE_TOOLKIT = Toolkit("/usr/bin/nvidia-ctk")
HOST = System(
    os="ubuntu",
    os_name="Ubuntu 22.04.5 LTS",
    kernel="6.8.0-45-generic",
    architecture="x86_64",
    wsl=False,
    systemd=True,
    container="",
    sys_admin=False,
    root=False,
    memory_mib=64000,
    nofile=65536,
    memlock_kib=8192,
    infiniband=False,
)
INSIDE = replace(HOST, container="docker", root=True, systemd=False)
ENGINE = Engine(
    state="usable",
    endpoint="unix:///var/run/docker.sock",
    remote=False,
    version="28.1.1",
    client="/usr/bin/docker",
    buildx="0.23.0",
    rootless=False,
    desktop=False,
    snap=False,
    runtimes=("nvidia", "runc"),
    cdi=False,
    cdi_devices=(),
    cgroup_driver="cgroupfs",
    root="/var/lib/docker",
    group_member=True,
)
ALONE = replace(ENGINE, runtimes=("runc",))
BY_CDI = replace(ENGINE, runtimes=("runc",), cdi=True, cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all"))
STOPPED = Engine(
    state="stopped", problem="no Docker engine answers", endpoint="unix:///var/run/docker.sock", remote=False
)
MISSING = replace(STOPPED, state="missing")
DENIED = replace(STOPPED, state="denied", problem="you may not talk to the Docker engine", group_member=False)
NO_PODMAN = Engine(state="missing", problem="podman is not installed", client="")
SPEC = CdiSpec("/etc/cdi/nvidia.yaml", ("nvidia.com/gpu=0", "nvidia.com/gpu=all"), "580.82.07")
OLD_SPEC = replace(SPEC, driver="570.86.15")
NEW_SPEC = replace(SPEC, path="/var/run/cdi/nvidia.yaml")
DISKS = (
    Disk("engine", "/var/lib/docker", 512000, 256000, "259:1"),
    Disk("home", "/home/user/.local/share/envkit", 512000, 256000, "259:1"),
    Disk("cache", "/home/user/.local/share/envkit/cache/uv", 512000, 256000, "259:1"),
    Disk("shm", "/dev/shm", 32000, 32000, "0:27"),  # noqa: S108
)
GOOD = HostFacts(
    gpus=(RTX_3090,),
    driver="580.82.07",
    cuda_driver="13.0",
    nvml="ok",
    hardware=("0000:01:00.0",),
    nvswitches=0,
    kernel_driver=DRIVER,
    toolkit=TOOLKIT,
    engine=ENGINE,
    podman=NO_PODMAN,
    disks=DISKS,
    system=HOST,
    provider="",
    pythons=(Python("3.10", "/usr/bin/python3.10"), Python("3.11", "/usr/bin/python3.11")),
    compilers=("/usr/bin/gcc",),
    cuda_folders=(),
    settings=Settings(),
    endpoints=(
        Endpoint("index", "uv's default index"),
        Endpoint("registry", "debian:bookworm-slim"),
        Endpoint("huggingface", "https://huggingface.co"),
    ),
)
"""A machine with nothing wrong."""


def with_(facts: HostFacts = GOOD, **changes: Any) -> HostFacts:
    """The machine with other facts."""
    return replace(facts, **changes)


def silent(nvml: str | None, **changes: Any) -> HostFacts:
    """A machine whose driver answers so."""
    facts = {"gpus": None, "driver": None, "cuda_driver": None, "nvml": nvml, "gpu_problem": "its driver complains"}
    return with_(**{**facts, **changes})


def kernel(**changes: Any) -> KernelDriver:
    """Its driver in the kernel, changed."""
    return replace(DRIVER, **changes)


NO_KERNEL = KernelDriver(None, None, modules=(), nodes=())
NO_GPU = silent("LIBRARY_NOT_FOUND", gpus=(), hardware=(), gpu_problem=None, kernel_driver=NO_KERNEL, toolkit=Toolkit())
CONTAINER = with_(NO_GPU, engine=MISSING, system=INSIDE, disks=DISKS[1:])
PODMAN = Engine(state="usable", client="/usr/bin/podman", version="4.9.3", cdi=True, cdi_devices=BY_CDI.cdi_devices)
PODMAN_FAILS = Engine(state="failing", problem="cannot find its storage", client="/usr/bin/podman")
VENV = with_(engine=MISSING)
"""Environments run as venvs here."""
PARTS = dict.fromkeys(("kernel_driver", "toolkit", "engine", "podman", "disks", "system", "settings"))


def disks(purpose: str, **changes: Any) -> tuple[Disk, ...]:
    """Its disks, one of them changed."""
    return tuple(replace(each, **changes) if each.purpose == purpose else each for each in DISKS)


def answers(purpose: str, problem: str, address: str | None = None) -> tuple[Endpoint, ...]:
    """Its endpoints, one of which does not answer."""
    changed = {"problem": problem} if address is None else {"problem": problem, "address": address}
    return tuple(replace(each, **changed) if each.purpose == purpose else each for each in GOOD.endpoints or ())


TRIGGERS = [
    # GPUs and their driver
    Trigger(
        "driver-hangs",
        silent(None, unknown={"nvml": "no answer within 5 s"}),
        (silent(None, unknown={"nvml": "ValueError: odd"}), with_(unknown={"pci": "no answer within 3 s"})),
    ),
    Trigger(
        "driver-not-in-container",
        silent("LIBRARY_NOT_FOUND", system=INSIDE),
        (
            silent("LIBRARY_NOT_FOUND"),
            CONTAINER,
            with_(CONTAINER, hardware=("0000:01:00.0",)),  # a GPU of the host's, which has no driver
        ),
    ),
    Trigger(
        "gpus-not-in-container",
        silent("ok", gpus=(), driver="580.82.07", system=INSIDE, kernel_driver=kernel(nodes=("/dev/nvidiactl",))),
        (
            silent("ok", gpus=(), driver="580.82.07"),
            with_(system=INSIDE, hardware=("0000:01:00.0", "0000:02:00.0")),  # one GPU of two
            silent("DRIVER_NOT_LOADED", system=INSIDE, kernel_driver=NO_KERNEL),
        ),
    ),
    Trigger(
        "driver-missing-wsl",
        silent("LIBRARY_NOT_FOUND", hardware=("wsl",), kernel_driver=NO_KERNEL, system=replace(HOST, wsl=True)),
        (with_(NO_GPU, system=replace(HOST, wsl=True)), with_(hardware=("wsl",), system=replace(HOST, wsl=True))),
    ),
    Trigger(
        "driver-missing",
        silent("LIBRARY_NOT_FOUND", kernel_driver=replace(NO_KERNEL, modules=("nouveau",))),
        (NO_GPU,),
    ),
    Trigger(
        "driver-not-loaded",
        silent("DRIVER_NOT_LOADED", kernel_driver=NO_KERNEL),
        (
            silent("DRIVER_NOT_LOADED", gpus=(), hardware=(), gpu_problem=None),  # an image for GPUs, on another machine
            silent("DRIVER_NOT_LOADED", system=INSIDE),
        ),
    ),
    Trigger(
        "driver-mismatch",
        silent("LIB_RM_VERSION_MISMATCH"),
        (
            with_(driver="535.183.01", kernel_driver=kernel(version="535.183.01")),
            with_(driver="580.82", kernel_driver=kernel(version="580.82.07")),  # NVML says ok, and it compares them
        ),
    ),
    Trigger("nvml-no-permission", silent("NO_PERMISSION"), (GOOD,)),
    Trigger("nvml-unknown-error", silent("UNKNOWN", system=INSIDE), (silent("UNKNOWN"),)),
    Trigger("gpu-lost", silent("GPU_IS_LOST", driver="580.82.07"), (GOOD,)),
    Trigger(
        "gpus-not-seen",
        silent("ok", gpus=(), driver="570.86.15", kernel_driver=kernel(open=False)),
        (silent("ok", gpus=(), hardware=(), gpu_problem=None), with_(hardware=("0000:01:00.0", "0000:02:00.0"))),
    ),
    Trigger(
        "driver-failing",
        silent("UNKNOWN", gpu_problem="its driver does not answer: Unknown Error"),
        (silent("DRIVER_NOT_LOADED"), NO_GPU, silent("UNKNOWN", system=INSIDE)),
    ),
    Trigger(
        "uvm-missing",
        with_(kernel_driver=kernel(nodes=("/dev/nvidia0", "/dev/nvidiactl"))),
        (
            GOOD,
            with_(kernel_driver=kernel(nodes=None)),
            with_(hardware=("wsl",), kernel_driver=kernel(nodes=())),
            with_(NO_GPU, kernel_driver=kernel(nodes=("/dev/nvidiactl",))),
        ),
    ),
    Trigger(
        "uvm-missing-in-container",
        with_(kernel_driver=kernel(nodes=("/dev/nvidia0", "/dev/nvidiactl")), system=INSIDE),
        (with_(system=INSIDE), with_(kernel_driver=kernel(nodes=("/dev/nvidia0",)))),
    ),
    Trigger(
        "fabric-manager-stopped",
        with_(gpus=(replace(H100, fabric="in progress"),), nvswitches=4, fabric_manager="installed"),
        (
            with_(gpus=(H100,), nvswitches=4, fabric_manager="installed"),  # it did its work, and was stopped
            with_(gpus=(replace(H100, fabric="not supported"),)),  # PCIe: no NVSwitch
            with_(gpus=(replace(H100, fabric=None),), nvswitches=4, system=INSIDE),  # the host's
        ),
    ),
    Trigger(
        "mig-without-slices",
        with_(gpus=(replace(A100_MIG, mig_devices=()),)),
        (with_(gpus=(A100_MIG,)), with_(gpus=(replace(A100_MIG, mig=False, mig_devices=()),))),
    ),
    Trigger(
        "driver-too-old",
        with_(driver="470.256.02", cuda_driver="11.4"),
        (
            with_(driver="525.60.13", cuda_driver="12.0"),
            with_(gpus=(K80,), driver="470.256.02", cuda_driver="11.4"),  # no driver helps
            with_(driver=None),
            with_(NO_GPU, driver="470.256.02"),
        ),
    ),
    Trigger(
        "driver-holds-back",
        with_(driver="550.54.14", cuda_driver="12.4"),
        (GOOD, with_(NO_GPU, driver="550.54.14"), with_(gpus=(replace(K80, compute_capability="7.0"),), driver="550.54.14")),
    ),
    Trigger("gpu-unsupported", with_(gpus=(K80,)), (GOOD, with_(NO_GPU))),
    Trigger(
        "framework-unsupported",
        with_(driver="550.54.14"),
        (GOOD, with_(gpus=(K80,))),
        ("demo", "solo"),
    ),
    # Container engines
    Trigger(
        "container-only",
        with_(CONTAINER, provider="autodl"),
        (
            with_(CONTAINER),
            with_(provider="autodl", system=INSIDE),  # an engine works in there
            with_(provider="vast", engine=STOPPED),  # one of its virtual machines
            with_(provider="autodl", engine=None),
        ),
    ),
    Trigger(
        "engine-in-container",
        CONTAINER,
        (
            with_(CONTAINER, system=replace(INSIDE, sys_admin=True)),
            with_(CONTAINER, engine=STOPPED, system=replace(INSIDE, root=False)),  # root may start it
            VENV,
        ),
    ),
    Trigger(
        "engine-missing",
        with_(engine=MISSING),
        (with_(engine=MISSING, podman=PODMAN), with_(engine=MISSING, podman=None), with_(engine=STOPPED)),
    ),
    Trigger(
        "engine-stopped",
        with_(engine=STOPPED),
        (
            with_(engine=replace(STOPPED, endpoint="tcp://build.example:2375", remote=True)),
            with_(engine=replace(STOPPED, endpoint="unix:///run/user/1000/docker.sock")),
            with_(engine=MISSING),
        ),
    ),
    Trigger(
        "engine-stopped-without-systemd",
        with_(engine=STOPPED, system=replace(HOST, systemd=False)),
        (with_(engine=STOPPED, system=replace(HOST, systemd=None)),),
    ),
    Trigger("engine-denied", with_(engine=DENIED), (with_(engine=replace(DENIED, group_member=True)),)),
    Trigger("engine-denied-until-login", with_(engine=replace(DENIED, group_member=True)), (with_(engine=DENIED),)),
    Trigger(
        "engine-failing",
        with_(engine=replace(STOPPED, endpoint="tcp://build.example:2375", remote=True)),
        (with_(engine=STOPPED), with_(engine=DENIED)),
    ),
    Trigger(
        "engine-too-old",
        with_(engine=replace(ENGINE, version="19.03.15")),
        (
            with_(engine=replace(ENGINE, version="20.10.24+dfsg1")),
            with_(engine=replace(ENGINE, version="4.3.1", endpoint="unix:///run/podman/podman.sock")),
            with_(engine=replace(ENGINE, version="0.0.0-20250414")),
            with_(engine=replace(ENGINE, version="master")),
        ),
    ),
    Trigger(
        "engine-remote",
        with_(engine=replace(ENGINE, endpoint="ssh://build.example", remote=True)),
        (GOOD, with_(engine=replace(ENGINE, remote=None))),
    ),
    Trigger(
        "engine-outside-container",
        with_(system=INSIDE, disks=DISKS[1:]),
        (
            with_(system=INSIDE),  # Docker in Docker
            with_(system=INSIDE, disks=None),
            with_(disks=DISKS[1:]),
        ),
    ),
    Trigger("docker-cli-missing", with_(engine=replace(ENGINE, client="")), (with_(engine=replace(ENGINE, client=None)),)),
    Trigger(
        "buildx-missing",
        with_(engine=replace(ENGINE, buildx="")),
        (
            with_(engine=replace(ENGINE, buildx="", version="20.10.24+dfsg1")),
            with_(engine=replace(ENGINE, buildx="", snap=True)),  # the snap brings it
            with_(engine=replace(ENGINE, buildx=None)),
        ),
    ),
    Trigger(
        "engine-desktop",
        with_(engine=replace(ENGINE, desktop=True, endpoint="unix:///home/user/.docker/desktop/docker.sock")),
        (with_(engine=replace(ENGINE, desktop=True), system=replace(HOST, wsl=True)), with_(NO_GPU)),
    ),
    Trigger(
        "engine-snap-without-gpus",
        with_(engine=replace(ALONE, snap=True, root="/var/snap/docker/common/var-lib-docker"), toolkit=BASE_TOOLKIT),
        (with_(engine=replace(ENGINE, snap=True)), with_(NO_GPU, engine=replace(ALONE, snap=True))),
    ),
    Trigger(
        "engine-snap",
        with_(engine=replace(ENGINE, snap=True, root="/var/snap/docker/common/var-lib-docker")),
        (GOOD, with_(engine=replace(ALONE, snap=True), toolkit=BASE_TOOLKIT)),
    ),
    # GPUs in containers
    Trigger(
        "cdi-lacks-gpus",
        with_(engine=replace(BY_CDI, cdi_devices=("nvidia.com/gpu=1",)), toolkit=replace(BASE_TOOLKIT, cdi_specs=(SPEC,))),
        (
            with_(engine=BY_CDI, toolkit=BASE_TOOLKIT),
            with_(engine=replace(BY_CDI, runtimes=("nvidia",), cdi_devices=("nvidia.com/gpu=1",))),
            with_(engine=BY_CDI, gpus=(replace(A100_MIG, mig_devices=()),), toolkit=BASE_TOOLKIT),
        ),
    ),
    Trigger(
        "podman-lacks-gpus",
        with_(engine=MISSING, podman=replace(PODMAN, cdi_devices=())),
        (
            with_(engine=MISSING, podman=PODMAN),
            with_(podman=replace(PODMAN, cdi_devices=())),  # Docker goes before it
            with_(engine=MISSING, podman=replace(PODMAN, cdi_devices=None)),
            with_(NO_GPU, engine=MISSING, podman=replace(PODMAN, cdi_devices=())),
        ),
    ),
    Trigger(
        "toolkit-missing",
        with_(engine=ALONE, toolkit=Toolkit()),
        (
            GOOD,
            with_(engine=ALONE, toolkit=None),
            with_(engine=ALONE, toolkit=Toolkit(), disks=DISKS[1:], system=INSIDE),  # the host's engine, and its toolkit
            with_(engine=replace(ALONE, desktop=True), toolkit=Toolkit(), system=replace(HOST, wsl=True)),
            with_(NO_GPU, engine=ALONE),
        ),
    ),
    Trigger(
        "toolkit-not-configured",
        with_(engine=ALONE, toolkit=BASE_TOOLKIT),
        (GOOD, with_(engine=ALONE, toolkit=Toolkit()), with_(engine=BY_CDI, toolkit=BASE_TOOLKIT)),
    ),
    Trigger(
        "cdi-stale",
        with_(engine=BY_CDI, toolkit=replace(BASE_TOOLKIT, cdi_specs=(OLD_SPEC,))),
        (
            with_(engine=BY_CDI, toolkit=replace(BASE_TOOLKIT, cdi_specs=(SPEC,))),
            with_(engine=BY_CDI, toolkit=replace(BASE_TOOLKIT, cdi_specs=(OLD_SPEC, NEW_SPEC))),  # it lies behind
            with_(engine=BY_CDI, toolkit=replace(BASE_TOOLKIT, cdi_specs=(replace(OLD_SPEC, driver=None),))),
            with_(toolkit=replace(TOOLKIT, cdi_specs=(OLD_SPEC,))),
        ),
    ),
    Trigger(
        "cdi-stale-unused",
        with_(toolkit=replace(TOOLKIT, cdi_specs=(OLD_SPEC,))),
        (with_(toolkit=replace(TOOLKIT, cdi_specs=(SPEC,))), with_(toolkit=replace(TOOLKIT, cdi_specs=(OLD_SPEC, NEW_SPEC)))),
    ),
    Trigger(
        "rootless-needs-no-cgroups",
        with_(engine=replace(ENGINE, rootless=True)),
        (
            with_(engine=replace(ENGINE, rootless=True), toolkit=replace(TOOLKIT, no_cgroups=True)),
            with_(engine=replace(BY_CDI, rootless=True)),
            with_(engine=replace(ENGINE, rootless=True), toolkit=None),
        ),
    ),
    Trigger(
        "gpus-lost-on-reload",
        with_(engine=replace(ENGINE, cgroup_driver="systemd")),
        (
            GOOD,
            with_(engine=replace(BY_CDI, cgroup_driver="systemd")),
            with_(engine=replace(ENGINE, cgroup_driver="systemd"), toolkit=replace(TOOLKIT, cdi_specs=(NEW_SPEC,))),
            with_(engine=replace(ENGINE, cgroup_driver="systemd"), system=replace(HOST, wsl=True)),
        ),
    ),
    Trigger(
        "toolkit-by-hook",
        with_(engine=ALONE),
        (GOOD, with_(engine=ALONE, toolkit=BASE_TOOLKIT), with_(NO_GPU, engine=ALONE, toolkit=TOOLKIT)),
    ),
    # Processors, limits and file systems
    Trigger(
        "architecture-unsupported",
        with_(system=replace(HOST, architecture="aarch64")),
        (with_(system=replace(HOST, architecture=None)),),
    ),
    Trigger(
        "memory-small",
        with_(system=replace(HOST, memory_limit_mib=3000)),
        (with_(system=replace(HOST, memory_limit_mib=4000)), with_(system=replace(HOST, memory_mib=None))),
        ("demo", "solo"),
    ),
    Trigger(
        "disk-full",
        with_(disks=disks("engine", free_mib=1023)),
        (
            with_(disks=disks("engine", free_mib=1024)),
            with_(disks=disks("engine", free_mib=0, total_mib=0)),  # a file system that does not say
            with_(disks=disks("engine", free_mib=None)),
            with_(disks=disks("shm", free_mib=0)),
        ),
    ),
    Trigger(
        "engine-disk-small",
        with_(disks=disks("engine", free_mib=4999)),
        (
            with_(disks=disks("engine", free_mib=5000)),
            with_(disks=disks("engine", free_mib=1023)),
            with_(VENV, disks=disks("engine", free_mib=4999)),
        ),
        ("demo", "solo"),
    ),
    Trigger(
        "home-disk-small",
        with_(VENV, disks=disks("home", free_mib=1999)),
        (with_(VENV, disks=disks("home", free_mib=2000)), with_(disks=disks("home", free_mib=1999))),
        ("demo", "solo"),
    ),
    Trigger(
        "probe-silent",
        with_(unknown={"docker": "no answer within 3 s"}),
        (silent(None, unknown={"nvml": "no answer within 5 s"}),),
    ),
    Trigger(
        "cache-elsewhere",
        with_(disks=disks("cache", filesystem="0:52", path="/mnt/cache")),
        (GOOD, with_(disks=disks("cache", filesystem=None))),
    ),
    Trigger(
        "home-off-data-disk",
        with_(disks=(*DISKS, Disk("data", "/root/autodl-tmp", 51200, 40000, "0:60"))),
        (with_(disks=(*DISKS, Disk("data", "/workspace", 512000, 256000, "259:1"))),),
    ),
    Trigger(
        "shm-small",
        with_(VENV, disks=disks("shm", total_mib=64)),
        (with_(VENV, disks=disks("shm", total_mib=1024)), with_(disks=disks("shm", total_mib=64))),
    ),
    Trigger(
        "nofile-low",
        with_(VENV, system=replace(HOST, nofile=1024)),
        (with_(VENV, system=replace(HOST, nofile=-1)), with_(system=replace(HOST, nofile=1024))),
    ),
    Trigger(
        "memlock-low",
        with_(system=replace(HOST, infiniband=True)),
        (GOOD, with_(system=replace(HOST, infiniband=True, memlock_kib=-1)), with_(NO_GPU, system=replace(HOST, infiniband=True))),
    ),
    # Network
    Trigger(
        "proxy-loopback",
        with_(settings=Settings(proxies={"HTTPS_PROXY": "http://127.0.0.1:7890", "NO_PROXY": "localhost"})),
        (
            with_(settings=Settings(proxies={"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": "127.0.0.1"})),
            with_(VENV, settings=Settings(proxies={"HTTPS_PROXY": "http://127.0.0.1:7890"})),
        ),
    ),
    Trigger(
        "index-unreachable",
        with_(endpoints=answers("index", "tcp connect error: Connection refused (os error 111)")),
        (GOOD, with_(endpoints=None)),
    ),
    Trigger("registry-unreachable", with_(endpoints=answers("registry", "no answer within 8 s", "")), (GOOD,)),
    Trigger(
        "huggingface-unreachable",
        with_(endpoints=answers("huggingface", "timed out")),
        (GOOD, with_(endpoints=answers("huggingface", "timed out"), settings=Settings(modelscope=True))),
    ),
    # Environments as venvs
    Trigger(
        "compiler-missing",
        with_(VENV, compilers=()),
        (with_(VENV, compilers=None), with_(compilers=()), with_(NO_GPU, engine=MISSING, podman=None, compilers=())),
    ),
    Trigger(
        "python-missing",
        with_(VENV, pythons=(Python("3.12", "/usr/bin/python3.12"),)),
        (VENV, with_(VENV, pythons=None), with_(pythons=())),
    ),
    Trigger(
        "cuda-on-library-path",
        with_(VENV, cuda_folders=(CudaFolder("/usr/local/cuda/lib64", ("libcublas.so.13", "libcufft.so.12", "libnccl.so.2")),)),
        (
            with_(VENV, cuda_folders=(CudaFolder("/usr/local/cuda-12/lib64", ("libcublas.so.12", "libcudart.so.12.4.127")),)),
            with_(cuda_folders=(CudaFolder("/usr/local/cuda/lib64", ("libcublas.so.13",)),)),
            with_(NO_GPU, engine=MISSING, podman=None, cuda_folders=(CudaFolder("/x", ("libcudnn.so.9",)),)),
        ),
    ),
]  # fmt: skip
