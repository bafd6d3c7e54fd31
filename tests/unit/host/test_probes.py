"""What NVML and the PCI bus say becomes facts; pynvml stands in for itself, because few machines have a GPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from envkit.host.facts import Gpu, HostFacts
from envkit.host.probes import probe_host

if TYPE_CHECKING:
    from pathlib import Path

Install = Callable[..., None]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes pynvml describe a machine with two H200, but for the functions that are named; an error is raised."""

    def install(**answers: Any) -> None:
        described = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 2,
            "nvmlDeviceGetCudaComputeCapability": (9, 0),
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetUUID": b"GPU-1234",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=143771 * 2**20 + 5),
            "nvmlSystemGetDriverVersion": b"580.82.07",
            "nvmlSystemGetCudaDriverVersion_v2": 13010,
            **answers,
        }
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        for name, answer in described.items():
            monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: _give(answer))

    return install


def _give(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


@pytest.fixture
def hardware(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    return lambda there: monkeypatch.setattr("envkit.host.probes._nvidia_hardware", lambda: there)


def test_a_machine_with_gpus(nvml: Install) -> None:
    nvml()
    gpus = [Gpu(index, "NVIDIA H200", "GPU-1234", 143771, "9.0") for index in (0, 1)]

    assert probe_host() == HostFacts(gpus=tuple(gpus), driver="580.82.07", cuda_driver="13.1")


@pytest.mark.parametrize(("number", "version"), [(12080, "12.8"), (12040, "12.4"), (11010, "11.1"), (13000, "13.0")])
def test_nvml_s_number_for_a_cuda_version(nvml: Install, number: int, version: str) -> None:
    nvml(nvmlSystemGetCudaDriverVersion_v2=number)

    assert probe_host().cuda_driver == version


@pytest.mark.parametrize(
    ("text", "version"), [("550.54.14", "550.54.14"), (b"535.183.01-grid", "535.183.01"), ("[N/A]", None)]
)
def test_a_driver_s_version_is_its_numbers(nvml: Install, text: str | bytes, version: str | None) -> None:
    nvml(nvmlSystemGetDriverVersion=text)

    assert probe_host().driver == version


def test_a_machine_without_gpu_and_driver(nvml: Install, hardware: Callable[[bool], None]) -> None:
    nvml(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    hardware(False)

    assert probe_host() == HostFacts(gpus=())


def test_a_gpu_whose_driver_is_not_there_is_a_problem_and_not_a_machine_without_gpu(
    nvml: Install, hardware: Callable[[bool], None]
) -> None:
    nvml(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))
    hardware(True)

    assert probe_host() == HostFacts(gpu_problem="its driver does not answer: NVML Shared Library Not Found")


def test_a_driver_that_fails_later_is_a_problem(nvml: Install) -> None:
    nvml(nvmlDeviceGetMemoryInfo=pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST))

    assert probe_host() == HostFacts(gpu_problem="its driver does not describe it: GPU is lost")


def test_a_driver_that_sees_no_gpu_where_the_bus_has_one_is_a_problem(
    nvml: Install, hardware: Callable[[bool], None]
) -> None:
    nvml(nvmlDeviceGetCount=0)
    hardware(True)

    assert probe_host().gpu_problem is not None


# The PCI bus ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "there"),
    [
        ({}, False),
        ({"0000:01:00.0": ("0x10de", "0x030000")}, True),
        ({"0000:01:00.0": ("0x10de", "0x030200")}, True),
        ({"0000:01:00.1": ("0x10de", "0x040300")}, False),  # a GPU's audio
        ({"0000:01:00.0": ("0x1002", "0x030000")}, False),  # someone else's GPU
        ({"0000:00:00.0": None, "0000:01:00.0": ("0x10de", "0x030000")}, True),
    ],
)
def test_the_bus_tells_whether_there_is_an_nvidia_gpu(
    nvml: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    devices: dict[str, tuple[str, str] | None],
    there: bool,
) -> None:
    monkeypatch.setattr("envkit.host.probes.Path", lambda path: tmp_path / path.lstrip("/"))
    for name, words in devices.items():
        folder = tmp_path / "sys/bus/pci/devices" / name
        folder.mkdir(parents=True)
        for file, word in zip(("vendor", "class"), words or (), strict=False):
            (folder / file).write_text(f"{word}\n")
    nvml(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED))

    assert (probe_host().gpu_problem == "its driver does not answer: Driver Not Loaded") is there


def test_windows_lends_its_gpu_to_wsl(nvml: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.host.probes.Path", lambda path: tmp_path / path.lstrip("/"))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/dxg").touch()
    nvml(nvmlInit=pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND))

    assert probe_host().gpu_problem == "its driver does not answer: NVML Shared Library Not Found"
