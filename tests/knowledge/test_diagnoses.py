"""Every diagnosis tests itself: its examples prove it, its counterexamples do not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envkit.diagnose.knowledge import known
from envkit.diagnose.match import diagnose

if TYPE_CHECKING:
    from envkit.diagnose.schema import Entry

ENTRIES = known()


def excerpts(key: str) -> list[object]:
    """Every example, or counterexample, named after its entry."""
    return [
        pytest.param(entry, text, id=f"{entry.id}-{number}")
        for entry in ENTRIES
        for number, text in enumerate(getattr(entry, key), 1)
    ]


@pytest.mark.parametrize(("entry", "text"), excerpts("examples"))
def test_an_example_proves_its_diagnosis(entry: Entry, text: str) -> None:
    report = diagnose([text.encode()], judge=lambda each: True if each in entry.facts else None)

    if entry.severity == "fatal":
        assert [each.id for each in report.diagnoses][:1] == [entry.id]
    else:
        assert entry.id in report.seen
    for told in report.diagnoses:
        texts = [told.title, told.cause, *told.fix, *told.check]
        assert [each for each in texts if re.search(r"\{[a-z_]\w*(\||\})", each)] == []


@pytest.mark.parametrize(("entry", "text"), excerpts("counterexamples"))
def test_a_counterexample_is_something_else(entry: Entry, text: str) -> None:
    assert entry.id not in [each.id for each in diagnose([text.encode()]).diagnoses]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_words_read_alike(entry: Entry) -> None:
    for text in (entry.title, *entry.fix, *entry.check):
        assert text == text.strip()
        assert not text.endswith((".", "!")), text
        assert text.count("`") % 2 == 0, text
    assert any("`" in each for each in entry.fix), "at least one fix is a command in backquotes"
    assert entry.cause.endswith("."), entry.cause
    assert re.match(r"https://[\w.-]+/\S+$", entry.source), entry.source
    assert len(entry.title) <= 90, entry.title


def test_every_id_stands_once() -> None:
    ids = [entry.id for entry in ENTRIES]

    assert sorted(ids) == sorted(set(ids))
