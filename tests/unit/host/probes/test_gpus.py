"""What NVML, the PCI bus, the kernel and the toolkit's files say; pynvml stands in for itself, as few machines have a GPU."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pynvml
import pytest

from envkit.host.facts import CdiSpec, Gpu, KernelDriver, MigDevice, Toolkit
from envkit.host.probes.gpus import judge_gpus, probe_kernel_driver, probe_nvml, probe_pci, probe_toolkit

if TYPE_CHECKING:
    from tests.unit.host.probes.conftest import Tree

Install = Callable[..., None]
H200 = Gpu(0, "NVIDIA H200", "GPU-1234", 143771, "9.0", mig=False)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes pynvml describe a machine with an H200, but for the functions that are named; an error is raised."""

    def install(**answers: Any) -> None:
        described = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetCount": 1,
            "nvmlDeviceGetCudaComputeCapability": (9, 0),
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetUUID": b"GPU-1234",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=143771 * 2**20 + 5),
            "nvmlDeviceGetMigMode": [0, 0],
            "nvmlDeviceGetGpuFabricInfo": error("NOT_SUPPORTED"),
            "nvmlSystemGetDriverVersion": b"580.82.07",
            "nvmlSystemGetCudaDriverVersion_v2": 13010,
            **answers,
        }
        monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByIndex", lambda index: index)
        for name, answer in described.items():
            monkeypatch.setattr(pynvml, name, lambda *_, answer=answer: _give(answer))

    return install


def error(name: str) -> Exception:
    found: Exception = pynvml.NVMLError(getattr(pynvml, f"NVML_ERROR_{name}"))
    return found


def _give(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_a_machine_with_gpus(nvml: Install) -> None:
    nvml(nvmlDeviceGetCount=2)

    assert probe_nvml() == {
        "nvml": "ok",
        "driver": "580.82.07",
        "cuda_driver": "13.1",
        "gpus": (H200, Gpu(1, "NVIDIA H200", "GPU-1234", 143771, "9.0", mig=False)),
    }


@pytest.mark.parametrize(("number", "version"), [(12080, "12.8"), (12040, "12.4"), (11010, "11.1"), (13000, "13.0")])
def test_nvml_s_number_for_a_cuda_version(nvml: Install, number: int, version: str) -> None:
    nvml(nvmlSystemGetCudaDriverVersion_v2=number)

    assert probe_nvml()["cuda_driver"] == version


def test_a_driver_that_does_not_tell_its_cuda_still_tells_its_gpus(nvml: Install) -> None:
    nvml(nvmlSystemGetCudaDriverVersion_v2=error("FUNCTION_NOT_FOUND"))

    told = probe_nvml()

    assert (told["nvml"], told["driver"], told["cuda_driver"], len(told["gpus"])) == ("ok", "580.82.07", None, 1)


@pytest.mark.parametrize(
    ("text", "version"), [("550.54.14", "550.54.14"), (b"535.183.01-grid", "535.183.01"), ("[N/A]", None)]
)
def test_a_driver_s_version_is_its_numbers(nvml: Install, text: str | bytes, version: str | None) -> None:
    nvml(nvmlSystemGetDriverVersion=text)

    assert probe_nvml()["driver"] == version


def test_slices_that_were_not_made_are_passed_over(nvml: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml(nvmlDeviceGetMigMode=[1, 1], nvmlDeviceGetMaxMigDeviceCount=3, nvmlDeviceGetName=b"NVIDIA H200 MIG 1g.18gb")
    monkeypatch.setattr(
        pynvml,
        "nvmlDeviceGetMigDeviceHandleByIndex",
        lambda _, index: _give("slice" if index == 2 else error("NOT_FOUND")),
    )

    (gpu,) = probe_nvml()["gpus"]

    assert gpu.mig is True
    assert gpu.mig_devices == (MigDevice(2, "NVIDIA H200 MIG 1g.18gb", "GPU-1234", 143771),)


@pytest.mark.parametrize(
    "refusal", ["NOT_SUPPORTED", "NO_PERMISSION", "FUNCTION_NOT_FOUND", "INVALID_ARGUMENT", "NOT_FOUND"]
)
def test_what_a_driver_does_not_tell_is_not_known(nvml: Install, refusal: str) -> None:
    names = ("CudaComputeCapability", "MemoryInfo", "MigMode", "GpuFabricInfo")
    nvml(**{f"nvmlDeviceGet{name}": error(refusal) for name in names})

    assert probe_nvml()["gpus"] == (Gpu(0, "NVIDIA H200", "GPU-1234", mig=False),)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LIBRARY_NOT_FOUND", "NVML Shared Library Not Found"),
        ("DRIVER_NOT_LOADED", "Driver Not Loaded"),
        ("LIB_RM_VERSION_MISMATCH", "RM has detected an NVML/RM version mismatch."),
    ],
)
def test_a_driver_that_does_not_answer(nvml: Install, name: str, text: str) -> None:
    nvml(nvmlInit=error(name))

    assert probe_nvml() == {"nvml": name, "gpu_problem": f"its driver does not answer: {text}"}


