"""`envkit prune`: what it shows, what it asks, and what it then does."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

import pytest

from envkit.backends.base import Made, Recipe
from envkit.lock.lockfile import read_lock
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit, Machine

OLD = "demo-cpu-0123456789ab"


@pytest.fixture
def old(machine: Machine, tmp_path: Path) -> Path:
    """The machine has an image and a venv of a lock that is gone; the venv's folder."""
    folder = tmp_path / OLD
    folder.mkdir()
    machine.docker.held = [Made("envkit/demo:1.0-cpu", "demo-cpu", "x", size=7_000_000_000, frees=6_100_000_000)]
    machine.venv.held = [Made(OLD, "demo-cpu", OLD, folder=folder)]
    return folder


def held(machine: Machine) -> list[str]:
    return [each.name for each in (*machine.docker.held, *machine.venv.held)]


def test_it_shows_what_would_go(envkit: Envkit, machine: Machine, old: Path) -> None:
    result = envkit("prune", "--dry-run")

    assert result.status == 0
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["What", "Name", "Size", "Frees"]
    assert lines[2:] == [
        ["image,", "docker", "envkit/demo:1.0-cpu", "7.00", "GB", "6.10", "GB"],
        ["venv", OLD, "0.00", "GB", "0.00", "GB"],
        [],
        ["together", "7.00", "GB;", "removing", "it", "frees", "at", "least", "6.10", "GB"],
    ]
    assert result.err == (
        "a venv's files are links into uv's cache, which keeps them: `envkit prune --all --cache` empties that too\n"
    )
    assert held(machine) == ["envkit/demo:1.0-cpu", OLD]


def test_it_asks_first(envkit: Envkit, machine: Machine, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    asked: list[str] = []

    def confirm(question: str, **_: object) -> bool:
        asked.append(question)
        return next(answers)

    monkeypatch.setattr("click.confirm", confirm)

    assert envkit("prune").err.endswith("nothing was removed\n")
    assert held(machine) == ["envkit/demo:1.0-cpu", OLD]
    result = envkit("prune")
    assert result.status == 0
    assert result.err.endswith("✓ 2 of 2 removed\n")
    assert held(machine) == []
    assert asked == ["remove them?"] * 2


def test_without_anybody_to_ask_nothing_goes(
    envkit: Envkit, machine: Machine, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", StringIO())

    result = envkit("prune")

    assert result.status == 2
    assert result.err.endswith("error: nobody is there to be asked\n\nhint: add --yes, or --dry-run\n")
    assert held(machine) == ["envkit/demo:1.0-cpu", OLD]


def test_what_an_engine_does_not_tell_is_not_claimed(envkit: Envkit, machine: Machine) -> None:
    machine.docker.held = [Made("envkit/demo:1.0-cpu", "demo-cpu", "x", size=7_000_000_000)]

    lines = envkit("prune", "--dry-run").out.splitlines()

    assert lines[2].split() == ["image,", "docker", "envkit/demo:1.0-cpu", "7.00", "GB"]
    assert lines[-1] == "together 7.00 GB"


def test_json(envkit: Envkit, machine: Machine, old: Path) -> None:
    assert envkit("prune", "--json").data["error"]["message"] == "--json does not ask"
    shown = envkit("prune", "--dry-run", "--json")
    done = envkit("prune", "--yes", "--json")

    image = {
        "kind": "image",
        "name": "envkit/demo:1.0-cpu",
        "environment": "demo-cpu",
        "backend": "docker",
        "bytes": 7_000_000_000,
        "frees": 6_100_000_000,
        "removed": True,
        "problem": None,
    }
    assert (done.status, done.data["items"][0]) == (0, image)
    assert [each["removed"] for each in done.data["items"]] == [True, True]
    assert [each["removed"] for each in shown.data["items"]] == [False, False]
    assert {key: shown.data[key] for key in ("kept", "bytes", "frees")} == {
        key: done.data[key] for key in ("kept", "bytes", "frees")
    }
    assert done.data["bytes"] >= 7_000_000_000
    assert held(machine) == []
    assert envkit("prune", "--yes", "--json").data == {"items": [], "kept": [], "bytes": 0, "frees": 0}


def test_what_refuses_is_named_and_the_rest_goes(envkit: Envkit, machine: Machine, old: Path) -> None:
    machine.docker.refusal = "the engine is on fire"

    result = envkit("prune", "--yes", "--json")

    assert result.status == 1
    assert [(each["removed"], each["problem"]) for each in result.data["items"]] == [
        (False, "the engine is on fire"),
        (True, None),
    ]
    assert "error: the engine is on fire\n" in result.err
    assert "1 of 2 removed" in result.err
    assert held(machine) == ["envkit/demo:1.0-cpu"]


def test_what_is_used_stays_and_is_named(envkit: Envkit, machine: Machine, matrix: Matrix) -> None:
    environment = matrix.environment("demo-cpu")
    machine.docker = FakeBackend(page=None)
    machine.docker.made = [Recipe(environment, read_lock(environment))]
    assert envkit("run", "demo", "train", "--detach").status == 0

    result = envkit("prune", "--all", "--yes")

    assert result.status == 0
    name = machine.docker.environments()[0].name
    assert result.err == f"{name} stays: used by demo-train\nthere is nothing to remove\n"


def test_names_and_all_contradict_each_other(envkit: Envkit) -> None:
    result = envkit("prune", "demo-cpu", "--all")

    assert (result.status, result.out) == (2, "")
    assert result.err == "error: `--all` means every environment\n\nhint: leave it out, or the names\n"


def test_a_backend_that_does_not_answer_loses_nothing(envkit: Envkit, machine: Machine, old: Path) -> None:
    machine.docker = FakeBackend(problem="you may not talk to the Docker engine (permission denied on its socket)")

    result = envkit("prune", "--yes", "--json")

    assert [each["name"] for each in result.data["items"]] == [OLD]
    assert result.err.startswith(
        "warning: nothing of docker is removed: you may not talk to the Docker engine (permission denied on its socket)\n"
    )
