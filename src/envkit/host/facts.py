"""What a machine is, as a frozen value that goes to JSON and comes back.

A field that is None is not known: nobody could be asked, or a description of another machine left it out. What is known
to be absent is empty: `()`, `""` or False.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Numbers = Annotated[str, Meta(pattern=r"^[0-9]+(\.[0-9]+)*$")]
"""Such as a driver's version."""
Capability = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]+$")]
"""A compute capability, such as `8.6`."""


class MigDevice(Struct, frozen=True):
    """One slice of a GPU in MIG mode."""

    index: int = 0
    """Among the slices of its GPU."""
    name: str = "MIG device"
    uuid: str = ""
    memory_mib: int | None = None


class Gpu(Struct, frozen=True):
    """One GPU, as its driver describes it."""

    index: int = 0
    name: str = "GPU"
    uuid: str = ""
    memory_mib: int | None = None
    compute_capability: Capability | None = None
    mig: bool | None = None
    """Whether it is in MIG mode: then programs see its slices alone."""
    mig_devices: tuple[MigDevice, ...] = ()
    fabric: Literal["not supported", "not started", "in progress", "completed"] | None = None
    """Whether the NVSwitch fabric took it in; CUDA does not start before (error 802)."""

    @property
    def device_ids(self) -> tuple[str, ...]:
        """The UUIDs that programs ask for it by: in MIG mode, those of its slices."""
        return tuple(each.uuid for each in self.mig_devices) or (self.uuid,)


class KernelDriver(Struct, frozen=True):
    """The driver's part in the kernel, which may be of another version than its libraries."""

    version: Numbers | None = None
    """Of the loaded `nvidia` module; None also where it is not loaded."""
    open: bool | None = None
    """Whether it is the open kernel module; Blackwell works with no other."""
    modules: tuple[str, ...] | None = None
    """The loaded ones among nvidia, nvidia_uvm, nvidia_modeset, nvidia_drm and nouveau."""
    nodes: tuple[str, ...] | None = None
    """The device files: /dev/nvidia0, /dev/nvidiactl, /dev/nvidia-uvm, …"""


class CdiSpec(Struct, frozen=True):
    """A file that describes GPUs to container engines (Container Device Interface)."""

    path: str
    devices: tuple[str, ...] = ()
    """Full names, such as `nvidia.com/gpu=0`."""
    driver: Numbers | None = None
    """The version in the names of the libraries that it mounts."""


class Toolkit(Struct, frozen=True):
    """The NVIDIA Container Toolkit on this machine."""

    path: str = ""
    """Of `nvidia-ctk`; empty: not installed."""
    hook: str = ""
    """Of `nvidia-container-runtime-hook`, which `docker run --gpus` calls; empty: not installed."""
    no_cgroups: bool | None = None
    """`no-cgroups` in its configuration, which a rootless engine needs."""
    cdi_specs: tuple[CdiSpec, ...] = ()


EngineState = Literal["usable", "missing", "stopped", "denied", "failing"]


class Engine(Struct, frozen=True):
    """A container engine, as it describes itself."""

    state: EngineState
    problem: str = ""
    """Why it cannot be used, in its own words or ours."""
    endpoint: str = ""
    """The address it was asked at."""
    remote: bool | None = None
    """Whether it runs on another machine: folders of this one are not there."""
    version: str | None = None
    client: str | None = None
    """Path of the command line; empty: none is installed."""
    buildx: str | None = None
    """Version of the plugin; empty: it is not there."""
    rootless: bool | None = None
    desktop: bool | None = None
    """Docker Desktop: the engine runs in a virtual machine."""
    snap: bool | None = None
    """Installed as a snap: confined, with a configuration of its own."""
    runtimes: tuple[str, ...] | None = None
    cdi: bool | None = None
    """Whether it looks for CDI devices at all."""
    cdi_devices: tuple[str, ...] | None = None
    """The NVIDIA devices that the engine lists; before Docker 28.2, those in the folders that it reads."""
    cgroup_driver: str | None = None
    cgroup_version: str | None = None
    storage_driver: str | None = None
    root: str | None = None
    """Where it keeps images and containers."""
    mirrors: tuple[str, ...] | None = None
    """Its `registry-mirrors`."""
    group_member: bool | None = None
    """Whether the user is in the group `docker`; the running session may be older than that."""


Purpose = Literal["engine", "podman", "home", "cache", "shm", "data"]
"""What a folder is for: Docker's root, podman's, ENVKIT_HOME, uv's cache, /dev/shm, the provider's data disk."""


