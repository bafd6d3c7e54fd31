"""`envkit verify`, with an environment that answers as the tests want it to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from envkit.audit.ask import program
from envkit.audit.seen import Seen
from envkit.backends.base import Made, Recipe
from envkit.evidence import load_evidence
from envkit.host.facts import Gpu, HostFacts
from envkit.lock.lockfile import read_lock
from envkit.process import Completed
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Launch
    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit, Machine

HELP = "usage: demo-cli [-h]"
A100 = Gpu(0, "NVIDIA A100-SXM4-80GB", "GPU-0", 81920, "8.0")


@dataclass
class Inside:
    """Answers the programs that are sent into an environment, as a healthy one does; a test changes what it is about."""

    matrix: Matrix
    changes: dict[str, Any] = field(default_factory=dict)
    """In what is seen."""
    output: dict[str, tuple[int | None, str]] = field(default_factory=dict)
    """Status and words of commands, by their last word."""
    asked: list[list[list[str]]] = field(default_factory=list)
    """The commands that were run, call by call."""

    def __call__(self, launch: Launch) -> Completed:
        *python, text, given = launch.argv
        asked = json.loads(given)
        assert python == ["python", "-I", "-S", "-c"]
        if text == program("answers"):
            self.asked.append(asked["commands"])
            ended = [self.output.get(argv[-1], (0, HELP)) for argv in asked["commands"]]
            return _json([{"status": status, "output": words, "seconds": 2.0} for status, words in ended])
        assert text == program("probe")
        environment = launch.environment
        pins = {**read_lock(environment).packages}
        torch = bool(environment.stack.torch)
        seen = Seen(
            python="3.11.2",
            seconds=(0.1, 2.0, 1.0),
            distributions=tuple(pins.items()),
            records=70,
            files=(),
            cuda={"torch": environment.variant.cuda or ""} if torch else {},
            members=(),
            sonames={},
            libraries=9,
            linking=(),
            programs=tuple(asked["programs"]),
            words=tuple(asked["variables"]),
        )
        return _json(msgspec.structs.replace(seen, **self.changes))


def _json(value: Any) -> Completed:
    return Completed(0, msgspec.json.encode(value).decode(), "")


@pytest.fixture
def inside(matrix: Matrix, machine: Machine) -> Inside:
    answers = Inside(matrix)
    machine.docker.answer = machine.venv.answer = answers
    return answers


def test_a_healthy_environment_passes(envkit: Envkit, machine: Machine, inside: Inside) -> None:
    result = envkit("verify", "demo-cu130")

    assert result.status == 0
    title, heads, _, *rows = result.out.splitlines()
    assert title == "demo-cu130 on the CPU, backend docker: pass"
    assert heads.split() == ["Check", "Result", "Seconds", "Detail"]
    assert [" ".join(row.split()) for row in rows] == [
        "installed pass 0.1 8 packages, exactly the lock; 70 files",
        "companions pass 0.0 torch 2.11.0, CUDA 13.0",
        "linked pass 2.0 9 libraries find what they need",
        "imports pass 2.0 iniconfig",
        "cli pass 8.0 4 apps",
        "variables pass 1.0 7 variables are read",
    ]
    assert result.err.splitlines()[0] == "demo-cu130, backend docker (docker works here)"
    assert result.err.splitlines()[-1].endswith("✓ demo-cu130: pass")


def test_an_environment_is_asked_by_its_own_commands(envkit: Envkit, inside: Inside, share: Path) -> None:
    own = "{api: {argv: [python, -m, api], reason: it has no demo-cli, source: x}, talk: {reason: as api, source: x}}"
    file, text = share / "envmatrix.yaml", "require: [iniconfig==2.0.0]"
    file.write_text(file.read_text().replace(text, f"{text}\n    apps: {own}"))

    result = envkit("verify", "demo-cu124", "--json")

    cli = next(each for each in json.loads(result.out)["checks"] if each["name"] == "cli")
    assert (cli["result"], cli["detail"]) == ("pass", "3 apps")
    asked = [each for launch in inside.asked for each in launch]
    assert ["python", "-m", "api", "--help"] in asked
    assert not any("talk" in argv for argv in asked)


def test_what_is_not_there_is_made_first_and_once(envkit: Envkit, machine: Machine, inside: Inside) -> None:
    first = envkit("verify", "demo-cu130", "--mirror", "near", "--base-image", "mine:1")
    envkit("verify", "demo-cu130", "--mirror", "near", "--base-image", "mine:1")

    assert "✓ demo-cu130 is ready" in first.err
    assert [(each.environment.name, each.base_image) for each in machine.docker.made] == [("demo-cu130", "mine:1")]


@pytest.mark.parametrize("python", [True, False], ids=["with its python", "without one"])
def test_what_is_not_whole_is_judged_as_it_is_where_it_can_be(
    envkit: Envkit, matrix: Matrix, machine: Machine, inside: Inside, tmp_path: Path, python: bool
) -> None:
    environment = matrix.environment("demo-cu130")
    key = machine.docker.key(Recipe(environment, read_lock(environment)))
    machine.docker.held = [Made(key, environment.name, "", folder=tmp_path)]
    (tmp_path / "bin").mkdir()
    if python:
        (tmp_path / "bin/python").touch()

    assert envkit("verify", "demo-cu130").status == 0

    assert len(machine.docker.made) == (0 if python else 1)


def test_programs_inside_have_no_network_and_nothing_of_this_machine(
    envkit: Envkit, machine: Machine, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_TOKEN", "a secret")
    envkit("verify", "demo-cu130")
    envkit("verify", "demo-cu130", "--backend", "venv")

    for launch in (*machine.docker.called, *machine.venv.called):
        assert (launch.network, launch.mounts, launch.port, dict(launch.secrets), launch.gpus) == (
            False,
            (),
            None,
            {},
            (),
        )
        assert (launch.env["DEMO_QUIET"], launch.env["HF_HUB_OFFLINE"]) == ("1", "1")
    assert machine.docker.called[0].workdir == "/workspace"
    assert "HOME" not in machine.docker.called[0].env
    there = machine.venv.called[0]
    assert there.env["HOME"] == there.workdir
    assert there.env["DEMO_HUB"].startswith(there.workdir)
    assert there.env["CUDA_VISIBLE_DEVICES"] == ""


def test_a_fault_fails_and_every_fault_is_shown(envkit: Envkit, inside: Inside) -> None:
    inside.changes["words"] = ()
    inside.output["--help"] = (1, "Traceback\nModuleNotFoundError: No module named 'gradio'\n")

    result = envkit("verify", "demo-cu130")

    assert result.status == 1
    assert "variables    fail     1.0       7 faults" in result.out
    assert (
        "  cli: page: `demo-cli page --help` ended with status 1: ModuleNotFoundError: No module named 'gradio'"
        in result.out
    )
    assert "  variables: nothing that is installed reads DEMO_HUB" in result.out


def test_json_is_one_object_for_one_environment_and_a_list_for_several(envkit: Envkit, inside: Inside) -> None:
    one = envkit("verify", "demo-cu130", "--json").data
    several = envkit("verify", "demo-cu130", "demo-cpu", "--json")

    assert {key: value for key, value in one.items() if key != "checks"} == {
        "environment": "demo-cu130",
        "backend": "docker",
        "device": "cpu",
        "result": "pass",
    }
    assert one["checks"][0] == {
        "name": "installed",
        "result": "pass",
        "detail": "8 packages, exactly the lock; 70 files",
        "seconds": 0.1,
        "faults": [],
        "metrics": {"packages": 8, "files": 70},
    }
    assert [each["environment"] for each in several.data] == ["demo-cu130", "demo-cpu"]


@pytest.fixture
def picky(share: Any) -> None:
    """The demo framework needs a GPU to be imported."""
    path = share / "images/demo/framework.yaml"
    path.write_text(path.read_text() + "without_gpu: [You need a GPU]\n")


IMPORT = "Traceback\nNotImplementedError: You need a GPU.\n@@ not imported: iniconfig\n"


def test_what_needs_a_gpu_is_skipped_and_the_whole_does_not_pass(picky: None, envkit: Envkit, inside: Inside) -> None:
    inside.output["iniconfig"] = (1, IMPORT)

    result = envkit("verify", "demo-cu130")

    assert result.status == 1
    assert result.out.startswith("demo-cu130 on the CPU, backend docker: skip\n")
    assert "imports      skip     2.0       iniconfig: needs a GPU: NotImplementedError: You need a GPU." in result.out
    assert result.out.endswith("not verified: what was skipped needs a GPU; run it again on a machine that has one\n")


def test_with_a_gpu_nothing_is_skipped(picky: None, envkit: Envkit, machine: Machine, inside: Inside) -> None:
    machine.facts = HostFacts((A100,), driver="580.82.07")
    inside.output["iniconfig"] = (1, IMPORT)

    result = envkit("verify", "demo-cu130")

    assert result.out.startswith("demo-cu130 on the GPU, backend docker: fail\n")
    assert machine.docker.called[0].gpus == (A100,)


@pytest.mark.parametrize(
    ("facts", "gpu_problem"),
    [
        (HostFacts((A100,), driver="535.54.03"), None),  # too old for CUDA 13
        (HostFacts((A100,), driver="580.82.07"), "no nvidia runtime"),
    ],
)
def test_a_gpu_that_does_not_serve_is_left_out_unless_it_was_asked_for(
    envkit: Envkit, machine: Machine, inside: Inside, facts: HostFacts, gpu_problem: str | None
) -> None:
    machine.facts = facts
    machine.docker = FakeBackend(gpu_problem=gpu_problem)
    machine.docker.answer = inside
    machine.venv = FakeBackend("venv", problem="/ cannot be written to")

    assert envkit("verify", "demo-cu130", "--json").data["device"] == "cpu"
    assert envkit("verify", "demo-cu130", "--device", "gpu").status in (4, 7)


def test_what_was_seen_is_recorded_level_by_level(envkit: Envkit, matrix: Matrix, inside: Inside) -> None:
    environment = matrix.environment("demo-cu130")
    inside.output["iniconfig"] = (1, IMPORT)  # and nothing in its framework.yaml says that it asks for a GPU

    envkit("verify", "demo-cu130")
    assert load_evidence(environment, read_lock(environment)).seen == ()
    envkit("verify", "demo-cu130", "--record")

    seen = load_evidence(environment, read_lock(environment)).seen
    assert [(each.level, each.backend, each.result, each.detail) for each in seen] == [
        ("installed", "docker", "pass", ""),
        ("linked", "docker", "pass", ""),
        ("imports", "docker", "fail", "imports: iniconfig: NotImplementedError: You need a GPU."),
    ]


def test_a_level_that_could_not_be_tried_without_a_gpu_is_not_recorded(
    picky: None, envkit: Envkit, matrix: Matrix, inside: Inside
) -> None:
    environment = matrix.environment("demo-cu130")
    inside.output["iniconfig"] = (1, IMPORT)

    assert envkit("verify", "demo-cu130", "--record").status == 1

    assert [each.level for each in load_evidence(environment, read_lock(environment)).seen] == ["installed", "linked"]


def test_an_environment_that_does_not_answer_is_an_error(envkit: Envkit, machine: Machine) -> None:
    machine.docker.answer = lambda _: Completed(127, "", "python: not found\n")

    result = envkit("verify", "demo-cu130")

    assert result.status == 7
    assert result.err.splitlines()[-4:] == [
        "error: the environment's Python gave no answer (status 127)",
        "  python: not found",
        "",
        "hint: its interpreter may be gone, or is no Python: name another, or make the environment again",
    ]


def test_nothing_is_made_before_every_name_was_looked_at(envkit: Envkit, machine: Machine) -> None:
    assert envkit("verify", "demo-cu130", "demo-cu99").status == 2
    assert envkit("verify").status == 2
    assert machine.docker.made == []
