"""`envkit ps`, `logs` and `stop`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Envkit, Machine


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


def test_json(envkit: Envkit, running: None) -> None:
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


@pytest.mark.parametrize("command", ["logs", "stop"])
def test_an_unknown_instance(envkit: Envkit, running: None, command: str) -> None:
    result = envkit(command, "fist")

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
