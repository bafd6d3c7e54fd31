"""Bad input at the real command line: one clear error, its exit status, no traceback, and the same as JSON."""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import docker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.command import Cli

pytestmark = pytest.mark.index
NO_RIGHTS = () if os.getuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
"""Makes file permissions count, whoever runs the tests."""


@pytest.fixture
def locked_socket(tmp_path: Path) -> Iterator[Path]:
    """An engine's socket that nobody may use."""
    path = tmp_path / "docker.sock"
    with closing(socket.socket(socket.AF_UNIX)) as engine:
        engine.bind(str(path))
        engine.listen()
        path.chmod(0)
        yield path


@pytest.fixture
def no_podman(tmp_path: Path) -> dict[str, str]:
    """Variables with which no podman works, whether one is installed or not."""
    program = tmp_path / "broken/podman"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Error: out of order' >&2\nexit 125\n")
    program.chmod(0o755)
    return {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def no_engine(no_podman: dict[str, str]) -> dict[str, str]:
    """Variables with which no engine answers."""
    return {**no_podman, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}


# Engines --------------------------------------------------------------------------------------------------------------


def test_an_engine_that_is_not_ours_to_use_is_an_error_with_a_way_out(
    cli: Cli, locked_socket: Path, no_podman: dict[str, str]
) -> None:
    cli = replace(cli, env={**no_podman, "DOCKER_HOST": f"unix://{locked_socket}"}, prefix=NO_RIGHTS)

    failed = cli("run", "tiny", "job", "--backend", "docker", status=7)

    assert failed.stdout == ""
    assert failed.stderr == (
        "error: the docker backend cannot be used: you may not talk to the Docker engine"
        " (permission denied on its socket)\n"
        "\n"
        "hint: repair it, or use `--backend venv`; `sudo systemctl start docker` starts an engine,"
        " `sudo usermod -aG docker $USER` lets you use it\n"
    )


def test_auto_goes_past_an_engine_that_is_not_ours_to_use_and_says_so(
    cli: Cli, locked_socket: Path, no_podman: dict[str, str]
) -> None:
    cli = replace(cli, env={**no_podman, "DOCKER_HOST": f"unix://{locked_socket}"}, prefix=NO_RIGHTS)

    done = cli("run", "tiny", "job", status=3)

    assert done.stdout == "docopt 0.6.2\nto stderr\n"
    assert done.stderr.startswith(
        "tiny-cpu on the CPU, backend venv (you may not talk to the Docker engine (permission denied on its socket);"
        " podman refused: out of order)\n"
    )


def test_instances_of_an_engine_that_is_not_ours_are_named_as_missing(
    cli: Cli, locked_socket: Path, no_podman: dict[str, str]
) -> None:
    cli = replace(cli, env={**no_podman, "DOCKER_HOST": f"unix://{locked_socket}"}, prefix=NO_RIGHTS)

    done = cli("ps", "--json")

    assert done.json == []
    assert done.stderr == (
        "warning: instances of docker are not shown: you may not talk to the Docker engine"
        " (permission denied on its socket)\n"
    )


@pytest.mark.parametrize("command", ["run", "build"])
def test_no_engine_is_an_error_with_a_way_out(cli: Cli, command: str, no_engine: dict[str, str]) -> None:
    cli = replace(cli, env=no_engine)
    args = ["run", "tiny", "job", "--backend", "docker"] if command == "run" else ["build", "tiny-cpu"]

    failed = cli(*args, status=7)

    assert "no Docker engine answers\n" in failed.stderr
    assert "hint: " in failed.stderr
    assert "`--backend venv`" in failed.stderr


@pytest.mark.podman
def test_auto_takes_podman_where_there_is_no_docker(cli: Cli) -> None:
    cli = replace(cli, env={"DOCKER_HOST": "unix:///nonexistent/docker.sock"})

    done = cli("run", "tiny", "job", status=3, timeout=600)

    assert done.stderr.startswith("tiny-cpu on the CPU, backend podman (no Docker engine answers)\n")


def test_auto_takes_a_venv_where_there_is_no_engine(cli: Cli, no_engine: dict[str, str]) -> None:
    cli = replace(cli, env=no_engine)

    done = cli("run", "tiny", "job", status=3)

    assert done.stderr.startswith(
        "tiny-cpu on the CPU, backend venv (no Docker engine answers; podman refused: out of order)\n"
    )


def test_an_engine_that_is_far_away_is_an_error(cli: Cli) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        port = nobody.getsockname()[1]
    cli = replace(cli, env={"DOCKER_HOST": f"tcp://127.0.0.1:{port}"})

    failed = cli("run", "tiny", "job", "--backend", "docker", status=7)

    assert failed.stderr.startswith("error: the docker backend cannot be used: no Docker engine answers\n")


def test_a_server_that_is_no_engine_is_an_error(cli: Cli) -> None:
    from tests.fakes import serve

    server = serve(0, 404)
    cli = replace(cli, env={"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"})

    failed = cli("run", "tiny", "job", "--backend", "docker", status=7)
    server.shutdown()
    server.server_close()

    assert failed.stderr.startswith("error: the docker backend cannot be used: ")


@pytest.mark.docker
def test_nothing_is_asked_of_an_engine_by_commands_that_only_inform(cli: Cli) -> None:
    """They change nothing, so they install nothing, build nothing and make no folder."""
    cli = replace(cli, home=cli.cwd / "untouched")
    before = set(docker("images", "--quiet", "--no-trunc").split())

    for args in (
        ["list"],
        ["list", "tiny"],
        ["plan", "tiny"],
        ["ps"],
        ["run", "tiny", "serve", "--dry-run", "--port", "0"],
    ):
        cli(*args)

    assert set(docker("images", "--quiet", "--no-trunc").split()) == before
    assert not cli.home.exists()
    assert not (cli.cwd / "workspace").exists()


# Words and files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "status", "kind", "message", "hint"),
    [
        (["run", "tinny", "job"], 2, "usage", "unknown framework: tinny", "did you mean `tiny`?"),
        (["run", "tiny", "jb"], 2, "usage", "unknown app of tiny: jb", "did you mean `job`?"),
        (["run", "tiny", "job", "--env", "tiny-cpuu"], 2, "usage", "unknown environment: tiny-cpuu", "did you mean `tiny-cpu`?"),
        (["run", "tiny", "job", "--port", "1"], 2, "usage", "job has no port", "leave out `--port`"),
        (["run", "tiny", "job", "--gpus", "0"], 2, "usage", "there is no GPU to choose: the plan is for the CPU", "leave out `--gpus`"),
        (["run", "tiny", "job", "--device", "tpu"], 2, "usage", None, "see `envkit run --help`"),
        (["run", "tiny", "job", "--volume", "here"], 2, "usage", "not a volume: here", None),
        (["run", "tiny", "job", "--set", "here"], 2, "usage", "not a setting: here", "write it as NAME=VALUE"),
        (["run", "tiny", "job", "--mirror", "nowhere"], 2, "usage", "unknown mirror: nowhere", None),
        (["run", "tiny", "serve", "--expose"], 2, "usage", "serve has no login: everybody who reaches the port could use it", None),
        (["run", "tiny", "job", "--device", "gpu"], 4, "no-plan", "there is no NVIDIA GPU", "leave out `--device gpu`, or use `--device cpu`"),
        (["logs", "nobody"], 2, "usage", "there is no instance named nobody", "nothing is running"),
        (["stop", "nobody", "--json"], 2, "usage", "there is no instance named nobody", "nothing is running"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)  # fmt: skip
def test_a_mistake_is_one_error_in_text_and_in_json(
    cli: Cli,
    args: list[str],
    status: int,
    kind: str,
    message: str | None,
    hint: str | None,
    no_engine: dict[str, str],
) -> None:
    cli = replace(cli, env=no_engine)

    text = cli(*args, status=status)
    assert text.stderr.count("error: ") == 1 or args[-1] == "--json"
    if args[0] == "logs":
        return  # prints what an app printed, which is no JSON

    error = cli(*[each for each in args if each != "--json"], "--json", status=status).json["error"]
    assert (error["kind"], error["exit_code"]) == (kind, status)
    if message:
        assert error["message"] == message
        assert args[-1] == "--json" or f"error: {message}\n" in text.stderr
    if hint:
        assert error["hint"] == hint
    assert not (cli.cwd / "workspace").exists()


def test_an_app_s_own_json_option_is_not_ours(cli: Cli, no_engine: dict[str, str]) -> None:
    """What follows `--` is the app's: an error of ours stays text there."""
    cli = replace(cli, env=no_engine)

    failed = cli("run", "tiny", "job", "--backend", "docker", "--", "--json", status=7)

    assert failed.stdout == ""
    assert failed.stderr.startswith("error: the docker backend cannot be used")


def test_a_workspace_that_is_a_file_is_an_error(cli: Cli, backend: str) -> None:
    (cli.cwd / "file").write_text("mine")

    failed = cli("run", "tiny", "job", "--backend", backend, "--workspace", "file", status=2)

    assert failed.stderr.endswith(
        f"error: not a folder: {cli.cwd}/file\n\nhint: choose another place with `--workspace DIR`\n"
    )
    assert (cli.cwd / "file").read_text() == "mine"


def test_a_workspace_that_cannot_be_written_is_an_error(cli: Cli, no_engine: dict[str, str]) -> None:
    folder = cli.cwd / "theirs"
    folder.mkdir()
    folder.chmod(0o500)
    cli = replace(cli, env=no_engine, prefix=NO_RIGHTS)

    failed = cli("run", "tiny", "job", "--workspace", folder / "inside", status=2)

    assert f"error: a folder cannot be made or written to: {folder}/inside: Permission denied\n" in failed.stderr


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("environments: [unclosed\n", ":2: not YAML: "),
        ("environments:\n  tiny-cpu:\n\tframework: tiny\n", ":3: not YAML: found character "),
        ("enviroments: {}\n", ":1: enviroments: unknown key, did you mean `environments`?"),
        ("- a list\n", ":1: expected `object`, got "),
        ("\0", ": not YAML: "),
    ],
    ids=["unclosed", "tab", "unknown-key", "list", "binary"],
)
def test_an_overlay_with_faults_names_them_with_file_and_line(cli: Cli, text: str, fault: str) -> None:
    overlay = cli.cwd / "overlay.yaml"
    overlay.write_text(text)
    cli = replace(cli, matrix=overlay)

    done = cli("list", status=3)
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: the compatibility matrix has 1 fault\n  {overlay}{fault}")

    error = cli("list", "--json", status=3).json["error"]
    assert (error["kind"], error["exit_code"], len(error["faults"])) == ("matrix", 3, 1)
    assert error["faults"][0].startswith(f"{overlay}{fault}")