def test_a_driver_that_fails_later_has_told_its_version(nvml: Install) -> None:
    nvml(nvmlDeviceGetMemoryInfo=error("GPU_IS_LOST"), nvmlShutdown=error("GPU_IS_LOST"))

    assert probe_nvml() == {
        "nvml": "GPU_IS_LOST",
        "driver": "580.82.07",
        "cuda_driver": "13.1",
        "gpu_problem": "its driver does not describe it: GPU is lost",
    }


# Whether there is a GPU -----------------------------------------------------------------------------------------------

NOT_LOADED = {"nvml": "DRIVER_NOT_LOADED", "gpu_problem": "its driver does not answer: Driver Not Loaded"}
LOST = {"nvml": "GPU_IS_LOST", "gpu_problem": "its driver does not describe it: GPU is lost"}
BUS = {"hardware": ("0000:01:00.0",)}
NO_BUS: dict[str, Any] = {"hardware": ()}


@pytest.mark.parametrize(
    ("told", "silence", "gpus", "problem"),
    [
        ({"nvml": "ok", "gpus": (H200,), **BUS}, None, (H200,), None),
        ({"nvml": "ok", "gpus": (H200,), **NO_BUS}, None, (H200,), None),  # a sandbox without a bus
        ({"nvml": "ok", "gpus": (), **NO_BUS}, None, (), None),
        ({"nvml": "ok", "gpus": (), **BUS}, None, (), "its driver does not see it"),
        ({**NOT_LOADED, **BUS}, None, None, "its driver does not answer: Driver Not Loaded"),
        ({**NOT_LOADED, **NO_BUS}, None, (), None),
        (NOT_LOADED, None, None, None),  # nobody could look at the bus
        ({**LOST, **BUS}, None, None, "its driver does not describe it: GPU is lost"),
        ({**LOST, **NO_BUS}, None, None, "its driver does not describe it: GPU is lost"),
        (LOST, None, None, "its driver does not describe it: GPU is lost"),
        (BUS, "no answer within 5 s", None, "its driver does not answer: no answer within 5 s"),
        (NO_BUS, "no answer within 5 s", None, None),  # not known, which is not none
        ({}, "no answer within 5 s", None, None),
    ],
)
def test_no_gpu_is_what_both_the_driver_and_the_bus_say(
    told: dict[str, Any], silence: str | None, gpus: tuple[Gpu, ...] | None, problem: str | None
) -> None:
    assert judge_gpus(told, silence) == {"gpus": gpus, "gpu_problem": problem}


# The PCI bus ----------------------------------------------------------------------------------------------------------


def pci(address: str, vendor: str, kind: str, device: str = "0x2684") -> dict[str, str | None]:
    folder = f"sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": f"{vendor}\n", f"{folder}/class": f"{kind}\n", f"{folder}/device": f"{device}\n"}


@pytest.mark.parametrize(
    ("files", "hardware"),
    [
        ({}, ()),
        (pci("0000:01:00.0", "0x10de", "0x030000"), ("0000:01:00.0",)),
        (pci("0000:01:00.0", "0x10de", "0x030200"), ("0000:01:00.0",)),
        (pci("0000:01:00.1", "0x10de", "0x040300"), ()),  # a GPU's audio
        (pci("0000:01:00.0", "0x1002", "0x030000"), ()),  # someone else's GPU
        (
            {
                "sys/bus/pci/devices/0000:00:00.0": None,
                **pci("0000:02:00.0", "0x10de", "0x030200"),
                **pci("0000:01:00.0", "0x10de", "0x030200"),
            },
            ("0000:01:00.0", "0000:02:00.0"),
        ),
        ({"dev/dxg": "", "usr/lib/wsl/lib/libnvidia-ml.so.1": ""}, ("wsl",)),  # Windows lends its GPU
        ({"dev/dxg": ""}, ()),  # of another maker
    ],
)
def test_the_bus_tells_whether_there_is_an_nvidia_gpu(
    tree: Tree, files: dict[str, str | None], hardware: tuple[str, ...]
) -> None:
    devices = () if hardware == ("wsl",) else ("2684",) * len(hardware)
    assert probe_pci(tree(files)) == {
        "hardware": hardware,
        "pci_devices": devices,
        "nvswitches": 0,
        "fabric_manager": None,
    }


