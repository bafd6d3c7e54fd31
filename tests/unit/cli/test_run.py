"""`envkit run`: options become a request; what is found is said; what is asked for is done."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

import pytest

from envkit.apps.ports import claim_port
from envkit.host.facts import Gpu, HostFacts
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit, Machine

GPUS = tuple(Gpu(index, "NVIDIA H200", f"GPU-{index}", 143771, "9.0") for index in range(3))
H200 = HostFacts(GPUS, driver="580.82.07")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the user stands in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("DEMO_KEY", "DEMO_TOKEN", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return folder


@pytest.fixture
def port() -> str:
    return str(claim_port(0, "127.0.0.1"))


# The main job ---------------------------------------------------------------------------------------------------------


def test_a_detached_page(envkit: Envkit, machine: Machine, folder: Path, port: str) -> None:
    result = envkit("run", "demo", "page", "--port", port, "--detach")

    assert result.status == 0
    assert result.out == f"\nhttp://127.0.0.1:{port}\n"
    said = result.err.splitlines()
    assert said[:3] == [
        "demo-cpu on the CPU, backend docker (docker works here)",
        "  new: workspace/demo/data/dataset_info.json",
        "  new: workspace/demo/data/demo.json",
    ]
    assert said[3].endswith("✓ demo-cpu is ready")
    assert said[4:] == [
        "starting demo-page",
        f"from another computer:  ssh -N -L {port}:127.0.0.1:{port} {getpass.getuser()}@THIS-MACHINE",
        "`envkit logs -f demo-page` follows it, `envkit stop demo-page` ends it",
    ]
    assert (folder / "workspace/demo/saves").is_dir()
    assert [each.name for each in machine.docker.instances()] == ["demo-page"]
    machine.docker.remove("demo-page")


def test_the_ssh_line_is_ready_to_copy_where_the_user_came_by_ssh(
    envkit: Envkit, machine: Machine, port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "198.51.100.7 50000 203.0.113.5 2222")

    result = envkit("run", "demo", "page", "--port", port, "--detach")

    line = f"from your own computer: ssh -N -L {port}:127.0.0.1:{port} -p 2222 {getpass.getuser()}@203.0.113.5"
    assert line in result.err.splitlines()
    machine.docker.remove("demo-page")


def test_a_job_s_output_is_a_result_and_its_status_is_passed_on(envkit: Envkit, machine: Machine) -> None:
    machine.docker = FakeBackend(status=42, output=b"loss 0.5\n")

    result = envkit("run", "demo", "train", "--", "config.yaml", "--lr", "1")

    assert (result.status, result.out) == (42, "loss 0.5\n")
    assert machine.docker.started[0].argv == ("demo-cli", "train", "config.yaml", "--lr", "1")
    assert machine.docker.instances() == []


def test_a_server_s_output_is_no_result(envkit: Envkit, machine: Machine, port: str) -> None:
    machine.docker = FakeBackend(status=5, output=b"Traceback\n")

    result = envkit("run", "demo", "page", "--port", port)

    assert (result.status, result.out) == (5, "")
    assert result.err.endswith(
        "error: page did not start: it ended before it answered\n"
        "  Traceback\n"
        "\nhint: the lines above are the last that it printed\n"
    )


def test_json_of_a_page(envkit: Envkit, machine: Machine, port: str) -> None:
    result = envkit("run", "demo", "page", "--port", port, "--detach", "--json", "--name", "mine")

    assert result.data == {"name": "mine", "url": f"http://127.0.0.1:{port}"}
    machine.docker.remove("mine")


def test_an_environment_is_made_once(envkit: Envkit, machine: Machine) -> None:
    machine.venv = FakeBackend("venv", status=0)
    for _ in range(2):
        assert envkit("run", "demo", "train", "--backend", "venv").status == 0

    assert [each.environment.name for each in machine.venv.made] == ["demo-cpu"]
    assert machine.docker.made == []


def test_an_exposed_app_tells_its_key_once_it_is_up(envkit: Envkit, machine: Machine, port: str) -> None:
    result = envkit("run", "demo", "api", "--port", port, "--expose", "--detach")

    key = machine.docker.started[0].secrets["DEMO_KEY"]
    told = f"exposed on every address of this machine, port {machine.docker.started[0].port}; its key: {key}"
    assert told in result.err.splitlines()
    assert key not in result.out
    machine.docker.remove("demo-api")


def test_a_page_without_a_login_is_not_exposed(envkit: Envkit, machine: Machine, folder: Path) -> None:
    result = envkit("run", "demo", "page", "--expose")

    assert result.status == 2
    assert result.err.startswith("error: page has no login: everybody who reaches the port could use it\n")
    assert list(folder.iterdir()) == []
    assert machine.docker.made == []


# The device and the backend -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "uuids"),
    [
        ([], ["GPU-0", "GPU-1", "GPU-2"]),
        (["--gpus", "all"], ["GPU-0", "GPU-1", "GPU-2"]),
        (["--gpus", "2"], ["GPU-2"]),
        (["--gpus", "2,0"], ["GPU-2", "GPU-0"]),
        (["--gpus", "GPU-1"], ["GPU-1"]),
        (["--gpus", "none"], []),
        (["--device", "cpu"], []),
    ],
)
def test_gpus_are_chosen_by_index_and_never_by_count(
    envkit: Envkit, machine: Machine, options: list[str], uuids: list[str]
) -> None:
    machine.facts, machine.docker = H200, FakeBackend(status=0)

    result = envkit("run", "demo", "train", *options)

    assert result.status == 0
    assert [each.uuid for each in machine.docker.started[0].gpus] == uuids


@pytest.mark.parametrize(
    ("facts", "options", "message"),
    [
        (H200, ["--gpus", "3"], "there is no GPU with index 3"),
        (H200, ["--gpus", "0,x"], "not a GPU: 'x'"),
        (H200, ["--gpus", "none", "--device", "gpu"], "`--gpus none` contradicts `--device gpu`"),
        (H200, ["--gpus", "0", "--device", "cpu"], "there is no GPU to choose: the plan is for the CPU"),
        (HostFacts(gpus=()), ["--gpus", "0"], "there is no GPU to choose: the plan is for the CPU"),
    ],
)
def test_a_gpu_that_is_not_there_is_not_run_without(
    envkit: Envkit, machine: Machine, facts: HostFacts, options: list[str], message: str
) -> None:
    machine.facts = facts

    result = envkit("run", "demo", "train", *options)

    assert (result.status, result.err.splitlines()[-3]) == (2, f"error: {message}")
    assert machine.docker.started == []


def test_the_backend_and_why_it_are_said(envkit: Envkit, machine: Machine) -> None:
    machine.docker = FakeBackend(problem="no Docker engine answers")
    machine.venv = FakeBackend("venv", status=0)

    result = envkit("run", "demo", "train")

    assert (
        result.err.splitlines()[0]
        == "demo-cpu on the CPU, backend venv (no Docker engine answers; podman is not installed)"
    )
    assert len(machine.venv.started) == 1


def test_a_loopback_proxy_that_is_dropped_is_said(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:7897")
    machine.docker = FakeBackend(status=0)

    assert envkit("run", "demo", "train").err.splitlines()[1] == (
        "warning: not handed to the container, where 127.0.0.1 is another machine: HTTP_PROXY"
    )


@pytest.mark.parametrize(
    ("framework", "facts", "options", "line"),
    [
        ("demo", HostFacts(GPUS), [], "1 warning about this machine: `envkit plan demo` shows it"),
        (
            "solo",
            HostFacts((Gpu(0, "Tesla T4", "GPU-0", 15360, "7.5"), *GPUS[1:]), driver="580.82.07"),
            ["--gpus", "0,1", "--device", "gpu", "--env", "solo-cu130"],
            "3 warnings about this machine: `envkit plan solo --env solo-cu130 --device gpu --gpus 0,1` shows them",
        ),
    ],
)
def test_warnings_are_one_line_with_the_command_that_shows_them(
    envkit: Envkit, machine: Machine, framework: str, facts: HostFacts, options: list[str], line: str
) -> None:
    machine.facts, machine.docker = facts, FakeBackend(status=0)

    assert envkit("run", framework, "train", *options).err.splitlines()[1] == line
    shown = envkit(*line.split("`")[1].split()[1:]).out
    assert shown.count("  warning: ") == int(line.split()[0])


def test_a_machine_without_warnings_gets_no_line(envkit: Envkit, machine: Machine) -> None:
    machine.facts, machine.docker = H200, FakeBackend(status=0)

    assert "about this machine" not in envkit("run", "demo", "train").err


# Dry run --------------------------------------------------------------------------------------------------------------


def test_a_dry_run_shows_everything_and_changes_nothing(
    envkit: Envkit, machine: Machine, folder: Path, port: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEMO_TOKEN", "hunter2")

    result = envkit("run", "demo", "page", "--port", port, "--dry-run", "--set", "A=b=c", "--", "--share")

    assert result.status == 0
    assert result.out == (
        "environment  envkit/demo:2.1.0-cpu would be built\n"
        "instance     demo-page\n"
        "command      demo-cli page --share\n"
        f"in           {folder}/workspace/demo\n"
        "with         A=b=c\n"
        "with         DEMO_HOST=0.0.0.0\n"
        "with         DEMO_HUB=/cache/hub\n"
        "with         DEMO_PORT=7860\n"
        "with         DEMO_QUIET=1\n"
        "with         DEMO_TOKEN=(secret)\n"
        f"answers at   http://127.0.0.1:{port}\n"
    )
    assert "hunter2" not in result.out + result.err
    assert list(folder.iterdir()) == []
    assert not (tmp_path / "home/envkit").exists()
    assert (machine.docker.made, machine.docker.started) == ([], [])


def test_json_of_a_dry_run(
    envkit: Envkit, folder: Path, port: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEMO_TOKEN", "hunter2")

    data = envkit(
        "run", "demo", "page", "--port", port, "--dry-run", "--json", "--volume", f"{tmp_path}:/models",
        "--workspace", "elsewhere",
    ).data  # fmt: skip

    assert {key: data[key] for key in ("environment", "device", "backend", "ready", "name", "argv", "url")} == {
        "environment": "demo-cpu",
        "device": "cpu",
        "backend": "docker",
        "ready": False,
        "name": "demo-page",
        "argv": ["demo-cli", "page"],
        "url": f"http://127.0.0.1:{port}",
    }
    assert data["secrets"] == ["DEMO_TOKEN"]
    assert data["mounts"] == {
        str(folder / "elsewhere"): "/workspace",
        str(tmp_path / "home/envkit/cache/hub"): "/cache/hub",
        str(tmp_path): "/models",
    }


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_no_credential_of_a_proxy_is_shown(envkit: Envkit, monkeypatch: pytest.MonkeyPatch, more: list[str]) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example:8080")

    assert "hunter2" not in envkit("run", "demo", "train", "--dry-run", *more).out


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message", "hint"),
    [
        (["dmo", "page"], "unknown framework: dmo", "did you mean `demo`?"),
        (["demo", "pge"], "unknown app of demo: pge", "did you mean `page`?"),
        (["demo"], "no app of demo was named", "there are: api, page, talk, train"),
        (["demo", "train", "--mirror", "nera"], "unknown mirror: nera", "did you mean `near`?"),
        (["demo", "train", "--set", "novalue"], "not a setting: novalue", "write it as NAME=VALUE"),
        (["demo", "train", "--set", "=x"], "not a setting: =x", "write it as NAME=VALUE"),
        (["demo", "train", "--volume", "/gone:/models"], "there is no such folder: /gone", "make it first"),
        (["demo", "train", "--volume", "/etc"], "not a volume: /etc", "write it as SOURCE:TARGET, such as `--volume /data/models:/models`"),
        (["demo", "train", "--volume", "/etc:models"], "not a volume: /etc:models", "write it as SOURCE:TARGET, such as `--volume /data/models:/models`"),
        (["demo", "train", "--port", "1"], "train has no port", "leave out `--port`"),
        (["demo", "talk", "--detach"], "talk talks with you at the terminal", "leave out `--detach`"),
        (["demo", "page", "--port", "70000"], "Invalid value for '--port': 70000 is not in the range 0<=x<=65535", "see `envkit run --help`"),
        ([], "Missing argument 'FRAMEWORK'", "see `envkit run --help`"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_error_and_loses_nothing(
    envkit: Envkit, machine: Machine, folder: Path, argv: list[str], message: str, hint: str
) -> None:
    text, as_json = envkit("run", *argv), envkit("run", *argv, "--json")

    assert text.status == as_json.status == 2
    assert text.err.endswith(f"error: {message}\n\nhint: {hint}\n")
    assert as_json.data["error"]["message"] == message
    assert list(folder.iterdir()) == []
    assert (machine.docker.made, machine.docker.started) == ([], [])


def test_a_port_in_use_is_named_before_anything_is_made(envkit: Envkit, machine: Machine, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        result = envkit("run", "demo", "page", "--port", str(port))

    assert result.status == 2
    assert f"error: port {port} is taken by " in result.err
    assert list(folder.iterdir()) == []
    assert machine.docker.made == []


def test_a_workspace_that_is_a_file(envkit: Envkit, machine: Machine, folder: Path) -> None:
    (folder / "file").touch()

    result = envkit("run", "demo", "train", "--workspace", "file")

    assert result.status == 2
    assert result.err.endswith(
        f"error: not a folder: {folder}/file\n\nhint: choose another place with `--workspace DIR`\n"
    )
    assert machine.docker.made == []
