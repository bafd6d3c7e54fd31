"""GPUs, their driver and its toolkit for containers. The only module that speaks NVML."""

from __future__ import annotations

import ctypes
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envkit.host.cdi import CDI_FOLDERS, read_cdi_specs
from envkit.host.facts import Gpu, KernelDriver, MigDevice, Toolkit
from envkit.host.files import is_there, read
from envkit.host.probes.system import find_container

if TYPE_CHECKING:
    from collections.abc import Callable

_NVIDIA = "0x10de"
_GPU_CLASSES = ("0x0300", "0x0302")
"""VGA and 3D controllers: a GPU's audio and USB functions carry other classes."""
_SWITCH_CLASS = "0x0680"
"""Bridges of no other kind: NVSwitch."""
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nouveau")
_FABRIC = ("not supported", "not started", "in progress", "completed")
"""NVML_GPU_FABRIC_STATE_* in the order of their numbers."""
_NO_DRIVER = ("LIBRARY_NOT_FOUND", "DRIVER_NOT_LOADED", "GPU_NOT_FOUND")
"""What NVML says on machines without a GPU too."""
_FABRIC_MANAGER = "nv-fabricmanager"
_WSL_LIBRARY = "usr/lib/wsl/lib/libnvidia-ml.so.1"
"""There where Windows has NVIDIA's driver; /dev/dxg lends GPUs of any maker."""
_ROOT = Path("/")


# NVML -----------------------------------------------------------------------------------------------------------------


