"""`envkit diagnose`, and what other commands say of the cause of a failure."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from envkit.errors import BuildError, ResolutionError
from envkit.host.facts import HostFacts
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Progress, Recipe
    from tests.unit.cli.conftest import Envkit, Machine

KNOWN = """\
starting
Traceback (most recent call last):
  File "/srv/venv/lib/python3.11/site-packages/bitsandbytes/triton/kernels.py", line 12, in <module>
    from triton.ops.matmul_perf_model import early_config_prune
ModuleNotFoundError: No module named 'triton.ops'
"""
UNKNOWN = """\
Traceback (most recent call last):
  File "/srv/run/train.py", line 12, in <module>
    main()
KeyError: 'lr'
The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/srv/run/train.py", line 14, in <module>
    main()
ValueError: no learning rate
"""
EXPLAINED = """\
✗ bitsandbytes is too old for this triton  bnb-triton-ops-missing
    line 5      ModuleNotFoundError: No module named 'triton.ops'
    cause       triton 3.2, which comes with torch 2.6, has no triton.ops any more; bitsandbytes imports it up to 0.45.1.
    do          `pip install --upgrade 'bitsandbytes>=0.45.5'`
    source      https://github.com/ostris/ai-toolkit/issues/279

"""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of something that is known."""
    path = tmp_path / "train.log"
    path.write_text(KNOWN)
    return path