class Disk(Struct, frozen=True):
    """A file system, by what envkit or an engine does with it."""

    purpose: Purpose
    path: str
    """The folder, which need not exist yet."""
    total_mib: int | None = None
    free_mib: int | None = None
    """To the user who asked."""
    filesystem: str | None = None
    """The same for folders on the same file system: files can be linked between them."""


class System(Struct, frozen=True):
    """The operating system, the processors and the memory."""

    os: str | None = None
    """ID in /etc/os-release, such as `ubuntu`."""
    os_version: str | None = None
    os_name: str | None = None
    """PRETTY_NAME, such as `Ubuntu 22.04.5 LTS`."""
    kernel: str | None = None
    architecture: str | None = None
    """Such as `x86_64`."""
    glibc: Numbers | None = None
    """None also where the C library is another one."""
    wsl: bool | None = None
    systemd: bool | None = None
    container: str | None = None
    """What kind of container this is (`docker`, `podman`, `lxc`, `kubernetes`, `container`); empty: none that shows."""
    sys_admin: bool | None = None
    """Whether this process may mount: without it no engine can run in here."""
    root: bool | None = None
    """Whether this is the superuser."""
    cpus: int | None = None
    memory_mib: int | None = None
    memory_limit_mib: int | None = None
    """The cgroup's; None also where there is none."""
    nofile: int | None = None
    """Soft limit of open files; -1: none."""
    memlock_kib: int | None = None
    """Soft limit of locked memory; -1: none."""
    infiniband: bool | None = None


class Python(Struct, frozen=True):
    """A Python interpreter."""

    version: Numbers
    """Major and minor."""
    path: str


class CudaFolder(Struct, frozen=True):
    """A folder of LD_LIBRARY_PATH with CUDA libraries, which go before those in the wheels."""

    path: str
    libraries: tuple[str, ...]


class Settings(Struct, frozen=True):
    """Addresses that downloads go through, without user names and passwords."""

    proxies: dict[str, str] = field(default_factory=dict)
    """Variable to address."""
    index: str | None = None
    """The package index that was chosen; None: uv's default."""
    huggingface: str | None = None
    """HF_ENDPOINT."""
    modelscope: bool = False
    """Whether USE_MODELSCOPE_HUB is set."""
    certificates: str | None = None
    """The bundle of certificates that this machine trusts."""


class Endpoint(Struct, frozen=True):
    """An address that was asked whether it answers."""

    purpose: Literal["index", "registry", "huggingface"]
    address: str
    problem: str = ""
    """Empty: it answered."""


class HostFacts(Struct, frozen=True):
    """This machine, or another one that was described."""

    gpus: tuple[Gpu, ...] | None = None
    driver: Numbers | None = None
    """Of the libraries that programs load."""
    cuda_driver: Numbers | None = None
    """The newest CUDA that the driver supports, such as `13.0`."""
    gpu_problem: str | None = None
    """Why GPUs that are plugged in cannot be used, in one sentence."""
    nvml: str | None = None
    """What NVML answered: `ok`, or its error, such as `DRIVER_NOT_LOADED`."""
    hardware: tuple[str, ...] | None = None
    """PCI addresses of NVIDIA GPUs, driver or not; `wsl` where Windows lends one."""
    pci_devices: tuple[str, ...] | None = None
    """What kind of GPU sits at each of these addresses: PCI device numbers, such as `2684`."""
    nvswitches: int | None = None
    fabric_manager: Literal["running", "installed", "missing"] | None = None
    kernel_driver: KernelDriver | None = None
    toolkit: Toolkit | None = None
    engine: Engine | None = None
    """Docker."""
    podman: Engine | None = None
    disks: tuple[Disk, ...] | None = None
    system: System | None = None
    provider: str | None = None
    """Who rents this container out (`autodl`, `runpod`, …); empty: nobody that is known."""
    pythons: tuple[Python, ...] | None = None
    compilers: tuple[str, ...] | None = None
    """C compilers on the PATH, for Triton."""
    cuda_folders: tuple[CudaFolder, ...] | None = None
    settings: Settings | None = None
    endpoints: tuple[Endpoint, ...] | None = None
    """Asked by `envkit doctor` alone: the network takes its time."""
    unknown: dict[str, str] = field(default_factory=dict)
    """Probes that gave no answer, each with the reason."""

    def disk(self, purpose: str) -> Disk | None:
        """The disk that serves the purpose, where it is known."""
        return next((each for each in self.disks or () if each.purpose == purpose), None)