def test_an_overlay_that_is_missing_is_an_error(cli: Cli) -> None:
    missing = cli.cwd / "missing.yaml"

    error = replace(cli, matrix=missing)("list", "--json", status=3).json["error"]

    assert error["faults"] == [f"{missing}: there is no such file"]


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ("remove", 6, "tiny-cpu has no lock: {lock}"),
        ("edit", 6, "a lock was edited by hand: {lock}"),
        ("pin", 6, "the lock of tiny-cpu does not follow from envmatrix.yaml any more: {lock}"),
        ("truncate", 6, "not a lock of envkit: {lock}"),
    ],
)
def test_a_lock_that_is_not_fresh_stops_everything(
    cli: Cli, change: str, status: int, message: str, no_engine: dict[str, str]
) -> None:
    shutil.copytree(cli.matrix.parent, cli.cwd / "mine")
    cli = replace(cli, matrix=cli.cwd / "mine/envmatrix.yaml", env=no_engine)
    lock = cli.cwd / "mine/images/tiny/cpu/requirements.lock"
    match change:
        case "remove":
            lock.unlink()
        case "edit":
            lock.write_text(lock.read_text().replace("docopt==0.6.2", "docopt==0.6.1"))
        case "pin":
            cli.matrix.write_text(cli.matrix.read_text().replace("bottle==0.13.4", "bottle==0.13.3"))
        case "truncate":
            lock.write_text("")

    for args in (["run", "tiny", "job"], ["lock", "--check", "tiny-cpu"]):
        error = cli(*args, "--json", status=status).json["error"]
        assert message.format(lock=lock) in error["message"] + error["details"]
        assert "envkit lock tiny-cpu" in error["hint"]
    assert not (cli.cwd / "workspace").exists()


