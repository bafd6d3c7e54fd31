"""The words of findings: each belongs to a check, and reads like the others."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING

import pytest
import yaml

from envkit.doctor import finding
from envkit.doctor.checks import REGISTRY, Machine
from envkit.doctor.finding import Words, all_words
from envkit.doctor.report import examine
from tests.conftest import REPOSITORY
from tests.unit.doctor.triggers import TRIGGERS, Trigger

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix

WORDS = all_words()
NAMES = (
    "/dev/",
    "Blackwell",
    "CUDA",
    "Docker",
    "GPU",
    "Hugging Face",
    "LD_LIBRARY_PATH",
    "NVIDIA",
    "Python",
    "Windows",
    "WSL",
    "{",
)
"""What a sentence may begin with though it is not lower case."""
COMMAND_NAMES = ("Debian", "Ubuntu", "UV_")


def fields(text: str) -> set[str]:
    """The names in braces."""
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def texts(words: Words) -> list[str]:
    return [words.title, words.evidence, words.otherwise, *words.fix, *(each for argv in words.repair for each in argv)]


def test_every_check_has_words_and_all_words_have_a_check() -> None:
    assert sorted(WORDS) == sorted(REGISTRY)


def test_no_id_stands_twice_in_the_file() -> None:
    """YAML takes the last one, and says nothing."""
    text = Path(finding.__file__).with_name("findings.yaml").read_text(encoding="utf-8")
    ids = [key.value for key, _ in yaml.compose(text).value]  # type: ignore[no-untyped-call]

    assert [name for name in ids if ids.count(name) > 1] == []
    assert [name for name in ids if not re.fullmatch(r"[a-z]+(-[a-z]+)*", name)] == []


def test_what_explains_a_finding_is_looked_for_before_it() -> None:
    order = list(REGISTRY)

    assert {
        check.id: sorted(late)
        for check in REGISTRY.values()
        if (late := {each for each in check.after if each not in order[: order.index(check.id)]})
    } == {}


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_a_check_gives_every_value_that_its_words_name_and_no_other(matrix: Matrix, trigger: Trigger) -> None:
    seen = list(REGISTRY[trigger.id].look(Machine(trigger.facts, matrix, trigger.frameworks)))
    named = {name for text in texts(WORDS[trigger.id]) for name in fields(text)}

    assert seen
    assert [set(values) for values in seen] == [named] * len(seen)
    for told in examine(Machine(trigger.facts, matrix, trigger.frameworks)).findings:
        assert "{" not in f"{told.title}{told.evidence}{told.otherwise}".replace('{"cdi"', "")
        assert all([told.title, told.evidence, told.fix])


@pytest.mark.parametrize("name", WORDS)
def test_words_read_alike(name: str) -> None:
    words = WORDS[name]
    for text in (words.title, words.evidence, *words.fix):
        assert text == text.strip()
        assert not text.endswith((".", "!")), text
        assert text.count("`") % 2 == 0, text
    for text in (words.title, *words.fix):
        assert re.match(r"[a-z`]", text) or text.startswith((*NAMES, *COMMAND_NAMES)), text
    assert words.fix[0].strip()
    assert not words.fix[0].startswith("or ")
    assert fields(words.source) == set()
    assert re.match(r"https://[\w.-]+/", words.source) or (REPOSITORY / words.source).exists(), words.source


def test_commands_in_fixes_are_envkits_own() -> None:
    """Those of envkit exist; the guard of the documents looks at documents alone."""
    from envkit.cli import COMMANDS

    called = {
        match for words in WORDS.values() for text in words.fix for match in re.findall(r"`envkit ([a-z-]+)", text)
    }

    assert called <= set(COMMANDS)
    assert {"run", "plan", "list", "ps", "host"} <= called


def test_repairs_are_programs_that_end_no_job() -> None:
    """Whoever adds one here has thought of what it stops, deletes or lets others do."""
    repairs = {name: [" ".join(argv) for argv in words.repair] for name, words in WORDS.items() if words.repair}

    assert repairs == {
        "driver-not-loaded": ["modprobe nvidia"],
        "uvm-missing": ["nvidia-modprobe -u -c=0"],
        "fabric-manager-stopped": ["systemctl start nvidia-fabricmanager"],
        "engine-stopped": ["systemctl start docker"],
        "cdi-lacks-gpus": ["nvidia-ctk cdi generate --output={path}"],
        "podman-lacks-gpus": ["nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"],
        "toolkit-not-configured": ["nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"],
        "cdi-stale": ["nvidia-ctk cdi generate --output={path}"],
        "cdi-stale-unused": ["nvidia-ctk cdi generate --output={path}"],
    }