def stdin(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_file(envkit: Envkit, log: Path) -> None:
    result = envkit("diagnose", str(log))

    assert (result.status, result.out, result.err) == (0, EXPLAINED, "")


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_stdin(envkit: Envkit, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    stdin(monkeypatch, KNOWN)

    result = envkit("diagnose", *arguments)

    assert (result.status, result.out, result.err) == (0, EXPLAINED, "")


def test_an_instance(envkit: Envkit, machine: Machine) -> None:
    machine.venv = FakeBackend("venv", status=3, output=KNOWN.encode())
    assert envkit("run", "demo", "train", "--backend", "venv", "--detach", "--name", "mine").status == 0

    result = envkit("diagnose", "mine")

    assert (result.status, result.out, result.err) == (0, EXPLAINED, "")


def test_an_instance_is_judged_by_what_it_was_started_with(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = b"requests.exceptions.ReadTimeout: HTTPSConnectionPool(host='huggingface.co', port=443): Read timed out."
    machine.venv = FakeBackend("venv", status=3, output=words)
    assert envkit("run", "demo", "train", "--backend", "venv", "--detach", "--name", "mine").status == 0
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.com")  # of the shell, later

    found = envkit("diagnose", "mine", "--json").data["diagnoses"][0]

    assert (found["id"], found["confirmed"]) == ("hf-cannot-connect", ["HF_ENDPOINT is unset"])


def test_json(envkit: Envkit, log: Path) -> None:
    assert envkit("diagnose", str(log), "--json").data == {
        "diagnoses": [
            {
                "id": "bnb-triton-ops-missing",
                "title": "bitsandbytes is too old for this triton",
                "severity": "fatal",
                "cause": "triton 3.2, which comes with torch 2.6, has no triton.ops any more; bitsandbytes imports it"
                " up to 0.45.1.",
                "fix": ["`pip install --upgrade 'bitsandbytes>=0.45.5'`"],
                "evidence": [{"line": 5, "text": "ModuleNotFoundError: No module named 'triton.ops'"}],
                "source": "https://github.com/ostris/ai-toolkit/issues/279",
                "check": [],
                "confirmed": [],
                "contradicted": [],
                "unchecked": [],
                "consequences": [],
            }
        ],
        "exception": {
            "kind": "ModuleNotFoundError",
            "message": "No module named 'triton.ops'",
            "line": 5,
            "frame": "/srv/venv/lib/python3.11/site-packages/bitsandbytes/triton/kernels.py:12 in <module>",
            "ended_as": "",
        },
        "lines": 5,
        "failed": True,
        "unknown": False,
    }


def test_what_is_unknown_goes_back_to_its_exception(envkit: Envkit, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, UNKNOWN)

    result = envkit("diagnose")

    assert (result.status, result.err) == (1, "")
    assert result.out == (
        "no known cause in 10 lines; it goes back to\n"
        "    line 4      KeyError: 'lr'\n"
        "    in          /srv/run/train.py:12 in <module>\n"
        "    became      ValueError: no learning rate\n"
        "\n"
        "if that is no fault of your own code, report it to envkit with the log, or the 50 lines around that one, and with"
        " what `envkit doctor --record facts.json` writes\n"
    )


@pytest.mark.parametrize("text", ["", "step 1 loss 0.5\n"])
def test_a_healthy_log(envkit: Envkit, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    stdin(monkeypatch, text)
    result = envkit("diagnose")

    count = len(text.splitlines())
    assert result.status == 1
    assert result.out == f"nothing known in {count} line{'s' if count != 1 else ''}: no failure that shows\n"

    stdin(monkeypatch, text)
    assert envkit("diagnose", "--json").data == {
        "diagnoses": [],
        "exception": None,
        "lines": count,
        "failed": False,
        "unknown": True,
    }


def test_credentials_are_not_shown(envkit: Envkit, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "RuntimeError: https://me:secret@hub.example/x is gone\n")

    result = envkit("diagnose")

    assert "secret" not in result.out
    assert "https://***@hub.example/x is gone" in result.out
    stdin(monkeypatch, "RuntimeError: https://me:secret@hub.example/x is gone\n")
    assert "secret" not in envkit("diagnose", "--json").out


def test_facts_of_this_machine_are_asked_for_with_here_alone(
    envkit: Envkit, machine: Machine, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("envkit.host.probes.probe_host", lambda *_: asked.append(1) or HostFacts())

    envkit("diagnose", str(log))
    assert asked == []
    envkit("diagnose", str(log), "--here")
    assert asked == [1]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "error: there is neither a file nor an instance of that name: nothing\n\nhint: `envkit ps` lists"),
        (".", "error: this is a folder: .\n\nhint: name a file in it\n"),
    ],
)
def test_what_is_no_log(envkit: Envkit, name: str, words: str) -> None:
    result = envkit("diagnose", name)

    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(words)


def test_no_log_at_a_terminal(envkit: Envkit, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    result = envkit("diagnose")

    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "error: no log is named\n\nhint: name a file or an instance, or pipe one in: `… 2>&1 | envkit diagnose`\n"
    )


# What failures say by themselves ------------------------------------------------------------------------------------------


def cause(home: Path, name: str) -> str:
    return (
        "\ncause: bitsandbytes is too old for this triton\n"
        "  line 5: ModuleNotFoundError: No module named 'triton.ops'\n"
        "  fix: `pip install --upgrade 'bitsandbytes>=0.45.5'`\n"
        f"  `envkit diagnose {home}/failures/{name}.log` tells more\n"
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ENVKIT_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


def test_a_job_that_fails_tells_its_cause(envkit: Envkit, machine: Machine, home: Path) -> None:
    machine.docker = FakeBackend(status=42, output=KNOWN.encode())

    result = envkit("run", "demo", "train")

    assert (result.status, result.out) == (42, KNOWN)
    assert result.err.endswith(cause(home, "run"))
    kept = home / "failures" / "run.log"
    assert kept.read_text() == KNOWN
    assert kept.stat().st_mode & 0o777 == 0o600
    assert envkit("diagnose", str(kept)).out == EXPLAINED


@pytest.mark.parametrize(("status", "output"), [(42, UNKNOWN), (0, KNOWN), (130, "")])
def test_where_nothing_is_known_or_nothing_failed_nothing_is_said(
    envkit: Envkit, machine: Machine, home: Path, status: int, output: str
) -> None:
    machine.docker = FakeBackend(status=status, output=output.encode())

    result = envkit("run", "demo", "train")

    assert result.status == status
    assert "cause:" not in result.err
    assert not (home / "failures").exists()


def test_a_server_that_does_not_start_tells_its_cause(envkit: Envkit, machine: Machine, home: Path) -> None:
    """What is shown are the last lines; the cause is looked for in all of them."""
    machine.docker = FakeBackend(status=5, output=KNOWN.encode() + b"shutting down\n" * 100)

    result = envkit("run", "demo", "page", "--port", "0", "--detach")

    assert result.status == 5
    assert "triton" not in result.err.split("\ncause:")[0]
    assert result.err.endswith(f"{cause(home, 'app')}\nhint: the lines above are the last that it printed\n")


def test_a_folder_that_cannot_be_written_to_costs_only_the_log(envkit: Envkit, machine: Machine, home: Path) -> None:
    home.mkdir()
    (home / "failures").write_text("a file")
    machine.docker = FakeBackend(status=42, output=KNOWN.encode())

    result = envkit("run", "demo", "train")

    assert result.status == 42
    assert result.err.endswith("  fix: `pip install --upgrade 'bitsandbytes>=0.45.5'`\n")


class Unbuildable(FakeBackend):
    """No image can be made."""

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Fails as the engines do."""
        raise BuildError(
            f"building {recipe.environment.image} failed", details="it failed", hint="fix it", log=KNOWN.encode()
        )


def test_a_build_that_fails_tells_its_cause(envkit: Envkit, machine: Machine, home: Path) -> None:
    machine.docker = Unbuildable()

    result = envkit("build", "demo-cu130")

    assert result.status == 8
    assert result.err.endswith(f"{cause(home, 'build')}\nhint: fix it\n")
    assert envkit("build", "demo-cu130", "--json").data["error"]["diagnosis"] == {
        "id": "bnb-triton-ops-missing",
        "title": "bitsandbytes is too old for this triton",
        "fix": ["`pip install --upgrade 'bitsandbytes>=0.45.5'`"],
    }


def test_a_lock_that_fails_tells_its_cause(envkit: Envkit, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ResolutionError("the resolver could not work on demo-cpu", log=KNOWN.encode())

    monkeypatch.setattr("envkit.cli.lock.resolve", refuse)

    result = envkit("lock", "demo-cpu")

    assert result.status == 5
    assert result.err.endswith(cause(home, "resolution"))


def test_names_of_instances_and_files_are_completed(envkit: Envkit, machine: Machine) -> None:
    from click.shell_completion import ShellComplete

    from envkit.cli import cli

    machine.venv = FakeBackend("venv", status=0)
    assert envkit("run", "demo", "train", "--backend", "venv", "--detach", "--name", "mine").status == 0

    items = ShellComplete(cli, {}, "envkit", "_ENVKIT_COMPLETE").get_completions(["diagnose"], "mi")

    assert [(each.value, each.type) for each in items] == [("mine", "plain"), ("mi", "file")]