def test_a_resolution_that_cannot_be_is_explained(cli: Cli) -> None:
    shutil.copytree(cli.matrix.parent, cli.cwd / "mine")
    cli = replace(cli, matrix=cli.cwd / "mine/envmatrix.yaml")
    cli.matrix.write_text(cli.matrix.read_text().replace("docopt==0.6.2", "bottle==0.13.3"))
    lock = cli.cwd / "mine/images/tiny/cpu/requirements.lock"
    before = lock.read_bytes()

    error = cli("lock", "tiny-cpu", "--json", status=5).json["error"]

    assert (error["kind"], error["message"]) == ("resolution", "no set of versions satisfies tiny-cpu")
    assert "bottle==0.13.3" in error["details"]
    assert "bottle==0.13.4" in error["details"]
    assert error["hint"].startswith("change `require` or `constrain` of tiny-cpu in envmatrix.yaml ")
    assert lock.read_bytes() == before


def test_output_that_nobody_reads_ends_quietly(cli: Cli) -> None:
    import subprocess

    command = " ".join([*cli.argv("list"), "|", "true"])
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=cli.cwd, env=cli.environ(), capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("1\n", "")  # click's way


def test_a_result_is_json_and_nothing_else(cli: Cli) -> None:
    for args in (["list"], ["plan", "tiny"], ["ps"], ["lock", "--check", "tiny-cpu"]):
        json.loads(cli(*args, "--json").stdout)
