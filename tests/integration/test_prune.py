"""`envkit prune` with real environments: those of the tiny framework alone, because engines are everybody's."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import until
from tests.integration.conftest import ENGINES

if TYPE_CHECKING:
    from tests.integration.command import Cli

pytestmark = pytest.mark.index

OLD = "0123456789ab"


@pytest.fixture
def alone(cli: Cli) -> Cli:
    """The command line with a home, a matrix and caches of its own, and no engine: all of `prune` may be tried."""
    assert cli.matrix is not None
    shutil.copytree(cli.matrix.parent, cli.cwd / "matrix")
    podman = cli.cwd / "bin/podman"
    podman.parent.mkdir()
    podman.write_text("#!/bin/sh\nexit 125\n")
    podman.chmod(0o755)
    torch_caches = ("TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    env = {
        "DOCKER_HOST": "unix:///nowhere/docker.sock",
        "PATH": f"{podman.parent}{os.pathsep}{os.environ['PATH']}",
        **{name: str(cli.cwd / name) for name in torch_caches},
    }
    return replace(cli, home=cli.cwd / "home", matrix=cli.cwd / "matrix/envmatrix.yaml", env=env)


def environments(cli: Cli) -> list[str]:
    """What is in the folder of venvs, apart from guards."""
    return sorted(each.name for each in (cli.home / "environments").iterdir() if not each.name.endswith(".guard"))


def test_a_named_environment_goes_and_comes_again(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "job", "--backend", backend, "--", "0")
    cli("run", "tiny", "sleep", "--backend", backend, "-d")
    assert "error: tiny-cpu is used by " in cli("prune", "tiny-cpu", "--yes", status=2).stderr
    instance = cli.instance("tiny-sleep")
    assert instance
    assert instance["status"] == "running"
    cli("stop", "-t", "1", "tiny-sleep")
    kind = "venv" if backend == "venv" else "image"

    shown = cli("prune", "tiny-cpu", "--dry-run", "--json").json
    mine = [each for each in shown["items"] if (each["kind"], each["backend"]) == (kind, backend)]
    assert len(mine) >= 1
    assert {each["environment"] for each in shown["items"]} == {"tiny-cpu"}
    assert all(each["bytes"] > 0 and not each["removed"] for each in mine)
    ready = ["run", "tiny", "job", "--backend", backend, "--dry-run", "--json"]
    assert cli(*ready).json["ready"] is True

    done = cli("prune", "tiny-cpu", "--yes", "--json").json

    assert all(each["removed"] for each in done["items"]), done
    assert cli(*ready).json["ready"] is False
    assert cli("prune", "tiny-cpu", "--yes").stderr == "there is nothing to remove\n"
    assert (cli.cwd / "workspace/tiny/saves/result.txt").read_text() == "done\n"
    cli("run", "tiny", "job", "--backend", backend, "--", "0")
    assert cli(*ready).json["ready"] is True


@pytest.mark.parametrize("backend", ENGINES)
def test_an_image_that_an_ended_container_needs_stays(cli: Cli, backend: str) -> None:
    cli("run", "tiny", "job", "--backend", backend, "-d")
    until(lambda: (cli.instance("tiny-job") or {}).get("status") == "exited")

    done = cli("prune", "tiny-cpu", "--yes", status=2)

    assert "error: tiny-cpu is used by container envkit-tiny-job\n" in done.stderr
    assert cli("run", "tiny", "job", "--backend", backend, "--dry-run", "--json").json["ready"] is True
    cli("stop", "tiny-job")


def test_the_venv_of_a_lock_that_is_gone_goes(alone: Cli) -> None:
    assert alone.matrix is not None
    alone("run", "tiny", "sleep", "--backend", "venv", "-d")
    (old,) = environments(alone)
    assert alone("prune", "--yes").stderr == "there is nothing to remove\n"

    alone.matrix.write_text(alone.matrix.read_text().replace("bottle==0.13.4", "bottle==0.13.3"))
    alone("lock", "tiny-cpu")
    (alone.home / f"environments/.tiny-cpu-{OLD}.staging-1/lib").mkdir(parents=True)
    compiled = alone.cwd / f"TRITON_CACHE_DIR/tiny-cpu-{OLD}-venv"
    (compiled / "kernel").mkdir(parents=True)
    users_own = alone.cwd / "TRITON_CACHE_DIR/kernel"
    users_own.mkdir()

    kept = alone("prune", "--yes")  # the instance still runs in it
    assert f"{old} stays: used by tiny-sleep\n" in kept.stderr
    assert environments(alone) == [old]
    assert (compiled.exists(), users_own.exists()) == (False, True)
    assert (
        alone("exec", "tiny-sleep", "--", "python", "-c", "import bottle; print(bottle.__version__)").stdout
        == "0.13.4\n"
    )
    alone("stop", "-t", "1", "tiny-sleep")

    alone("run", "tiny", "job", "--backend", "venv", "--", "0")
    new = next(each for each in environments(alone) if each != old)
    gone = alone("prune", "--yes", "--json").json
    assert [(each["kind"], each["name"], each["removed"]) for each in gone["items"]] == [("venv", old, True)]
    assert environments(alone) == [new]
    alone("run", "tiny", "job", "--backend", "venv", "--", "0")


def test_all_and_the_cache_go_and_what_runs_goes_on(alone: Cli) -> None:
    alone("run", "tiny", "sleep", "--backend", "venv", "-d")
    (name,) = environments(alone)

    alone("prune", "--cache", "--yes")  # what uv cannot use any more
    wheels = list((alone.home / "cache/uv").rglob("bottle.py"))
    assert wheels

    done = alone("prune", "--all", "--cache", "--yes", "--json").json
    assert [(each["kind"], each["removed"]) for each in done["items"]] == [("downloads", True)]
    assert [(each["name"], each["used_by"]) for each in done["kept"]] == [(name, ["tiny-sleep"])]
    assert not list((alone.home / "cache/uv").rglob("bottle.py"))
    assert (
        alone("exec", "tiny-sleep", "--", "python", "-c", "import bottle; print(bottle.__version__)").stdout
        == "0.13.4\n"
    )
    alone("stop", "-t", "1", "tiny-sleep")

    done = alone("prune", "--all", "--yes", "--json").json
    assert [(each["kind"], each["name"], each["frees"] == each["bytes"]) for each in done["items"]] == [
        ("venv", name, True)
    ]
    assert environments(alone) == []


def test_a_terminal_app_keeps_its_venv(alone: Cli) -> None:
    """It has no record."""
    with alone.running("run", "tiny", "ask", "--backend", "venv", terminal=True) as talk:
        talk.wait_for("your name? ")

        done = alone("prune", "--all", "--yes")

        assert "stays: used by process " in done.stderr
        talk.type("Ada\n")
        assert talk.end() == 4
    assert len(environments(alone)) == 1


def test_the_question_is_asked_at_a_terminal(alone: Cli) -> None:
    alone("run", "tiny", "job", "--backend", "venv", "--", "0")
    (name,) = environments(alone)
    assert "nobody is there to be asked" in alone("prune", "--all", status=2).stderr

    for answer, left in (("n\n", [name]), ("\x03", [name]), ("y\n", [])):
        with alone.running("prune", "--all", terminal=True) as prune:
            prune.wait_for("remove them? [y/N]: ")
            assert name in prune.stdout
            prune.type(answer)
            assert prune.end() == (130 if answer == "\x03" else 0)
        assert environments(alone) == left


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["interrupted", "killed"])
def test_an_interrupted_removal_is_finished_by_the_next(alone: Cli, number: signal.Signals) -> None:
    alone("run", "tiny", "job", "--backend", "venv", "--", "0")
    (name,) = environments(alone)
    many = alone.home / "environments" / name / "lib/many"
    for folder in range(200):
        (many / str(folder)).mkdir(parents=True)
        for file in range(100):
            (many / str(folder) / str(file)).touch()

    with alone.running("prune", "--all", "--yes") as prune:
        until(lambda: environments(alone) != [name])
        prune.send(number)
        prune.end()

    (left,) = environments(alone)
    assert left.startswith(f".{name}.staging-")
    assert alone("run", "tiny", "job", "--backend", "venv", "--dry-run", "--json").json["ready"] is False

    done = alone("prune", "--yes", "--json").json
    assert [(each["name"], each["environment"], each["removed"]) for each in done["items"]] == [
        (left, "tiny-cpu", True)
    ]
    assert environments(alone) == []
