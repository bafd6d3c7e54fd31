"""`envkit ps`, `logs`, `stop`, `url`, `exec` and `shell`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from envkit.lock.lockfile import read_lock
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit, Machine


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user sits at one."""
    monkeypatch.setattr("envkit.cli.shell.at_terminal", lambda: True)  # first: it takes its own from the other
    monkeypatch.setattr("envkit.cli.exec.at_terminal", lambda: True)


@pytest.fixture
def running(envkit: Envkit, machine: Machine) -> None:
    """A page in a container and a job that has ended in a venv."""
    machine.docker = FakeBackend(page=None, output=b"one\ntwo\nthree\n")
    machine.venv = FakeBackend("venv", status=3, output=b"done\n")
    assert envkit("run", "demo", "train", "--backend", "docker", "--detach", "--name", "first").status == 0
    assert envkit("run", "demo", "train", "--backend", "venv", "--detach", "--name", "second").status == 0


def test_instances_of_every_backend_are_listed(envkit: Envkit, running: None) -> None:
    result = envkit("ps")

    assert result.status == 0
    header, _, *rows = (line.split() for line in result.out.splitlines())
    assert header == ["Name", "App", "Environment", "Backend", "Status", "URL", "Started", "(UTC)"]
    assert rows == [
        ["first", "train", "demo-cpu", "docker", "running", "2026-01-01", "00:00:01"],
        ["second", "train", "demo-cpu", "venv", "exited", "(3)", "2026-01-01", "00:00:01"],
    ]


def test_json(envkit: Envkit, matrix: Matrix, running: None) -> None:
    assert envkit("ps", "--json").data[1] == {
        "name": "second",
        "framework": "demo",
        "app": "train",
        "environment": "demo-cpu",
        "backend": "venv",
        "status": "exited",
        "started": "2026-01-01T00:00:01.000Z",
        "url": None,
        "exit_status": 3,
        "lock": read_lock(matrix.environment("demo-cpu")).sha256,
    }


def test_nothing_is_running(envkit: Envkit) -> None:
    text, as_json = envkit("ps"), envkit("ps", "--json")

    assert (text.status, text.out, text.err) == (0, "", "nothing is running\n")
    assert (as_json.data, as_json.err) == ([], "")


def test_a_backend_that_should_answer_and_does_not_is_named(envkit: Envkit, machine: Machine) -> None:
    machine.docker = FakeBackend(problem="you may not talk to the Docker engine (permission denied on its socket)")

    result = envkit("ps", "--json")

    assert result.data == []
    assert result.err == (
        "warning: instances of docker are not shown:"
        " you may not talk to the Docker engine (permission denied on its socket)\n"
    )


# logs -----------------------------------------------------------------------------------------------------------------


def test_logs(envkit: Envkit, running: None) -> None:
    assert envkit("logs", "first").out == "one\ntwo\nthree\n"
    assert envkit("logs", "first", "-n", "2").out == "two\nthree\n"
    assert envkit("logs", "first", "--tail", "0").out == ""
    assert envkit("logs", "-f", "second").out == "done\n"


@pytest.mark.parametrize("command", ["logs", "stop", "url", "exec", "shell"])
def test_an_unknown_instance(envkit: Envkit, running: None, terminal: None, command: str) -> None:
    result = envkit(command, "fist", *(["true"] if command == "exec" else []))

    assert (result.status, result.out) == (2, "")
    assert result.err == "error: there is no instance named fist\n\nhint: there are: first, second\n"


def test_an_unknown_instance_where_there_is_none(envkit: Envkit) -> None:
    assert envkit("logs", "first").err == "error: there is no instance named first\n\nhint: nothing is running\n"


# stop -----------------------------------------------------------------------------------------------------------------

Names = Callable[[], list[str]]


@pytest.fixture
def names(envkit: Envkit) -> Names:
    return lambda: [each["name"] for each in envkit("ps", "--json").data]


def test_named_instances_are_stopped(envkit: Envkit, running: None, names: Names) -> None:
    result = envkit("stop", "second", "--json")

    assert (result.status, result.data, result.err) == (0, ["second"], "stopped second\n")
    assert names() == ["first"]


def test_all_instances_are_stopped(envkit: Envkit, running: None, names: Names) -> None:
    assert envkit("stop", "--all").err == "stopped first\nstopped second\n"
    assert names() == []


def test_a_dry_run_stops_nothing(envkit: Envkit, running: None, names: Names) -> None:
    assert envkit("stop", "--all", "--dry-run").err == "would stop first\nwould stop second\n"
    assert names() == ["first", "second"]


def test_an_unknown_name_among_others_stops_nothing(envkit: Envkit, running: None, names: Names) -> None:
    assert envkit("stop", "first", "third").status == 2
    assert names() == ["first", "second"]


@pytest.mark.parametrize("argv", [[], ["first", "--all"]])
def test_what_to_stop_must_be_said(envkit: Envkit, running: None, names: Names, argv: list[str]) -> None:
    result = envkit("stop", *argv)

    assert result.status == 2
    assert result.err == ("error: name the instances to stop, or say `--all`\n\nhint: `envkit ps` lists them\n")
    assert names() == ["first", "second"]


