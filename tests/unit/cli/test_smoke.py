"""`envkit smoke`, with programs that say what the tests want them to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envkit.host.facts import Gpu, HostFacts
from envkit.lock.lockfile import read_lock
from envkit.smoke.check import Check
from tests.fakes import FakeBackend
from tests.unit.cli.test_verify import Inside

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit, Machine

WELL = b'loading\n{"faults": [], "metrics": {"error": 0.5}, "detail": "it agrees"}\n\npeak memory: 2048 KiB\n'
A100 = Gpu(0, "NVIDIA A100-SXM4-80GB", "GPU-0", 81920, "8.0")


@pytest.fixture
def well(machine: Machine) -> Machine:
    machine.docker = FakeBackend(output=WELL, status=0)
    return machine


def test_a_dry_run_names_the_checks_and_does_nothing(envkit: Envkit, machine: Machine) -> None:
    result = envkit("smoke", "demo-cu130", "--dry-run", "--json")

    assert result.data == ["import", "cli", "device", "sdpa", "flash-attn", "bnb-4bit", "bnb-8bit", "multi-gpu"]
    assert (machine.docker.made, machine.docker.started) == ([], [])


def test_programs_run_offline_in_a_folder_that_goes(envkit: Envkit, well: Machine) -> None:
    result = envkit("smoke", "demo-cu130", "--only", "device,sdpa", "--json")

    assert result.status == 0
    named = {key: result.data[key] for key in ("environment", "backend", "device", "result")}
    assert named == {"environment": "demo-cu130", "backend": "docker", "device": "cpu", "result": "pass"}
    assert [(each["name"], each["result"], each["detail"], each["metrics"]) for each in result.data["checks"]] == [
        (name, "pass", "it agrees", {"error": 0.5}) for name in ("device", "sdpa")
    ]
    launches = {each.app: each for each in well.docker.started}
    assert launches["device"].argv == ("python", "smoke/measure.py", "python", "smoke/device.py", "cpu", "0")
    for launch in launches.values():
        assert (launch.network, launch.env["HF_HUB_OFFLINE"], launch.gpus) == (False, "1", ())
        assert [(each.target, each.read_only) for each in launch.mounts if each.read_only] == [
            ("/workspace/smoke", True)
        ]
        assert not launch.mounts[0].source.exists()
    assert well.docker.instances() == []


def test_a_folder_of_one_s_own_stays_with_all_that_ran(envkit: Envkit, well: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "kept"

    assert envkit("smoke", "demo-cu130", "--only", "device", "--workspace", str(folder)).status == 0

    assert (folder / "smoke/device.py").is_file()


def test_what_was_seen_before_ctrl_c_is_in_the_page(
    envkit: Envkit, well: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(room: object, name: str, *argv: str) -> Check:
        if name == "sdpa":
            raise KeyboardInterrupt
        return Check(name=name, result="pass", detail="the matrices agree")

    monkeypatch.setattr("envkit.smoke.run.check_program", press)
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # one after the other
    page = tmp_path / "page.html"

    assert envkit("smoke", "demo-cu130", "--only", "device,sdpa", "--report", str(page)).status == 130
    assert "the matrices agree" in page.read_text()
    assert "it was stopped" in page.read_text()


@pytest.mark.parametrize("output", [b"Killed\n", b""])
def test_a_program_that_says_nothing_is_an_error(envkit: Envkit, machine: Machine, output: bytes) -> None:
    machine.docker = FakeBackend(output=output, status=0)

    result = envkit("smoke", "demo-cu130", "--only", "device")

    assert result.status == 1
    assert result.out.splitlines()[0] == "demo-cu130 on the CPU, backend docker: error"
    assert "device: `python smoke/device.py cpu 0` ended well and said nothing" in result.out


def test_a_fault_fails(envkit: Envkit, machine: Machine) -> None:
    machine.docker = FakeBackend(output=b'{"faults": ["one", "two"], "metrics": {}, "detail": "x"}\n', status=0)

    result = envkit("smoke", "demo-cu130", "--only", "device")

    assert result.status == 1
    assert "device: one (and 1 more)\n  - one\n  - two\n  command: python smoke/device.py cpu 0\n" in result.out


def test_what_is_no_number_is_null_in_json(envkit: Envkit, machine: Machine) -> None:
    machine.docker = FakeBackend(output=b'{"faults": ["far"], "metrics": {"error": NaN}, "detail": "x"}\n', status=0)

    result = envkit("smoke", "demo-cu130", "--only", "device", "--json")

    assert result.data["checks"][0]["metrics"] == {"error": None}


def test_what_was_asked_for_and_is_skipped_fails(envkit: Envkit, well: Machine) -> None:
    result = envkit("smoke", "demo-cu130", "--only", "device,flash-attn", "--json")

    assert (result.status, result.data["result"]) == (1, "fail")
    assert [(each["result"], each["detail"]) for each in result.data["checks"]] == [
        ("pass", "it agrees"),
        ("skip", "demo-cu130 has no flash-attn"),
    ]


def test_gpus_are_handed_over_and_two_are_needed_for_multi_gpu(envkit: Envkit, well: Machine) -> None:
    well.facts = HostFacts(gpus=(A100,), driver="580.82.07")

    result = envkit("smoke", "demo-cu130", "--only", "device,multi-gpu", "--json")

    assert (result.status, result.data["device"]) == (1, "gpu")
    assert [each["detail"] for each in result.data["checks"]] == ["it agrees", "it needs 2 GPUs, and 1 are there"]
    (device,) = [each for each in well.docker.started if each.app == "device"]
    assert device.argv[-2:] == ("gpu", "1")
    assert device.gpus == (A100,)


def test_a_gpu_that_is_asked_for_and_is_not_there_is_an_error(envkit: Envkit, machine: Machine) -> None:
    result = envkit("smoke", "demo", "--device", "gpu")

    assert (result.status, result.out) == (4, "")
    assert result.err.startswith("error: there is no NVIDIA GPU\n")


def test_an_unknown_check_is_named_before_anything_is_made(envkit: Envkit, machine: Machine) -> None:
    result = envkit("smoke", "demo-cu130", "--only", "devise")

    assert (result.status, result.err) == (
        2,
        "error: unknown check of demo-cu130: devise\n\nhint: did you mean `device`?\n",
    )
    assert machine.docker.made == []


def test_what_was_seen_is_recorded(envkit: Envkit, well: Machine, share: Path) -> None:
    assert envkit("smoke", "demo-cu130", "--only", "device", "--record").status == 0

    text = (share / "images/demo/cu130/evidence.json").read_text()
    assert '"level": "cpu", "job": "device", "backend": "docker", "result": "pass"' in text


def test_a_companion_of_another_cuda_turns_import_red(envkit: Envkit, well: Machine, matrix: Matrix) -> None:
    pins = read_lock(matrix.environment("demo-cu130")).packages
    well.docker.answer = Inside(matrix)
    assert envkit("smoke", "demo-cu130", "--only", "import,cli").status == 0
    cuda = {"torch": "13.0", "torchaudio": "12.8"}
    well.docker.answer = Inside(matrix, {"cuda": cuda, "distributions": (*pins.items(), ("torchaudio", "2.11.0"))})

    result = envkit("smoke", "demo-cu130", "--only", "import,cli", "--json")

    assert result.status == 1
    found = {each["name"]: each for each in result.data["checks"]}
    assert {name: each["result"] for name, each in found.items()} == {"import": "fail", "cli": "pass"}
    assert any("torchaudio" in each and "12.8" in each for each in found["import"]["faults"]), found["import"]["faults"]
