"""`envkit bootstrap`, with steps that are invented or not run."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import msgspec
import pytest

from envkit.bootstrap.choose import Sources
from envkit.bootstrap.runner import Ended
from tests.fakes import FakeBackend
from tests.unit.bootstrap.machines import MISSING, USABLE, fresh, system
from tests.unit.bootstrap.test_choose import AUTODL

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Progress
    from envkit.bootstrap.choose import Outline
    from envkit.bootstrap.knowledge import Distribution
    from envkit.matrix.schema import Mirror
    from tests.unit.cli.conftest import Envkit, Machine

PLAIN = fresh("debian-12", gpus=(), hardware=(), driver=None, system=system("debian-12", nofile=-1))


class Ground:
    """What the commands find where steps would be run: what is done already, and what was run."""

    done: frozenset[str] = frozenset()

    def __init__(self) -> None:
        """Nothing is done."""
        self.ran: list[str] = []


@pytest.fixture
def ground(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Ground:
    """A fresh Debian without a GPU, whose steps are written down instead of run; all repositories answer."""
    ground = Ground()

    def run(outline: Outline, log: Path, progress: Progress) -> list[Ended]:
        left = [each for each in outline.steps if each.id not in ground.done]
        ground.ran += [each.id for each in left]
        return [Ended(each, "done" if each in left else "skipped", 1.0) for each in outline.steps]

    monkeypatch.setattr("envkit.cli.bootstrap.run_steps", run)
    monkeypatch.setattr(
        "envkit.cli.bootstrap.pending",
        lambda outline: [each for each in outline.steps if each.id not in ground.done],
    )

    def find(distribution: Distribution, first: Mirror | None, others: object) -> tuple[Sources, dict[str, object]]:
        docker = first.docker_packages if first else "https://download.docker.com"
        return Sources(docker, "https://toolkit.example"), {}

    monkeypatch.setattr("envkit.cli.bootstrap.find_sources", find)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    machine.facts, machine.docker = PLAIN, FakeBackend(status=0)
    return ground


def answer(monkeypatch: pytest.MonkeyPatch, *, yes: bool) -> None:
    monkeypatch.setattr("envkit.cli.bootstrap.agreed", lambda _: yes)


STEPS = ["packages", "prerequisites", "docker-repository", "daemon-json", "docker-engine", "docker-running"]


def test_every_step_is_shown_before_it_is_asked_for(
    envkit: Envkit, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, yes=False)

    result = envkit("bootstrap")

    assert (result.status, ground.ran) == (0, [])
    assert result.err.startswith("Debian 12, docker: this machine can run containers\n  · packages: ")
    assert (
        "        fetch_key https://download.docker.com/linux/debian/gpg 9DC858229FC7DD38854AE2D88D81803C0EBFCD88 /etc/apt/keyrings/docker.asc\n"
        '        put /etc/apt/sources.list.d/docker.sources <<<"$docker_source"\n'
    ) in result.err
    assert result.err.endswith("nothing was run; `--script FILE` writes the steps as a script\n")


def test_with_consent_they_are_run(envkit: Envkit, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, yes=True)

    assert envkit("bootstrap").status == 0
    assert ground.ran == STEPS


def test_yes_does_not_ask_and_json_tells_what_became_of_each(envkit: Envkit, ground: Ground) -> None:
    ground.done = frozenset({"packages"})

    result = envkit("bootstrap", "--yes", "--json")

    assert ground.ran == STEPS[1:]
    assert {key: result.data[key] for key in ("distribution", "route", "notes", "script")} == {
        "distribution": "Debian 12",
        "route": "docker",
        "notes": [],
        "script": None,
    }
    assert [(each["id"], each["result"]) for each in result.data["steps"]] == [
        (name, "skipped" if name == "packages" else "done") for name in STEPS
    ]


def test_nothing_is_asked_where_nothing_is_left(envkit: Envkit, ground: Ground) -> None:
    ground.done = frozenset(STEPS)

    result = envkit("bootstrap")

    assert result.err.endswith("  ✓ docker-running: the engine, started with these settings\nnothing is left to do\n")


def test_a_dry_run_prints_the_script_and_runs_nothing(envkit: Envkit, ground: Ground) -> None:
    result = envkit("bootstrap", "--dry-run")

    assert result.out.startswith("#!/usr/bin/env bash\n# Made by `envkit bootstrap`: prepares Debian 12 ")
    assert ground.ran == []


def test_a_script_for_another_machine(envkit: Envkit, ground: Ground, tmp_path: Path) -> None:
    facts, script = tmp_path / "facts.json", tmp_path / "script.sh"
    facts.write_bytes(msgspec.json.encode(fresh(**AUTODL)))

    result = envkit("bootstrap", "--facts", str(facts), "--script", str(script))

    assert (result.out, result.err) == ("", f"written to {script}; read it, then: sudo -E bash {script}\n")
    assert "# 1. compiler: a C compiler\n" in script.read_text()


def test_a_named_mirror_reaches_the_script(envkit: Envkit, ground: Ground, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("about: ours\ndocker_packages: https://ours.example/docker-ce\n")

    assert "docker_key_url=https://ours.example/docker-ce/linux/debian/gpg\n" in envkit(
        "bootstrap", "--dry-run", "--mirror", str(mine)
    ).out  # fmt: skip


def test_a_password_of_a_mirror_is_shown_to_nobody_and_its_script_is_private(
    envkit: Envkit, ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, script = tmp_path / "mine.yaml", tmp_path / "script.sh"
    mine.write_text("about: ours\ndocker_packages: https://me:hunter2@ours.example/docker-ce\n")
    answer(monkeypatch, yes=True)

    said = envkit("bootstrap", "--mirror", str(mine)).err
    envkit("bootstrap", "--script", str(script), "--mirror", str(mine))

    assert "fetch_key https://***@ours.example/docker-ce/linux/debian/gpg " in said
    assert "hunter2" not in said
    assert "hunter2" in script.read_text()
    assert stat.S_IMODE(script.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--facts", "x.json"], "--facts is about another machine"),
        (["--json"], "--json does not ask"),
        (["demo", "--yes", "--json"], "--json tells of the machine alone"),
        (["demmo", "--yes"], "unknown framework: demmo"),
        (["--data-root", "docker"], "not a folder from the root on: docker"),
        (["--script", "/nowhere/x.sh"], "no such folder: /nowhere"),
        (["--data-root", "/"], "not a folder from the root on: /"),
        (["--data-root", "/nowhere/docker"], "no such folder: /nowhere"),
        (["--data-root", __file__], f"not a folder: {__file__}"),
        (["--dry-run", "--mirror", "nera"], "unknown mirror: nera"),
    ],
)
def test_what_cannot_be_meant_is_refused(envkit: Envkit, ground: Ground, argv: list[str], message: str) -> None:
    result = envkit("bootstrap", *argv)

    assert result.status == 2
    assert message in (json.loads(result.out)["error"]["message"] if "--json" in argv else result.err)


def test_an_unknown_distribution_is_refused(envkit: Envkit, ground: Ground, machine: Machine) -> None:
    machine.facts = fresh(system=system(os="arch", os_version="", os_name="Arch Linux"))

    result = envkit("bootstrap", "--dry-run")

    assert result.status == 7
    assert result.err.startswith("error: Arch Linux cannot be prepared: no steps are known for it\n  missing: ")


def test_with_a_framework_it_goes_on_to_the_proof(
    envkit: Envkit, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    proved: list[dict[str, object]] = []

    def prove(**options: object) -> int:
        proved.append(options)
        return 1

    monkeypatch.setattr("envkit.cli.bootstrap.smoke_command.callback", prove)

    assert envkit("bootstrap", "demo", "--yes", "--backend", "venv").status == 1
    assert ground.ran != []
    assert [(each["name"], each["backend"], each["only"]) for each in proved] == [("demo", "venv", ())]


def test_without_consent_nothing_is_proved(envkit: Envkit, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, yes=False)
    monkeypatch.delattr("envkit.cli.bootstrap.smoke_command.callback")

    assert envkit("bootstrap", "demo").status == 0
    assert ground.ran == []


def test_a_dry_run_says_how_it_would_go_on(envkit: Envkit, ground: Ground) -> None:
    assert envkit("bootstrap", "demo", "--dry-run").err.endswith("then: envkit smoke demo\n")


# up -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch, ground: Ground) -> list[str]:
    """The programs that the process became."""
    became: list[str] = []
    monkeypatch.setattr("os.execvp", lambda _, argv: became.extend(argv))
    return became


def test_up_is_run_where_nothing_is_missing(
    envkit: Envkit, ground: Ground, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.facts = fresh(gpus=(), engine=USABLE)

    result = envkit("up", "demo", "train", "--backend", "docker")

    assert (result.status, ground.ran) == (0, [])
    assert [each.app for each in machine.docker.started] == ["train"]


def test_up_prepares_what_is_missing_and_goes_on(envkit: Envkit, ground: Ground, machine: Machine) -> None:
    machine.facts = fresh(gpus=(), hardware=(), engine=MISSING, system=system(nofile=-1))

    assert envkit("up", "demo", "train", "--yes").status == 0
    assert ground.ran == STEPS
    assert [each.app for each in machine.docker.started] == ["train"]


def test_up_goes_on_without_what_the_user_does_not_want(
    envkit: Envkit, ground: Ground, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, yes=False)
    machine.facts = fresh(gpus=(), hardware=(), engine=MISSING)

    assert envkit("up", "demo", "train").status == 0
    assert ground.ran == []
    assert [each.app for each in machine.docker.started] == ["train"]


def test_a_dry_up_shows_and_changes_nothing(envkit: Envkit, ground: Ground, machine: Machine) -> None:
    machine.facts = fresh(gpus=(), hardware=(), engine=MISSING)

    result = envkit("up", "demo", "train", "--dry-run")

    assert result.status == 0
    assert ground.ran == []
    assert "docker-engine: Docker Engine with buildx and compose" in result.err
    assert result.out.startswith("environment  ")
    assert machine.docker.started == []


def test_a_new_member_of_the_group_need_not_log_in_again(
    envkit: Envkit, ground: Ground, prepared: list[str], machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    machine.facts = fresh(gpus=(), hardware=(), engine=MISSING)

    envkit("up", "demo", "train", "--yes")

    assert ground.ran[-2:] == ["docker-group", "limits"]
    assert prepared[:3] == ["sg", "docker", "-c"]
    assert prepared[3].endswith(" -m envkit up demo train --yes")


def test_an_unknown_app_is_told_before_anything_is_prepared(envkit: Envkit, ground: Ground) -> None:
    result = envkit("up", "demo", "training", "--yes")

    assert (result.status, ground.ran) == (2, [])
    assert result.err.startswith("error: unknown app of demo: training")