# url ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(envkit: Envkit, machine: Machine) -> str:
    """A page that answers; its address."""
    result = envkit("run", "demo", "page", "--detach", "--port", "0", "--json")
    assert result.status == 0, result.err
    return str(result.data["url"])


def test_the_address_alone(envkit: Envkit, page: str) -> None:
    assert envkit("url", "demo-page").out == f"{page}\n"
    assert envkit("url", "demo-page", "--json").data == {"name": "demo-page", "url": page}


def test_what_does_not_listen_has_no_address(envkit: Envkit, running: None) -> None:
    result = envkit("url", "first")

    assert (result.status, result.out) == (2, "")
    assert (
        result.err == "error: first has no address: train does not listen\n\nhint: `envkit ps` shows which have one\n"
    )


def test_what_has_ended_has_no_address(envkit: Envkit, machine: Machine, page: str) -> None:
    machine.docker.end("demo-page", 1)

    result = envkit("url", "demo-page", "--json")

    assert result.status == 2
    assert result.data["error"]["message"] == f"demo-page has ended, and nothing answers at {page}"
    assert result.data["error"]["hint"] == "`envkit logs demo-page` shows what it printed"


# exec, shell ----------------------------------------------------------------------------------------------------------


@dataclass
class Became:
    """What this process would have become."""

    argv: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = ""
    fails: OSError | None = None

    def __call__(self, program: str, argv: tuple[str, ...], env: dict[str, str]) -> None:
        assert program == argv[0]
        self.argv, self.env = argv, env
        if self.fails:
            raise self.fails
        sys.exit(77)


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> Iterator[Became]:
    """What takes envkit's place; the tests go on in their own process, which outlives a broken pipe."""
    became, handler = Became(), signal.getsignal(signal.SIGPIPE)

    def chdir(path: str) -> None:
        became.workdir = path

    monkeypatch.setattr("os.execvpe", became)
    monkeypatch.setattr("os.chdir", chdir)
    yield became
    signal.signal(signal.SIGPIPE, handler)


@pytest.mark.parametrize("argv", [["--", "python", "-c", "x"], ["python", "-c", "x"]])
def test_a_program_takes_the_place_of_envkit(envkit: Envkit, running: None, became: Became, argv: list[str]) -> None:
    result = envkit("exec", "first", *argv)

    assert (result.status, result.out, result.err) == (77, "", "")
    assert (became.argv, became.env, became.workdir) == (("python", "-c", "x"), {"INSIDE": "first"}, "/")


def test_the_program_s_own_dashes_are_its_own(envkit: Envkit, running: None, became: Became) -> None:
    envkit("exec", "first", "--", "sh", "-c", "--", "true", "--json")

    assert became.argv == ("sh", "-c", "--", "true", "--json")


def test_a_program_at_a_terminal_gets_it(envkit: Envkit, running: None, became: Became, terminal: None) -> None:
    envkit("exec", "first", "python")

    assert became.argv == ("--tty", "python")


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (FileNotFoundError(2, "No such file or directory"), 127, "nothing: No such file or directory\n"),
        (PermissionError(13, "Permission denied"), 126, "nothing: Permission denied\n"),
    ],
)
def test_a_program_that_is_not_there(
    envkit: Envkit, running: None, became: Became, error: OSError, status: int, words: str
) -> None:
    became.fails = error

    result = envkit("exec", "first", "nothing")

    assert (result.status, result.out, result.err) == (status, "", words)


def test_a_folder_that_is_gone(envkit: Envkit, running: None, became: Became, monkeypatch: pytest.MonkeyPatch) -> None:
    def chdir(path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr("os.chdir", chdir)

    result = envkit("exec", "first", "true")

    assert (result.status, became.argv) == (2, ())
    assert result.err == (
        "error: the app's folder cannot be entered: /: No such file or directory\n\nhint: it was moved or removed\n"
    )


@pytest.mark.parametrize("argv", [[], ["--"]])
def test_which_program_must_be_said(envkit: Envkit, running: None, argv: list[str]) -> None:
    result = envkit("exec", "first", *argv)

    assert result.status == 2
    assert result.err == ("error: name the program to run\n\nhint: such as `envkit exec first -- python --version`\n")


@pytest.mark.parametrize("command", [["exec", "second", "true"], ["shell", "second"]])
def test_nothing_runs_in_what_has_ended(envkit: Envkit, running: None, terminal: None, command: list[str]) -> None:
    result = envkit(*command)

    assert (result.status, result.out) == (7, "")
    assert result.err == (
        "error: second is not running\n\n"
        "hint: `envkit logs second` shows what it printed; `envkit ps` lists what runs\n"
    )


def test_a_shell_needs_a_terminal(envkit: Envkit, running: None, became: Became) -> None:
    result = envkit("shell", "first")

    assert (result.status, became.argv) == (2, ())
    assert result.err == (
        "error: a shell needs a terminal\n\nhint: `envkit exec first -- COMMAND` runs one program without\n"
    )


def test_a_shell_at_a_terminal(envkit: Envkit, running: None, became: Became, terminal: None) -> None:
    envkit("shell", "first")

    tty, *words, script, zero, name = became.argv
    assert (tty, words, zero, name) == ("--tty", ["sh", "-c"], "sh", "first")
    assert script.splitlines() == [
        "command -v bash >/dev/null || exec sh",
        'exec env PS1="($1) \\w\\$ " bash --norc',
    ]