def probe_nvml() -> dict[str, Any]:
    """The GPUs and the driver, from the library that every driver brings; never from what nvidia-smi prints."""
    try:
        import pynvml
    except ImportError:  # pragma: no cover  # it is a dependency; a broken install must still plan for the CPU
        return {"nvml": "LIBRARY_NOT_FOUND", "gpu_problem": "the package nvidia-ml-py is missing"}
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return {"nvml": _code(error), "gpu_problem": f"its driver does not answer: {error}"}
    found: dict[str, Any] = {"nvml": "ok"}
    try:
        found["driver"] = _numbers(_text(pynvml.nvmlSystemGetDriverVersion()))
        cuda = _ask(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        found["cuda_driver"] = _cuda(cuda) if cuda else None
        found["gpus"] = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError as error:
        found |= {"nvml": _code(error), "gpu_problem": f"its driver does not describe it: {error}"}
    with suppress(pynvml.NVMLError):
        pynvml.nvmlShutdown()
    return found


def judge_gpus(found: dict[str, Any], silence: str | None) -> dict[str, Any]:
    """`gpus` and `gpu_problem`, from what NVML and the bus told; `silence` is why NVML told nothing.

    The bus tells whether there is a GPU; where it shows none, so does a driver that is there and complains. No GPU at
    all is what both must say.
    """
    gpus, hardware, nvml = found.get("gpus"), found.get("hardware"), found.get("nvml")
    says = found.get("gpu_problem") or (f"its driver does not answer: {silence}" if silence else None)
    if gpus:
        return {"gpus": gpus, "gpu_problem": None}
    if hardware:
        return {"gpus": gpus, "gpu_problem": says or "its driver does not see it"}
    if nvml and nvml not in _NO_DRIVER:
        return {"gpus": gpus, "gpu_problem": says}
    return {"gpus": () if nvml and hardware is not None else gpus, "gpu_problem": None}


def _gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    capability = _ask(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    mig = _ask(pynvml.nvmlDeviceGetMigMode, handle)
    return Gpu(
        index=index,
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        memory_mib=memory.total // 2**20 if memory else None,
        compute_capability=".".join(map(str, capability)) if capability else None,
        mig=bool(mig and mig[0]),
        mig_devices=_slices(handle) if mig and mig[0] else (),
        fabric=_fabric(handle),
    )


def _slices(handle: Any) -> tuple[MigDevice, ...]:
    import pynvml

    found = []
    for index in range(_ask(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        each = _ask(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)
        if each:
            memory = _ask(pynvml.nvmlDeviceGetMemoryInfo, each)
            found.append(
                MigDevice(
                    index=index,
                    name=_text(pynvml.nvmlDeviceGetName(each)),
                    uuid=_text(pynvml.nvmlDeviceGetUUID(each)),
                    memory_mib=memory.total // 2**20 if memory else None,
                )
            )
    return tuple(found)


def _fabric(handle: Any) -> Any:  # one of _FABRIC, or None
    import pynvml

    info = pynvml.c_nvmlGpuFabricInfo_t()
    # The binding passes on what it gets, and the driver wants an address (28 bytes by value end in a crash).
    answer = _ask(pynvml.nvmlDeviceGetGpuFabricInfo, handle, ctypes.byref(info))
    if answer is None or info.state >= len(_FABRIC):
        return None
    return _FABRIC[info.state]


def _ask(function: Callable[..., Any], *args: Any) -> Any:
    """NVML's answer; None where this GPU, this driver or this user gets none."""
    import pynvml

    try:
        return function(*args)
    except (
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_NoPermission,
        pynvml.NVMLError_InvalidArgument,
        pynvml.NVMLError_NotFound,
    ):
        return None


def _code(error: Any) -> str:
    """NVML's own name for an error, such as `DRIVER_NOT_LOADED`."""
    import pynvml

    names = {getattr(pynvml, name): name for name in dir(pynvml) if name.startswith("NVML_ERROR_")}
    return names.get(error.value, str(error.value)).removeprefix("NVML_ERROR_")


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _numbers(text: str) -> str | None:
    """The version without what a vendor hung on to it."""
    match = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return match[0] if match else None


def _cuda(number: int) -> str:
    """NVML counts 1000 * major + 10 * minor: 12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"


# The bus, the kernel and the toolkit ----------------------------------------------------------------------------------


def probe_pci(root: Path = _ROOT) -> dict[str, Any]:
    """NVIDIA's GPUs and NVSwitches on the PCI bus, driver or not; WSL lends a GPU without a bus."""
    gpus, switches = (["wsl"] if is_there(root / "dev/dxg") and is_there(root / _WSL_LIBRARY) else []), 0
    kinds = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, kind = read(device / "vendor") or "", read(device / "class") or ""
        if vendor.startswith(_NVIDIA):
            if kind.startswith(_GPU_CLASSES):
                gpus.append(device.name)
                kinds.append((read(device / "device") or "").strip().removeprefix("0x"))
            switches += kind.startswith(_SWITCH_CLASS)
    return {
        "hardware": tuple(gpus),
        "pci_devices": tuple(filter(None, kinds)),
        "nvswitches": switches,
        "fabric_manager": _fabric_manager(root) if switches else None,
    }


def _fabric_manager(root: Path) -> str | None:
    """None inside a container: its host's programs and processes do not show."""
    name = _FABRIC_MANAGER[:15]  # the kernel keeps no more of it
    if any((read(each) or "").rstrip("\n") == name for each in (root / "proc").glob("[0-9]*/comm")):
        return "running"
    if find_container(root):
        return None
    return "installed" if is_there(root / "usr/bin" / _FABRIC_MANAGER) else "missing"


def probe_kernel_driver(root: Path = _ROOT) -> dict[str, Any]:
    """The driver's part in the kernel, and its device files."""
    says = read(root / "proc/driver/nvidia/version") or ""
    # `NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  …`, `… NVIDIA UNIX x86_64 Kernel Module  535.…`
    version = re.search(r"Kernel Module\s+(?:for \S+\s+)?([0-9]+(?:\.[0-9]+)+)", says)
    loaded = read(root / "proc/modules")
    names = {line.split(" ")[0] for line in (loaded or "").splitlines()}
    return {
        "kernel_driver": KernelDriver(
            version=version[1] if version else None,
            open="Open Kernel Module" in says if version else None,
            modules=tuple(each for each in _MODULES if each in names) if loaded is not None else None,
            nodes=tuple(f"/dev/{each.name}" for each in sorted((root / "dev").glob("nvidia*"))),
        )
    }


def probe_toolkit(root: Path = _ROOT) -> dict[str, Any]:
    """The NVIDIA Container Toolkit: its programs, its configuration, the CDI specs that it or others wrote."""
    text = read(root / "etc/nvidia-container-runtime/config.toml") or ""
    no_cgroups = re.search(r"^\s*no-cgroups\s*=\s*(true|false)", text, re.MULTILINE)
    return {
        "toolkit": Toolkit(
            path=shutil.which("nvidia-ctk") or "",
            hook=shutil.which("nvidia-container-runtime-hook") or "",
            no_cgroups=no_cgroups[1] == "true" if no_cgroups else None,
            cdi_specs=read_cdi_specs(tuple(str(root / each.lstrip("/")) for each in CDI_FOLDERS)),
        )
    }