@pytest.mark.parametrize(
    ("files", "manager"),
    [
        ({"proc/812/comm": "nv-fabricmanage\n", "proc/1/comm": "systemd\n"}, "running"),
        ({"proc/1/comm": "systemd\n", "usr/bin/nv-fabricmanager": ""}, "installed"),
        ({"proc/1/comm": "systemd\n"}, "missing"),
        ({"proc/1/comm": "bash\n", ".dockerenv": ""}, None),  # the host's processes do not show
    ],
)
def test_nvswitches_need_their_manager(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, files: dict[str, str | None], manager: str | None
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("container", raising=False)
    switches = pci("0000:05:00.0", "0x10de", "0x068000") | pci("0000:06:00.0", "0x10de", "0x068000")

    assert probe_pci(tree(files | switches)) == {
        "hardware": (),
        "pci_devices": (),
        "nvswitches": 2,
        "fabric_manager": manager,
    }


# The kernel -----------------------------------------------------------------------------------------------------------

OPEN = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.82.07  Release Build  (dvs-builder@U22-I3)  "
    "Wed Aug 27 18:31:46 UTC 2025\nGCC version:  gcc version 12.3.0 (Ubuntu 12.3.0-1ubuntu1~22.04)\n"
)
PROPRIETARY = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
    "GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)\n"
)


@pytest.mark.parametrize(
    ("text", "version", "is_open"),
    [
        (OPEN, "580.82.07", True),
        (OPEN.replace("x86_64", "aarch64"), "580.82.07", True),
        (PROPRIETARY, "535.183.01", False),
        ("NVRM version: something else\n", None, None),
    ],
)
def test_the_kernel_s_part_of_the_driver(tree: Tree, text: str, version: str | None, is_open: bool | None) -> None:
    root = tree(
        {
            "proc/driver/nvidia/version": text,
            "proc/modules": "nvidia_uvm 4931584 8 - Live 0x0 (OE)\nnvidia 104071168 8 nvidia_uvm, Live 0x0 (OE)\n"
            "nvidia_peermem 1 0 - Live 0x0\next4 1 1 - Live 0x0\n",
            "dev/nvidiactl": "",
            "dev/nvidia0": "",
            "dev/nvidia-uvm": "",
            "dev/null": "",
        }
    )

    assert probe_kernel_driver(root) == {
        "kernel_driver": KernelDriver(
            version,
            open=is_open,
            modules=("nvidia", "nvidia_uvm"),
            nodes=("/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"),
        )
    }


def test_a_kernel_without_the_driver(tree: Tree) -> None:
    assert probe_kernel_driver(tree({"proc/modules": "nouveau 1 0 - Live 0x0\n"})) == {
        "kernel_driver": KernelDriver(modules=("nouveau",), nodes=())
    }


def test_a_kernel_that_lists_no_modules(tree: Tree) -> None:
    assert probe_kernel_driver(tree()) == {"kernel_driver": KernelDriver(modules=None, nodes=())}


# The toolkit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "no_cgroups"),
    [
        ("[nvidia-container-cli]\nno-cgroups = true\n", True),
        ('[nvidia-container-cli]\nload-kmods = true\n  no-cgroups=false\nuser = "root:video"\n', False),
        ("[nvidia-container-cli]\n#no-cgroups = true\n", None),
        ("", None),
    ],
)
def test_the_toolkit_s_configuration(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, config: str, no_cgroups: bool | None
) -> None:
    monkeypatch.setenv("PATH", "")
    root = tree({"etc/nvidia-container-runtime/config.toml": config})

    assert probe_toolkit(root) == {"toolkit": Toolkit(no_cgroups=no_cgroups)}


def test_the_toolkit_s_programs_and_specs(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(
        {
            "bin/nvidia-ctk": "",
            "bin/nvidia-container-runtime-hook": "",
            "etc/cdi/nvidia.yaml": "kind: nvidia.com/gpu\ndevices: [{name: all}]\n"
            "containerEdits: {mounts: [{hostPath: /usr/lib/libcuda.so.580.82.07}]}\n",
            "var/run/cdi/nic.yaml": "kind: vendor.com/nic\ndevices: [{name: a}]\n",
        }
    )
    for each in (root / "bin").iterdir():
        each.chmod(0o755)
    monkeypatch.setenv("PATH", str(root / "bin"))

    assert probe_toolkit(root) == {
        "toolkit": Toolkit(
            path=f"{root}/bin/nvidia-ctk",
            hook=f"{root}/bin/nvidia-container-runtime-hook",
            no_cgroups=None,
            cdi_specs=(CdiSpec(f"{root}/etc/cdi/nvidia.yaml", ("nvidia.com/gpu=all",), "580.82.07"),),
        )
    }
