"""Machines with GPUs, as the real command line sees them through the real NVML binding; the driver is a stand-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from envkit.host.facts import Gpu, HostFacts, MigDevice
from tests.integration.command import Cli
from tests.integration.standin import build_nvml, play

if TYPE_CHECKING:
    from pathlib import Path

NVML_LIMIT = 5
"""Seconds that the probe may take (host/probes)."""

RTX_3090 = """\
gpu NVIDIA GeForce RTX 3090
uuid GPU-5c7a1a1e-7c6e-4d0a-8e0b-000000000000
memory 25769803776
capability 8.6
"""
A100 = """\
gpu NVIDIA A100-SXM4-40GB
uuid GPU-a100
memory 42949672960
capability 8.0
mig 1
fabric 0
slice NVIDIA A100-SXM4-40GB MIG 1g.5gb
uuid MIG-1111
memory 5100273664
slice NVIDIA A100-SXM4-40GB MIG 3g.20gb
uuid MIG-2222
memory 20937965568
"""


def h100(index: int) -> str:
    return f"gpu NVIDIA H100 80GB HBM3\nuuid GPU-{index}\nmemory 85520809984\ncapability 9.0\nmig 0\nfabric 3\n"


Machine = Callable[[str], Cli]


@pytest.fixture(scope="session")
def nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the stand-in library."""
    return build_nvml(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(nvml: Path, tmp_path: Path) -> Machine:
    """The command line on the machine that the text describes."""

    def describe(text: str) -> Cli:
        path = tmp_path / "machine"
        path.write_text(text)
        return Cli(home=tmp_path / "home", matrix=None, cwd=tmp_path, env=play(nvml, path))

    return describe


def facts(cli: Cli) -> HostFacts:
    return msgspec.json.decode(cli("host", "--json", timeout=60).stdout, type=HostFacts)


# Machines that work ---------------------------------------------------------------------------------------------------


def test_one_rtx_3090(machine: Machine) -> None:
    found = facts(machine(f"driver 580.82.07\ncuda 13000\n{RTX_3090}"))

    assert found.gpus == (
        Gpu(
            index=0,
            name="NVIDIA GeForce RTX 3090",
            uuid="GPU-5c7a1a1e-7c6e-4d0a-8e0b-000000000000",
            memory_mib=24576,
            compute_capability="8.6",
            mig=False,
        ),
    )
    assert (found.driver, found.cuda_driver, found.nvml, found.gpu_problem) == ("580.82.07", "13.0", "ok", None)
    assert found.unknown == {}


def test_eight_h100_on_a_fabric(machine: Machine) -> None:
    found = facts(machine("driver 570.133.20\ncuda 12080\n" + "".join(map(h100, range(8)))))

    assert found.gpus == tuple(
        Gpu(index, "NVIDIA H100 80GB HBM3", f"GPU-{index}", 81559, "9.0", mig=False, fabric="completed")
        for index in range(8)
    )
    assert (found.driver, found.cuda_driver) == ("570.133.20", "12.8")


@pytest.mark.parametrize(
    ("state", "word"), [(0, "not supported"), (1, "not started"), (2, "in progress"), (3, "completed"), (4, None)]
)
def test_the_fabric_s_state(machine: Machine, state: int, word: str | None) -> None:
    (gpu,) = facts(machine(h100(0).replace("fabric 3", f"fabric {state}"))).gpus or ()

    assert gpu.fabric == word


def test_an_a100_cut_into_slices(machine: Machine) -> None:
    found = facts(machine(f"driver 550.54.14\ncuda 12040\n{A100}"))

    assert found.gpus == (
        Gpu(
            index=0,
            name="NVIDIA A100-SXM4-40GB",
            uuid="GPU-a100",
            memory_mib=40960,
            compute_capability="8.0",
            mig=True,
            mig_devices=(
                MigDevice(0, "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "MIG-1111", 4864),
                MigDevice(1, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "MIG-2222", 19968),
            ),
            fabric="not supported",
        ),
    )


def test_what_a_driver_does_not_tell_is_not_known(machine: Machine) -> None:
    silent = ["GetMemoryInfo", "GetCudaComputeCapability", "GetMigMode", "GetGpuFabricInfo"]
    errors = "".join(f"error nvmlDevice{name} {code}\n" for name, code in zip(silent, (4, 3, 13, 2), strict=True))

    assert facts(machine(f"{RTX_3090}{errors}")).gpus == (
        Gpu(0, "NVIDIA GeForce RTX 3090", "GPU-5c7a1a1e-7c6e-4d0a-8e0b-000000000000", mig=False),
    )


def test_a_driver_that_cannot_be_closed_has_told_all_the_same(machine: Machine) -> None:
    found = facts(machine(f"{RTX_3090}error nvmlShutdown 15\n"))

    assert [each.name for each in found.gpus or ()] == ["NVIDIA GeForce RTX 3090"]


def test_a_driver_without_gpus_on_a_machine_without(machine: Machine) -> None:
    found = facts(machine("driver 580.82.07\n"))

    assert found.gpus == ()
    assert found.gpu_problem == ("its driver does not see it" if found.hardware else None)
    assert found.driver == "580.82.07"


# Drivers that fail ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "name", "problem"),
    [
        (4, "NO_PERMISSION", "Insufficient Permissions"),
        (15, "GPU_IS_LOST", "GPU is lost"),
        (18, "LIB_RM_VERSION_MISMATCH", "RM has detected an NVML/RM version mismatch."),
        (999, "UNKNOWN", "Unknown Error"),
        (77, "77", "stand-in error 77"),
    ],
)
def test_a_driver_that_does_not_answer(machine: Machine, code: int, name: str, problem: str) -> None:
    cli = machine(f"{RTX_3090}error nvmlInitWithFlags {code}\n")

    found = facts(cli)

    assert (found.gpus, found.nvml, found.driver) == (None, name, None)
    assert found.gpu_problem == f"its driver does not answer: {problem}"
    refusal = cli("plan", "llamafactory", status=4)
    assert refusal.stderr.splitlines()[0] == f"error: there is an NVIDIA GPU, but its driver does not answer: {problem}"


def test_a_driver_that_is_not_loaded_tells_nothing_of_a_gpu(machine: Machine) -> None:
    found = facts(machine(f"{RTX_3090}error nvmlInitWithFlags 9\n"))

    assert (found.nvml, found.driver) == ("DRIVER_NOT_LOADED", None)
    if found.hardware:
        assert (found.gpus, found.gpu_problem) == (None, "its driver does not answer: Driver Not Loaded")
    else:
        assert (found.gpus, found.gpu_problem) == ((), None)


@pytest.mark.parametrize("function", ["nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetUUID"])
def test_a_gpu_that_was_lost_is_a_problem_and_the_driver_is_known(machine: Machine, function: str) -> None:
    found = facts(machine(f"driver 550.54.14\ncuda 12040\n{RTX_3090}error {function} 15\n"))

    assert (found.gpus, found.nvml) == (None, "GPU_IS_LOST")
    assert (found.driver, found.cuda_driver) == ("550.54.14", "12.4")
    assert found.gpu_problem == "its driver does not describe it: GPU is lost"


def test_a_driver_that_hangs_is_not_waited_for(machine: Machine) -> None:
    cli = machine(f"hang 120\n{RTX_3090}")

    found = msgspec.json.decode(cli("host", "--json", timeout=NVML_LIMIT + 5).stdout, type=HostFacts)

    assert found.unknown == {"nvml": f"no answer within {NVML_LIMIT} s"}
    assert (found.gpus, found.nvml) == (None, None)
    refusal = cli("plan", "llamafactory", status=4, timeout=NVML_LIMIT + 5)
    expected = (
        f"there is an NVIDIA GPU, but its driver does not answer: no answer within {NVML_LIMIT} s"
        if found.hardware
        else "whether this machine has an NVIDIA GPU is not known"
    )
    assert refusal.stderr.splitlines()[0] == f"error: {expected}"


# Plans ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "environment"),
    [
        (f"driver 580.82.07\ncuda 13000\n{RTX_3090}", "llamafactory-cu130"),
        (f"driver 535.183.01\ncuda 12020\n{RTX_3090}", "llamafactory-cu128"),
        ("driver 570.133.20\ncuda 12080\n" + "".join(map(h100, range(8))), "llamafactory-cu128"),
        (f"driver 580.82.07\ncuda 13000\n{A100}", "llamafactory-cu130"),
    ],
)
def test_the_environment_for_a_machine_here_and_elsewhere(
    machine: Machine, tmp_path: Path, description: str, environment: str
) -> None:
    cli = machine(description)

    plan = cli("plan", "llamafactory", "--json").json

    assert (plan["environment"], plan["device"]) == (environment, "gpu")
    elsewhere = replace(cli, env={}, home=tmp_path / "elsewhere")
    planned = elsewhere("plan", "llamafactory", "--json", "--facts", "-", stdin=cli("host", "--json").stdout).json
    assert (planned["environment"], planned["device"]) == (environment, "gpu")


def test_a_driver_that_is_too_old_for_everything(machine: Machine) -> None:
    refusal = machine(f"driver 470.256.02\ncuda 11040\n{RTX_3090}")("plan", "llamafactory", status=4)

    assert refusal.stderr.splitlines()[0] == "error: no environment of llamafactory runs on this machine's GPU"
