"""`envkit run`, `ps`, `logs` and `stop` as users type them, with every backend: what starts, how it ends, what is left."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.integration.command import engine, processes, until
from tests.integration.conftest import ENGINES, leftovers

if TYPE_CHECKING:
    from tests.integration.command import Cli, Running

pytestmark = pytest.mark.index


def fetch(url: str, *, key: str = "") -> dict[str, Any]:
    """What the tiny server sees."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=10) as answer:
        seen: dict[str, Any] = json.load(answer)
    return seen


def url_of(running: Running) -> str:
    """The address that an attached run prints once the app answers."""
    running.wait_for("http://127.0.0.1:")
    until(lambda: running.stdout.endswith("\n"))
    return next(line for line in running.stdout.splitlines() if line.startswith("http"))


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


# Servers --------------------------------------------------------------------------------------------------------------


def test_a_detached_server_answers_is_listed_and_stops(cli: Cli, backend: str) -> None:
    started = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json", "--", "one", "--two")
    name, url = started.json["name"], started.json["url"]

    seen = fetch(url)
    assert seen["args"] == ["one", "--two"]
    assert seen["cwd"] == ("/workspace" if backend != "venv" else f"{cli.cwd}/workspace/tiny")
    assert seen["env"]["TINY_HOST"] == ("0.0.0.0" if backend != "venv" else "127.0.0.1")
    assert seen["env"]["TINY_SET"] == "by the framework"

    listed = cli.instance(name)
    assert listed is not None
    assert listed.pop("started").startswith("20")
    assert len(listed.pop("lock")) == 64
    assert listed == {
        "name": "tiny-serve",
        "framework": "tiny",
        "app": "serve",
        "environment": "tiny-cpu",
        "backend": backend,
        "status": "running",
        "url": url,
        "exit_status": None,
    }
    assert cli("logs", name).stdout == "serving\n"
    assert cli("logs", "--tail", "0", name).stdout == ""

    assert cli("stop", "--dry-run", name).stderr == "would stop tiny-serve\n"
    assert fetch(url)
    assert cli("stop", name).stderr == "stopped tiny-serve\n"

    assert cli.instance(name) is None
    with pytest.raises(OSError, match="refused"):
        fetch(url)


def test_a_server_is_reached_from_this_machine_alone(cli: Cli, backend: str) -> None:
    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json").json["url"]
    port = int(url.rsplit(":", 1)[1])

    listening = {each.laddr.ip for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port}

    assert listening == {"127.0.0.1"}
    cli("stop", "tiny-serve")


def test_logs_are_followed_until_the_instance_ends(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "sleep", "--backend", backend, "-d")
    with cli.running("logs", "-f", "tiny-sleep") as logs:
        logs.wait_for("asleep")
        assert logs.process.poll() is None

        cli("stop", "-t", "1", "tiny-sleep")

        assert logs.end() == 0


def test_following_logs_ends_with_ctrl_c_and_leaves_the_instance(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "sleep", "--backend", backend, "-d")
    with cli.running("logs", "-f", "tiny-sleep") as logs:
        logs.wait_for("asleep")
        logs.send(signal.SIGINT)
        assert logs.end() == 130

    instance = cli.instance("tiny-sleep")
    assert instance
    assert instance["status"] == "running"
    cli("stop", "-t", "1", "tiny-sleep")


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=lambda each: str(each),
)
def test_a_signal_ends_an_attached_server_and_leaves_nothing(
    cli: Cli, backend: str, number: signal.Signals, status: int
) -> None:
    with cli.running("run", "tiny", "serve", "--backend", backend, "--port", "0") as running:
        url = url_of(running)
        assert fetch(url)
        assert cli.instance("tiny-serve")

        running.send(number)

        assert running.end() == status
    assert running.stdout == f"\n{url}\n"
    assert running.stderr.endswith("interrupted\n")
    assert leftovers(cli.home) == []
    with pytest.raises(OSError, match="refused"):
        fetch(url)


