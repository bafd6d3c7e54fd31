"""Looks at this machine: small probes, none of which raises. The only module that speaks NVML."""

from __future__ import annotations

import re
from pathlib import Path

from envkit.host.facts import Gpu, HostFacts

_NVIDIA = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")
"""VGA and 3D controllers: a GPU's audio and USB functions carry other classes."""


def probe_host() -> HostFacts:
    """The facts of this machine."""
    try:
        import pynvml
    except ImportError:  # pragma: no cover  # it is a dependency; a broken install must still plan for the CPU
        return _without("the package nvidia-ml-py is missing")
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return _without(f"its driver does not answer: {error}")
    try:
        gpus = tuple(_gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        return HostFacts(
            gpus=gpus,
            driver=_numbers(_text(pynvml.nvmlSystemGetDriverVersion())),
            cuda_driver=_cuda(pynvml.nvmlSystemGetCudaDriverVersion_v2()),
            gpu_problem="its driver does not see it" if not gpus and _nvidia_hardware() else None,
        )
    except pynvml.NVMLError as error:
        return HostFacts(gpu_problem=f"its driver does not describe it: {error}")
    finally:
        pynvml.nvmlShutdown()


def _without(problem: str) -> HostFacts:
    return HostFacts(gpu_problem=problem) if _nvidia_hardware() else HostFacts(gpus=())


def _gpu(index: int) -> Gpu:
    import pynvml

    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        index=index,
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        memory_mib=pynvml.nvmlDeviceGetMemoryInfo(handle).total // 2**20,
        compute_capability=f"{major}.{minor}",
    )


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _numbers(text: str) -> str | None:
    """The version without what a vendor hung on to it."""
    match = re.match(r"[0-9]+(\.[0-9]+)*", text)
    return match[0] if match else None


def _cuda(number: int) -> str:
    """NVML counts 1000 * major + 10 * minor: 12080 is 12.8."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _nvidia_hardware() -> bool:
    """Whether the PCI bus has an NVIDIA GPU, or WSL lends one, driver or not."""
    if Path("/dev/dxg").exists():
        return True
    for device in Path("/sys/bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.startswith(_NVIDIA) and kind.startswith(_DISPLAY_CLASSES):
            return True
    return False
