"""`envkit doctor`."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace

from envkit.doctor.repair import Done, Repair
from envkit.host.facts import Endpoint, HostFacts
from tests.unit.doctor.triggers import GOOD, MISSING, NO_GPU, PODMAN_FAILS, STOPPED, silent, with_

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit, Machine

DOWN = Endpoint("huggingface", "https://huggingface.co", "timed out")
UP = tuple(GOOD.endpoints or ())
BROKEN = with_(engine=STOPPED, driver="550.54.14", compilers=())
"""Something of every severity, and something to repair."""


# What is told ---------------------------------------------------------------------------------------------------------


def test_a_machine_with_something_of_every_severity(envkit: Envkit, machine: Machine) -> None:
    machine.facts, machine.network = BROKEN, UP

    result = envkit("doctor", "demo")

    assert result.status == 1
    assert result.err == ""
    assert result.out == (
        "✗ Docker is installed and does not answer  engine-stopped\n"
        "    seen       nobody answers at unix:///var/run/docker.sock\n"
        "    otherwise  Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
        "    do         `sudo systemctl start docker` (the snap: `sudo snap start docker`); `sudo journalctl -u docker -n 50`"
        " if it does not start\n"
        "               or `envkit run FRAMEWORK APP --backend venv`\n"
        "\n"
        "! no C compiler is installed, and Triton needs one in a venv  compiler-missing\n"
        "    seen       no cc, gcc or clang on the PATH, on Ubuntu 22.04.5 LTS\n"
        "    otherwise  RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set"
        " triton.knobs.build.impl.\n"
        "    do         `sudo apt-get install gcc libc6-dev`; images have it inside\n"
        "\n"
        "i a newer driver would allow demo-cu130  driver-holds-back\n"
        "    seen       driver 550.54.14; 580.65.06 or later is needed; planned: demo-cu124\n"
        "    do         nothing, if demo-cu124 will do; else a driver from 580.65.06 on: Ubuntu"
        " `sudo apt-get install nvidia-driver-580`\n"
        "               where the driver belongs to somebody else (a rented container), choose an instance with a newer one\n"
        "\n"
        "1 error, 1 warning, 1 note\n"
        "`envkit doctor --fix` does what can be done safely\n"
    )


def test_a_machine_with_nothing_wrong(envkit: Envkit, machine: Machine) -> None:
    machine.facts, machine.network = GOOD, UP

    assert envkit("doctor", "demo") == (result := envkit("doctor"))
    assert (result.status, result.out, result.err) == (0, "nothing is wrong with this machine\n", "")


def test_a_machine_without_a_gpu(envkit: Envkit, machine: Machine) -> None:
    machine.facts = NO_GPU

    result = envkit("doctor", "demo")

    assert (result.status, result.out) == (
        0,
        "nothing is wrong with this machine\nthere is no NVIDIA GPU: frameworks run on the CPU, where they can\n",
    )


def test_warnings_alone_are_no_failure(envkit: Envkit, machine: Machine) -> None:
    machine.facts, machine.network = GOOD, (DOWN,)

    result = envkit("doctor", "demo")

    assert result.status == 0
    assert result.out.endswith("\n\n1 warning\n")


def test_nobody_on_the_network_is_asked_when_offline(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.facts, machine.network = with_(endpoints=None), (DOWN,)

    assert envkit("doctor", "demo", "--offline").out == "nothing is wrong with this machine\n"


def test_what_was_not_looked_for_is_said(envkit: Envkit, machine: Machine) -> None:
    machine.facts = silent("DRIVER_NOT_LOADED", kernel_driver=None)

    lines = envkit("doctor", "demo").out.splitlines()

    assert lines[0] == "✗ the NVIDIA driver is installed, and its kernel module is not loaded  driver-not-loaded"
    assert lines[-3] == "1 error"
    assert lines[-2].endswith(" checks were not made, because of driver-not-loaded")


def test_json_whole(envkit: Envkit, machine: Machine) -> None:
    machine.facts = with_(engine=MISSING, podman=PODMAN_FAILS, compilers=(), disks=None)

    result = envkit("doctor", "demo", "--json")

    assert (result.status, result.err) == (0, "")
    assert result.data == {
        "findings": [
            {
                "id": "compiler-missing",
                "severity": "warning",
                "title": "no C compiler is installed, and Triton needs one in a venv",
                "evidence": "no cc, gcc or clang on the PATH, on Ubuntu 22.04.5 LTS",
                "otherwise": (
                    "RuntimeError: Failed to find C compiler. Please specify via CC environment variable or set"
                    " triton.knobs.build.impl."
                ),
                "fix": ["`sudo apt-get install gcc libc6-dev`; images have it inside"],
                "source": "https://github.com/sgl-project/sglang/issues/1067",
            }
        ],
        "ok": True,
        "skipped": [],
        "repairs": [],
    }


def test_an_error_in_json(envkit: Envkit, machine: Machine) -> None:
    machine.facts = silent("NO_PERMISSION")

    result = envkit("doctor", "demo", "--json")

    assert result.status == 1
    assert result.data["ok"] is False
    assert {"id": "uvm-missing", "because": "nvml-no-permission"} in result.data["skipped"]


def test_frameworks_are_all_of_them_where_none_is_named(envkit: Envkit, machine: Machine) -> None:
    machine.facts = with_(driver="550.54.14", engine=None)

    assert [each["id"] for each in envkit("doctor", "--json").data["findings"]] == [
        "framework-unsupported",
        "driver-holds-back",
    ]
    assert [each["id"] for each in envkit("doctor", "demo", "--json").data["findings"]] == ["driver-holds-back"]


def test_an_unknown_framework(envkit: Envkit) -> None:
    result = envkit("doctor", "dmeo")

    assert result.status == 2
    assert result.err.startswith("error: unknown framework: dmeo")


# Another machine ------------------------------------------------------------------------------------------------------


def test_another_machine(envkit: Envkit, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "facts.json"
    file.write_bytes(msgspec.json.encode(BROKEN))

    from_file = envkit("doctor", "demo", "--facts", str(file))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))

    assert from_file.status == 1
    assert from_file.out.splitlines()[0] == "✗ Docker is installed and does not answer  engine-stopped"
    assert envkit("doctor", "demo", "--facts", "-").out == from_file.out


@pytest.mark.parametrize("option", [["--fix"], ["--fix", "--dry-run"], ["--record", "x.json"]])
def test_another_machine_can_neither_be_repaired_nor_recorded(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facts.json").write_text("{}")

    result = envkit("doctor", "--facts", "facts.json", *option)

    assert (result.status, result.out) == (2, "")
    assert result.err == "error: --facts is about another machine\n\nhint: leave out --fix and --record\n"
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("x")] == []


def test_facts_that_cannot_be_read(envkit: Envkit, tmp_path: Path) -> None:
    result = envkit("doctor", "--facts", str(tmp_path / "none.json"))

    assert result.status == 2
    assert result.err.startswith(f"error: the facts cannot be read: {tmp_path}/none.json: No such file or directory\n")


# Repairs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def repaired(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> list[Repair]:
    """A user who is root; what was run, each of which mends the machine."""
    machine.facts = BROKEN
    ran: list[Repair] = []

    def run(planned: Iterable[Repair], on_start: Callable[[Repair], None]) -> list[Done]:
        for each in planned:
            on_start(each)
            ran.append(each)
        machine.facts = GOOD
        return [Done(each, 0, "") for each in ran]

    monkeypatch.setattr("envkit.cli.doctor.run_repairs", run)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    return ran


def typed(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(text.encode()))
    monkeypatch.setattr(stdin, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stdin", stdin)


START = Repair("engine-stopped", ("systemctl", "start", "docker"))
SHOWN = "to be run:\n  systemctl start docker    # engine-stopped\n"


def test_repairs_are_shown_and_run_after_a_yes(
    envkit: Envkit, repaired: list[Repair], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "y\n", terminal=True)

    result = envkit("doctor", "demo", "--fix")

    assert repaired == [START]
    assert result.status == 0
    assert result.out == "nothing is wrong with this machine\n"
    assert result.err.startswith(f"{SHOWN}run them? [y/N]: ")
    assert result.err.endswith("· systemctl start docker\n")


def test_a_no_runs_nothing_and_the_report_follows(
    envkit: Envkit, repaired: list[Repair], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "n\n", terminal=True)

    result = envkit("doctor", "demo", "--fix")

    assert repaired == []
    assert result.status == 1
    assert result.err == f"{SHOWN}run them? [y/N]: nothing was run\n"
    assert result.out.startswith("✗ Docker is installed and does not answer")


def test_yes_asks_nothing(envkit: Envkit, repaired: list[Repair], monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "", terminal=False)

    result = envkit("doctor", "demo", "--fix", "--yes")

    assert (result.status, repaired) == (0, [START])
    assert "run them?" not in result.err


def test_where_nobody_can_be_asked_nothing_is_run(
    envkit: Envkit, repaired: list[Repair], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "", terminal=False)

    result = envkit("doctor", "demo", "--fix")

    assert (result.status, result.out, repaired) == (2, "", [])
    assert result.err.endswith("error: nobody is there to be asked\n\nhint: add --yes, or --dry-run\n")


def test_ctrl_c_at_the_question_is_an_interrupt(
    envkit: Envkit, repaired: list[Repair], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "", terminal=True)  # as Ctrl-C and Ctrl-D both reach click

    result = envkit("doctor", "demo", "--fix")

    assert (result.status, repaired) == (130, [])


def test_a_dry_run_runs_nothing(envkit: Envkit, repaired: list[Repair]) -> None:
    result = envkit("doctor", "demo", "--fix", "--dry-run")

    assert (result.status, result.err, repaired) == (1, SHOWN, [])
    assert result.out.startswith("✗ Docker is installed and does not answer")


def test_a_dry_run_in_json(envkit: Envkit, repaired: list[Repair]) -> None:
    data = envkit("doctor", "demo", "--fix", "--dry-run", "--json").data

    assert repaired == []
    assert data["repairs"] == [{"finding": "engine-stopped", "argv": ["systemctl", "start", "docker"], "status": None}]


def test_json_does_not_ask(envkit: Envkit, repaired: list[Repair]) -> None:
    result = envkit("doctor", "demo", "--fix", "--json")

    assert (result.status, repaired) == (2, [])
    assert result.data["error"]["message"] == "--json does not ask"
    assert result.data["error"]["hint"] == "add --yes, or --dry-run"


def test_json_with_repairs_tells_their_status(envkit: Envkit, repaired: list[Repair]) -> None:
    result = envkit("doctor", "demo", "--fix", "--yes", "--json")

    assert result.status == 0
    assert result.data["findings"] == []
    assert result.data["repairs"] == [
        {"finding": "engine-stopped", "argv": ["systemctl", "start", "docker"], "status": 0}
    ]


def test_a_repair_that_fails(envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.facts = BROKEN
    failed = [Done(START, 5, "Failed to start docker.service: Unit docker.service not found.")]
    monkeypatch.setattr("envkit.cli.doctor.run_repairs", lambda *_: failed)
    monkeypatch.setattr("os.geteuid", lambda: 0)

    result = envkit("doctor", "demo", "--fix", "--yes")

    assert result.status == 1
    assert result.err == (
        f"{SHOWN}`systemctl start docker` failed with 5: Failed to start docker.service: Unit docker.service not found.\n"
    )
    assert result.out.startswith("✗ Docker is installed and does not answer")


def test_nothing_that_could_be_repaired(envkit: Envkit, machine: Machine) -> None:
    machine.facts = silent("NO_PERMISSION")

    result = envkit("doctor", "demo", "--fix", "--yes")

    assert (result.status, result.err) == (1, "nothing here can be mended without a decision of yours\n")


def test_a_healthy_machine_needs_no_repair(envkit: Envkit, machine: Machine) -> None:
    machine.facts = GOOD

    result = envkit("doctor", "demo", "--fix", "--yes")

    assert (result.status, result.out, result.err) == (0, "nothing is wrong with this machine\n", "")


@pytest.mark.parametrize("option", ["--yes", "--dry-run"])
def test_options_of_fix_alone_are_mistakes(envkit: Envkit, option: str) -> None:
    result = envkit("doctor", option)

    assert result.status == 2
    assert result.err == f"error: {option} is about repairs, and none were asked for\n\nhint: add --fix\n"


# Records --------------------------------------------------------------------------------------------------------------


def test_a_record_gives_the_same_findings_and_names_nobody(
    envkit: Envkit, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "alice")
    machine.facts = replace(BROKEN, unknown={"podman": "alice may not"})
    file = tmp_path / "facts.json"

    here = envkit("doctor", "demo", "--offline", "--record", str(file))
    there = envkit("doctor", "demo", "--facts", str(file))

    assert here.err == f"recorded in {file}; read it before you pass it on\n"
    assert "alice" not in file.read_text()
    assert there.out == here.out.replace("alice", "user")
    assert [each.name for each in tmp_path.iterdir() if "facts" in each.name] == ["facts.json"]


def test_mirrors_of_the_matrix_stay_in_a_record(envkit: Envkit, machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "facts.json"
    machine.facts = GOOD
    machine.network = (
        Endpoint("index", "https://index.example/simple"),
        Endpoint("huggingface", "https://hf.corp.example"),
    )
    envkit("doctor", "demo", "--record", str(file))

    recorded = msgspec.json.decode(file.read_bytes(), type=HostFacts)
    assert [each.address for each in recorded.endpoints or ()] == [
        "https://index.example/simple",
        "https://host.invalid",
    ]


def test_a_record_in_a_folder_that_is_not_there(envkit: Envkit, machine: Machine, tmp_path: Path) -> None:
    machine.facts = GOOD
    file = tmp_path / "none" / "facts.json"

    result = envkit("doctor", "--record", str(file))

    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"error: the record cannot be written: {file}: No such file or directory\n\nhint: name another file\n"
    )


def test_a_user_without_a_name_can_record(
    envkit: Envkit, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may run as a number that no account has."""

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    machine.facts = GOOD
    monkeypatch.setattr("envkit.cli.doctor.pwd.getpwuid", nobody)
    for name in ("USER", "LOGNAME", "SUDO_USER", "HOME"):
        monkeypatch.delenv(name, raising=False)

    assert envkit("doctor", "--offline", "--record", str(tmp_path / "facts.json")).status == 0


def test_stdin_is_not_touched_without_fix(envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    machine.facts = BROKEN

    assert envkit("doctor", "demo").status == 1
    assert sys.stdin is None
