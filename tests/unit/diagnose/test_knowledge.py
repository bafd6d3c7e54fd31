"""Files of diagnoses: every fault is told with file, line and key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.diagnose.checked import load_entries
from envkit.diagnose.knowledge import known
from envkit.errors import MatrixError

if TYPE_CHECKING:
    from pathlib import Path

ENTRY = """\
- id: {id}
  title: it broke
  severity: fatal
  match: ['it (?P<how>\\w+) broke', 'it was broken']
  cause: It broke.
  fix: ["`mend`"]
  source: https://example.org/
  examples: [it really broke]
  counterexamples: [it works]
"""


def faults(folder: Path, **files: str) -> list[str]:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    with pytest.raises(MatrixError) as raised:
        load_entries(folder)
    assert raised.value.message.startswith("the diagnoses have ")
    return [each.removeprefix(f"{folder}/") for each in raised.value.faults]


def test_entries_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(ENTRY.format(id="first") + ENTRY.format(id="second"))
    (tmp_path / "two.yaml").write_text(ENTRY.format(id="third") + "  beats: [s*, first]\n  with: [more of it]\n")

    entries = load_entries(tmp_path)

    assert [each.id for each in entries] == ["first", "second", "third"]
    assert (entries[2].also, entries[2].beats) == (["more of it"], ["s*", "first"])


def test_ids_stand_once_and_lead_somewhere(tmp_path: Path) -> None:
    assert faults(tmp_path, one=ENTRY.format(id="first"), two=ENTRY.format(id="first") + ENTRY.format(id="second")) == [
        "two.yaml:1: 0.id: first stands in one.yaml already"
    ]
    assert faults(tmp_path, two=ENTRY.format(id="second") + "  beats: [first, third, second, x-*]\n") == [
        "two.yaml:10: 0.beats.1: no other entry has the id third",
        "two.yaml:10: 0.beats.2: no other entry has the id second",
        "two.yaml:10: 0.beats.3: no other entry has the id x-*",
    ]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("  colour: red\n", "one.yaml:10: 0.colour: unknown key"),
        ("  fixes: [x]\n", "one.yaml:10: 0.fixes: unknown key, did you mean `fix`?"),
        ("  severity: fatal\n", "one.yaml:10: 0.severity: the key stands here a second time"),
        ("  frame: 'a(b'\n", "one.yaml:10: 0.frame.0: not a pattern of RE2: missing ): a(b: 'a(b'"),
        ("  with: ['a(b']\n", "one.yaml:10: 0.with.0: not a pattern of RE2: missing ): a(b: 'a(b'"),
        (
            "  unless: ['(?=look ahead)']\n",
            "one.yaml:10: 0.unless.0: not a pattern of RE2: invalid perl operator: (?=: ",
        ),
        (
            "  unless: ['a.b|long enough']\n",
            "one.yaml:10: 0.unless.0: 4 characters in a row must stand for themselves:",
        ),
        ("  check: ['see {where}']\n", "one.yaml:10: 0.check.0: no pattern of `match` or `with` has a group 'where'"),
        (
            "  check: ['see {how}']\n",
            "one.yaml:10: 0.check.0: not every pattern of `match` has a group 'how': write `{how|something}`",
        ),
        ("  facts: [{fact: driver}]\n", "one.yaml:10: 0.facts.0: one of `is`, `below` and `at_least` is needed"),
        ("  facts: [{fact: moon, is: full}]\n", "one.yaml:10: 0.facts.0.fact: expected a fact of the vocabulary in"),
        (
            "  beats: [Not-An-Id]\n",
            "one.yaml:10: 0.beats.0: expected an id, with `*` for any part of it, got 'Not-An-Id'",
        ),
    ],
)
def test_a_fault_is_told_with_its_place(tmp_path: Path, more: str, fault: str) -> None:
    found = faults(tmp_path, one=ENTRY.format(id="first") + more)

    assert len(found) == 1
    assert found[0].startswith(fault)


def test_a_group_may_be_filled_by_a_line_that_is_needed_too(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        ENTRY.format(id="first") + "  with: ['using (?P<nic>eth0)']\n  check: ['see {nic}', 'or {how|how}']\n"
    )

    assert load_entries(tmp_path)[0].check == ["see {nic}", "or {how|how}"]


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    broken = ENTRY.format(id="Bad").replace("  title: it broke\n", "").replace("fatal", "deadly")

    assert faults(tmp_path, one=broken, two="- [x\n") == [
        "one.yaml:1: 0: the key `title` is missing",
        "one.yaml:1: 0.id: expected lower case words with hyphens between them, got 'Bad'",
        "one.yaml:2: 0.severity: Invalid enum value 'deadly', got 'deadly'",
        "two.yaml:2: not YAML: did not find expected ',' or ']'",
    ]


def test_the_shipped_files_are_read_without_checks_and_told_with_their_faults_where_they_have_another_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envkit.diagnose.knowledge.SHIPPED", tmp_path)
    file = tmp_path / "one.yaml"
    file.write_text(ENTRY.format(id="first") + "  general: true\n  facts: [{fact: cuda_driver, below: 12.10}]\n")

    (read,) = known.__wrapped__()

    assert (read.id, read.general, read.facts[0].below) == ("first", True, "12.10")

    for wrong in (ENTRY.format(id="Bad"), f"{ENTRY.format(id='first')}  colour: red\n", "- [x\n"):
        file.write_text(wrong)
        with pytest.raises(MatrixError) as raised:
            known.__wrapped__()
        assert [each.partition(": ")[0] for each in raised.value.faults] in (
            [f"{file}:1"],
            [f"{file}:10"],
            [f"{file}:2"],
        )
