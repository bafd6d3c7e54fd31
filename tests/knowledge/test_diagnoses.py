"""Every diagnosis tests itself: its examples prove it, its counterexamples do not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envkit.diagnose.checked import load_entries
from envkit.diagnose.knowledge import SHIPPED, known
from envkit.diagnose.literals import required
from envkit.diagnose.match import diagnose
from envkit.diagnose.patterns import compiled
from envkit.diagnose.scan import Rules
from envkit.diagnose.signs import signs
from envkit.diagnose.watch import Watch
from envkit.errors import MatrixError

if TYPE_CHECKING:
    from envkit.diagnose.schema import Entry


def checked() -> tuple[Entry, ...]:
    """The shipped entries; their faults, if they have any, are what pytest shows."""
    try:
        return load_entries(SHIPPED)
    except MatrixError as error:
        return pytest.fail("\n".join(error.faults), pytrace=False)


ENTRIES = checked()
ORDINARY = """\
INFO:     10.0.0.7:51524 - "POST /v1/chat/completions HTTP/1.1" 200 OK
{'loss': 1.2345, 'grad_norm': 3.701245, 'learning_rate': 1.234e-05, 'epoch': 0.12}
INFO 11-21 10:10:07 [loggers.py:123] Engine 000: Avg prompt throughput: 812.3 tokens/s
gpu7:412:421 [4] NCCL INFO Channel 04/0 : 0[0] -> 1[1] via P2P/CUMEM/read
 34%|█████████████▌                          | 340/1000 [03:10<06:33,  2.31it/s]
[INFO|trainer.py:2414] 2026-11-21 10:10:07,412 >> Saving model checkpoint to saves/checkpoint-340
"""


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


def test_patterns_are_found_together_as_each_is_alone() -> None:
    rules = Rules.made_of(ENTRIES, signs())
    watch = Watch(rules.all, ())
    for entry in ENTRIES:
        for line in "\n".join(entry.examples).splitlines():
            alone = {rule for rule in rules.of[entry.id] if compiled(rule.pattern).search(line)}

            assert {rule for rule, _ in watch.matches(line) if rule.owner == entry.id} == alone, line


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


def test_what_every_start_reads_is_what_was_checked() -> None:
    assert known() == ENTRIES


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_no_pattern_looks_at_what_fills_a_healthy_log(entry: Entry) -> None:
    """A line that holds a text which a pattern needs is looked at closely, and a log of a gigabyte has millions."""
    for pattern in (*entry.match, *entry.also, *entry.unless):
        needed = required(pattern)
        log = ORDINARY.lower() if needed.any_case else ORDINARY
        assert [each for each in needed.texts if (each.lower() if needed.any_case else each) in log] == [], pattern
