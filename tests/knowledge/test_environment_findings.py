"""The words of findings of environments, and what is known of packages: they read like the others, and lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envkit.audit import fault
from envkit.audit.examine import faults_of
from envkit.audit.fault import words
from envkit.audit.known import known
from tests.conftest import REPOSITORY
from tests.unit.audit.triggers import TRIGGERS, Trigger

WORDS = words()
NAMES = ("CUDA", "GPU", "NVIDIA", "Python", "libstdc++", "{")


def test_no_id_stands_twice_in_the_file() -> None:
    """YAML takes the last one, and says nothing."""
    text = Path(fault.__file__).with_name("findings.yaml").read_text(encoding="utf-8")
    ids = [key.value for key, _ in yaml.compose(text).value]  # type: ignore[no-untyped-call]

    assert [name for name in ids if ids.count(name) > 1] == []
    assert [name for name in ids if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


@pytest.mark.parametrize("name", WORDS)
def test_words_read_alike(name: str) -> None:
    said = WORDS[name]
    for text in (said.title, said.evidence, *said.fix):
        assert text == text.strip()
        assert not text.endswith((".", "!")), text
        assert text.count("`") % 2 == 0, text
    for text in (said.title, *said.fix):
        assert re.match(r"[a-z`]", text) or text.startswith(NAMES), text
    assert not said.fix[0].startswith("or ")
    assert said.repair == []  # nobody's packages are changed unasked
    assert re.match(r"https://[\w.-]+/", said.source) or (REPOSITORY / said.source).exists(), said.source


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_a_fault_gives_every_value_that_its_words_name(trigger: Trigger) -> None:
    said = WORDS[trigger.id]
    texts = (said.title, said.evidence, said.otherwise, *said.fix)
    named = {name for text in texts for _, name, _, _ in Formatter().parse(text) if name}
    given = [set(each.values) for each in faults_of(trigger.subject) if each.id == trigger.id]

    assert given
    assert [named - values for values in given] == [set()] * len(given)


def test_an_error_of_an_environment_says_what_the_program_would_print() -> None:
    assert [name for name, said in WORDS.items() if said.severity == "error" and not said.otherwise] == []


def test_what_is_known_of_releases_can_be_read_as_requirements() -> None:
    clashes = [text for each in known().clashes for text in (each.package, each.beside)]
    families = [spec for each in known().families.values() for spec in each.errors]
    optional = [each.requirement for each in known().optional if each.requirement]

    for text in (*clashes, *families, *optional):
        assert Requirement(text).specifier, text
        assert canonicalize_name(Requirement(text).name) == Requirement(text).name, text


def test_packages_are_named_as_the_index_spells_them() -> None:
    everything = known()
    names = [
        *everything.built_for.packages,
        *everything.companions,
        *everything.stated,
        *everything.symptoms,
        *everything.families,
        *everything.refusals,
        *(name for each in everything.refusals.values() for name in each.looks_at),
        *(name for each in everything.same_version for name in each.packages),
        *(name for group in everything.stand_ins.groups for name in group),
    ]

    assert [name for name in names if canonicalize_name(name) != name] == []


def test_the_patterns_of_what_packages_state_have_one_group() -> None:
    patterns = [pattern for each in known().stated.values() for pattern in each.patterns.values()]

    assert [pattern for pattern in patterns if re.compile(pattern).groups != 1] == []
