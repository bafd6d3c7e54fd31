"""What proves the shipped frameworks: every app, file and check that their smoke sections name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envkit.matrix.source import Source
from envkit.smoke.room import INSIDE
from envkit.smoke.run import PROGRAMS
from tests.conftest import REPOSITORY
from tests.knowledge.conftest import SHIPPED

NAMES = [name for name, each in SHIPPED.frameworks.items() if each.smoke.prepare]


def test_the_main_framework_is_proved_in_every_way() -> None:
    smoke = SHIPPED.frameworks["llamafactory"].smoke

    assert {*smoke.trainings} >= {"sft-lora", "dpo", "pretrain", "deepspeed-zero2", "deepspeed-zero3"}
    assert smoke.chat
    assert smoke.page
    assert smoke.export


def test_what_works_without_a_gpu_is_proved_without_one() -> None:
    proved = {name for name, each in SHIPPED.frameworks.items() if each.smoke.trainings or each.smoke.chat}

    assert {name for name, each in SHIPPED.frameworks.items() if each.cpu} <= proved


@pytest.mark.parametrize("name", NAMES)
def test_its_apps_are_there_and_of_the_right_kind(name: str) -> None:
    framework = SHIPPED.frameworks[name]
    smoke = framework.smoke
    jobs = [*smoke.trainings.values(), *([smoke.export] if smoke.export else [])]
    servers = [each for each in (smoke.chat, smoke.page) if each]

    assert {framework.apps[each.app].kind for each in jobs} <= {"job"}
    assert {framework.apps[each.app].kind for each in servers} <= {"server"}
    assert not {*smoke.trainings} & {*PROGRAMS, "import", "cli", "export", "chat-completion", "webui"}
    if smoke.export:
        assert smoke.trainings[smoke.export.of].adapter
    assert all(each.adapter for each in smoke.trainings.values() if each.copy)


@pytest.mark.parametrize("name", NAMES)
def test_its_files_are_there(name: str) -> None:
    smoke = SHIPPED.frameworks[name].smoke
    own = REPOSITORY / "images" / name / "smoke"
    words = [word for each in [*smoke.prepare, *(each.args for each in smoke.trainings.values())] for word in each]
    if smoke.export:
        words += smoke.export.args
    named = {word.removeprefix("smoke/") for word in words if word.startswith("smoke/")}
    texts = "".join(each.read_text() for each in own.glob("*.yaml")) if own.is_dir() else ""
    named |= set(re.findall(r"smoke/([\w.-]+)", texts))

    assert {each for each in named if not (own / each).exists() and not (INSIDE / each).exists()} == set()
    files = {each.name for each in own.glob("*")} - {"dataset_info.json"} if own.is_dir() else set()
    assert files <= named, "a file that nothing names"
    assert not files & {each.name for each in INSIDE.iterdir()}


def test_programs_of_envkit_s_are_there() -> None:
    assert {each.argv[0] for each in PROGRAMS.values()} <= {f"smoke/{each.name}" for each in INSIDE.glob("*.py")}


def test_a_training_must_fall(tmp_path: Path) -> None:
    """A factor of 1 would let a training pass that learns nothing."""
    from envkit.matrix.schema import Training

    file = tmp_path / "training.yaml"
    file.write_text("app: train\nargs: [x]\nlosses: {}\nsteps: 6\nfalls_to: 1.0\n")
    source = Source()

    assert source.read(file, Training) is None
    assert source.faults == [f"{file}:5: falls_to: expected a factor between 0 and 1, got '1.0'"]