def test_ctrl_c_at_a_terminal_ends_a_server_and_leaves_nothing(cli: Cli, backend: str) -> None:
    with cli.running("run", "tiny", "serve", "--backend", backend, "--port", "0", terminal=True) as running:
        running.wait_for("http://127.0.0.1:")
        running.type("\x03")

        assert running.end() == 130
    assert leftovers(cli.home) == []


def test_a_second_ctrl_c_ends_a_stubborn_app_at_once(cli: Cli, backend: str) -> None:
    with cli.running("run", "tiny", "sleep", "--backend", backend, "--", "stubborn") as running:
        running.wait_for("asleep")
        began = time.monotonic()
        running.send(signal.SIGINT)
        time.sleep(1.5)
        assert running.process.poll() is None
        running.send(signal.SIGINT)

        assert running.end() == 130
    assert time.monotonic() - began < 8
    assert leftovers(cli.home) == []


@pytest.mark.parametrize("delay", [0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_ctrl_c_while_an_app_is_started_leaves_nothing(cli: Cli, backend: str, delay: float) -> None:
    with cli.running("run", "tiny", "sleep", "--backend", backend) as running:
        until(lambda: "on the CPU" in running.stderr)
        time.sleep(delay)
        running.send(signal.SIGINT)

        assert running.end() == 130
    time.sleep(0.5)  # an engine may still be at what it was asked for
    assert leftovers(cli.home) == []


def test_an_instance_survives_a_killed_envkit_and_can_be_stopped(cli: Cli, backend: str) -> None:
    with cli.running("run", "tiny", "serve", "--backend", backend, "--port", "0") as running:
        url = url_of(running)
        running.send(signal.SIGKILL)
        running.process.wait()

    instance = cli.instance("tiny-serve")
    assert instance
    assert (instance["status"], instance["url"]) == ("running", url)
    assert fetch(url)

    cli("stop", "tiny-serve")

    assert leftovers(cli.home) == []


@pytest.mark.parametrize("detach", [(), ("-d",)], ids=["attached", "detached"])
def test_a_server_that_dies_early_shows_its_last_words(cli: Cli, backend: str, detach: tuple[str, ...]) -> None:
    done = cli("run", "tiny", "broken", "--backend", backend, "--port", "0", *detach, status=1)

    assert done.stdout == ""
    assert done.stderr.endswith(
        "error: broken did not start: it ended before it answered\n"
        "  loading\n"
        "  the model file is broken\n"
        "\n"
        "hint: the lines above are the last that it printed\n"
    )
    assert leftovers(cli.home) == []


def test_a_server_that_never_answers_is_given_up(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "mute", "--backend", backend, "--port", "0", "-d", "--json", status=1)

    error = done.json["error"]
    assert error["message"] == "mute did not start: it gave no answer within 2 s"
    assert (error["kind"], error["details"], error["exit_code"]) == ("app", "asleep", 1)
    assert leftovers(cli.home) == []


def test_an_exposed_server_has_a_key(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "guarded", "--backend", backend, "--port", "0", "-d", "--expose")
    url = done.stdout.strip()
    key = done.stderr.split("its key: ")[1].splitlines()[0]
    port = int(url.rsplit(":", 1)[1])

    with pytest.raises(urllib.error.HTTPError, match="401"):
        fetch(url)
    assert fetch(url, key=key)["env"]["TINY_KEY"] == key
    listening = {each.laddr.ip for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port}
    assert "0.0.0.0" in listening
    # A secret is handed to the app and written down nowhere that others read.
    assert key not in json.dumps(cli.instance("tiny-guarded"))
    assert not [each for each in cli.home.rglob("instances/*/*") if each.is_file() and key in each.read_text()]
    cli("stop", "tiny-guarded")


def test_a_port_in_use_names_its_owner(cli: Cli, backend: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = cli("run", "tiny", "serve", "--backend", backend, "--port", str(port), "--json", status=2)

    owner = f"{psutil.Process().name()} (process {os.getpid()})"
    assert done.json["error"]["message"] == f"port {port} is taken by {owner}"
    assert done.json["error"]["hint"].startswith("choose another with `--port ")


def test_a_port_of_another_instance_names_that(cli: Cli, backend: str) -> None:
    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json").json["url"]
    port = url.rsplit(":", 1)[1]

    done = cli("run", "tiny", "serve", "--backend", backend, "--port", port, "--json", status=2)

    words = "the envkit instance tiny-serve: `envkit stop tiny-serve` ends it"
    assert done.json["error"]["message"] == f"port {port} is taken by {words}"
    cli("stop", "tiny-serve")


# Jobs and terminals ---------------------------------------------------------------------------------------------------


def test_a_job_speaks_on_stdout_and_gives_its_status(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "job", "--backend", backend, status=3)

    assert done.stdout == "docopt 0.6.2\nto stderr\n"
    assert (cli.cwd / "workspace/tiny/saves/result.txt").read_text() == "done\n"
    assert leftovers(cli.home) == []


def test_a_long_output_arrives_whole(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "job", "--backend", backend, "--set", "TINY_LINES=20000", "--", "0")

    lines = [line for line in done.stdout.splitlines() if line.startswith("line")]
    assert lines == [f"line {number}" for number in range(20000)]


def test_a_detached_job_stays_listed_with_its_status(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "job", "--backend", backend, "-d", "--name", "tiny-mine")
    until(lambda: (cli.instance("tiny-mine") or {}).get("status") == "exited")

    instance = cli.instance("tiny-mine")
    assert instance
    assert (instance["status"], instance["exit_status"]) == ("exited", 3)
    assert cli("logs", "tiny-mine").stdout == "docopt 0.6.2\nto stderr\n"
    taken = cli("run", "tiny", "job", "--backend", backend, "--name", "tiny-mine", status=2)
    assert "error: there is an instance of that name already: tiny-mine\n" in taken.stderr
    cli("stop", "tiny-mine")


def test_a_job_ends_with_ctrl_c_and_leaves_nothing(cli: Cli, backend: str) -> None:
    with cli.running("run", "tiny", "sleep", "--backend", backend) as running:
        running.wait_for("asleep")
        running.send(signal.SIGINT)

        assert running.end() == 130
    assert leftovers(cli.home) == []


def test_a_worker_that_left_the_family_is_gone_after_stop(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "daemon", "--backend", backend, "-d")
    worker = cli.cwd / "workspace/tiny/saves/worker"
    until(worker.exists)
    if backend == "venv":
        pid = int(worker.read_text())
        assert alive(pid)
        assert pid in {each.pid for each in processes(cli.home)}

    cli("stop", "-t", "5", "tiny-daemon")

    assert leftovers(cli.home) == []
    if backend == "venv":
        assert not alive(pid)


def test_a_terminal_app_talks_with_the_user(cli: Cli, backend: str) -> None:
    with cli.running("run", "tiny", "ask", "--backend", backend, terminal=True) as running:
        running.wait_for("your name? ")
        running.type("Ada\n")

        assert running.end() == 4
    assert "hello Ada, terminal: True" in running.stdout
    assert leftovers(cli.home) == []


def test_a_terminal_app_reads_from_a_pipe(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "ask", "--backend", backend, status=4, stdin="Ada\n")

    assert done.stdout == "your name? hello Ada, terminal: False\n"
    assert leftovers(cli.home) == []


def test_a_terminal_app_cannot_be_detached(cli: Cli, backend: str) -> None:
    done = cli("run", "tiny", "ask", "--backend", backend, "-d", status=2)

    assert done.stderr.endswith("error: ask talks with you at the terminal\n\nhint: leave out `--detach`\n")


# Workspaces and variables ---------------------------------------------------------------------------------------------


def test_a_workspace_is_seeded_once_and_never_overwritten(cli: Cli, backend: str) -> None:
    workspace = cli.cwd / "mine"
    cli("run", "tiny", "job", "--backend", backend, "--workspace", workspace, status=3)
    program = workspace / "programs/tiny.py"
    program.write_text("import sys\nsys.exit(9)\n")

    done = cli("run", "tiny", "job", "--backend", backend, "--workspace", workspace, status=9)

    assert "new:" not in done.stderr
    assert program.read_text() == "import sys\nsys.exit(9)\n"


@pytest.mark.parametrize("backend", ENGINES)
def test_files_belong_to_the_owner_of_the_workspace(cli: Cli, backend: str) -> None:
    """In a venv an app is the user who starts it; in a container it is whoever owns the workspace."""
    if os.getuid():
        pytest.skip("needs root: nobody else can give a folder away")
    workspace = cli.cwd / "theirs"
    workspace.mkdir()
    os.chown(workspace, 12345, 12346)

    done = cli("run", "tiny", "job", "--backend", backend, "--workspace", workspace, "--set", "HOME=/tmp", status=3)

    assert done.stdout == "docopt 0.6.2\nto stderr\n"
    owners = {
        str(each.relative_to(workspace)): (each.stat().st_uid, each.stat().st_gid) for each in workspace.rglob("*")
    }
    assert owners["saves/result.txt"] == (12345, 12346)
    assert set(owners.values()) == {(12345, 12346)}


def test_variables_and_secrets_reach_the_app_and_secrets_are_not_shown(cli: Cli, backend: str) -> None:
    cli = replace(cli, env={"TINY_PASSED": "passed", "TINY_TOKEN": "hush", "UNRELATED_TOKEN": "stays here"})

    plan = cli(
        "run", "tiny", "serve", "--backend", backend, "--port", "0", "--dry-run", "--set", "TINY_MORE=x", "--json"
    )
    assert "hush" not in plan.stdout + plan.stderr
    assert plan.json["secrets"] == ["TINY_TOKEN"]
    assert not (cli.cwd / "workspace").exists()

    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "--set", "TINY_MORE=x", "-d", "--json").json[
        "url"
    ]
    env = fetch(url)["env"]
    cli("stop", "tiny-serve")
    assert [env["TINY_PASSED"], env["TINY_TOKEN"], env["TINY_MORE"]] == ["passed", "hush", "x"]
    if backend != "venv":
        assert "UNRELATED_TOKEN" not in env


def test_a_cache_of_the_host_is_the_app_s(cli: Cli, backend: str) -> None:
    models = cli.cwd / "models"
    models.mkdir()
    (models / "weights").write_text("heavy")
    cli = replace(cli, env={"TINY_MODELS": str(models)})

    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json").json["url"]
    seen = fetch(url)["env"]["TINY_MODELS"]
    if backend != "venv":
        assert seen == "/cache/models"
        assert engine(backend, "exec", "envkit-tiny-serve", "cat", "/cache/models/weights") == "heavy"
    else:
        assert seen == str(models)
    cli("stop", "tiny-serve")


def test_a_volume_is_seen_in_a_container_and_refused_in_a_venv(cli: Cli, backend: str) -> None:
    (cli.cwd / "extra").mkdir()
    (cli.cwd / "extra/job.py").write_text("print('from the volume')\n")
    options = ["--volume", f"{cli.cwd}/extra:/workspace/extra", "--backend", backend]
    if backend == "venv":
        done = cli("run", "tiny", "job", *options, status=2)
        assert done.stderr.endswith(
            "error: `--volume` is for containers: a venv sees the host's own folders\n\nhint: use the paths as they are\n"
        )
        return

    cli("run", "tiny", "sleep", *options, "-d")
    assert engine(backend, "exec", "envkit-tiny-sleep", "python", "extra/job.py") == "from the volume\n"
    cli("stop", "-t", "1", "tiny-sleep")


@pytest.mark.parametrize("name", ["../escape", "a/b", "-x", ".", "with space"])
def test_a_name_that_cannot_be_one_is_refused(cli: Cli, backend: str, name: str) -> None:
    before = sorted(Path(cli.home).rglob("launch.json"))

    done = cli("run", "tiny", "job", "--backend", backend, f"--name={name}", status=2)

    assert f"error: not a name for an instance: {name}\n" in done.stderr
    assert sorted(Path(cli.home).rglob("launch.json")) == before
