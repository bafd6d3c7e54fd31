"""Which of many patterns a text may match: found by what they must hold, in one pass, at hundreds of MB/s.

One RE2 alternation of those texts looks through whole blocks; docs/architecture.md has what else was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from envkit.diagnose.literals import required
from envkit.diagnose.patterns import alternation, compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envkit.diagnose.patterns import BytesPattern, Match

Purpose = Literal["match", "with", "unless", "success", "failure"]


@dataclass(frozen=True, eq=False)
class Rule:
    """A pattern, and what it is looked for."""

    purpose: Purpose
    pattern: str
    owner: str = ""
    """The entry's id."""


@dataclass(frozen=True)
class _Index:
    """Rules by the texts that their patterns need."""

    exact: dict[bytes, list[Rule]]
    any_case: dict[bytes, list[Rule]]
    lengths: list[int]
    """Of the texts, shortest first."""
    trigger: BytesPattern
    """Finds the next of them, at each place the longest."""


def _index(rules: Iterable[Rule], always: Iterable[str]) -> _Index:
    exact: dict[bytes, list[Rule]] = {}
    any_case: dict[bytes, list[Rule]] = {}
    for rule in rules:
        needed = required(rule.pattern)
        table = any_case if needed.any_case else exact
        for text in needed.texts:
            table.setdefault((text.lower() if needed.any_case else text).encode(), []).append(rule)
    texts = [(each, False) for each in exact.keys() | {each.encode() for each in always}]
    texts += [(each, True) for each in any_case]
    trigger = alternation(sorted(texts, key=lambda each: (-len(each[0]), each)))
    return _Index(exact, any_case, sorted({*map(len, exact), *map(len, any_case)}), trigger)


_whole_index = lru_cache(maxsize=1)(_index)  # many short logs are read with the same rules


class Watch:
    """Looks for rules; the ones that have nothing more to tell may be left out."""

    def __init__(self, rules: tuple[Rule, ...], always: tuple[str, ...]) -> None:
        """`always` are texts that are looked for whatever rules there are."""
        self.rules = rules
        self._always = always
        self._retired: set[Rule] = set()
        self._indexed_without: set[Rule] = set()
        self._index = _whole_index(rules, always)

    def next_place(self, block: bytes, start: int) -> int:
        """Where the next text begins that a rule needs; -1: nowhere."""
        found = self._index.trigger.search(block, start)
        return found.span()[0] if found else -1

    def matches(self, text: str) -> Iterator[tuple[Rule, Match]]:
        """The active rules whose patterns the text matches, and where."""
        seen = set(self._retired)
        tried: dict[str, Match | None] = {}  # several entries share a pattern
        for rule in self._candidates(text.encode(errors="replace")):
            if rule not in seen:
                seen.add(rule)
                if rule.pattern not in tried:
                    tried[rule.pattern] = compiled(rule.pattern).search(text)
                if found := tried[rule.pattern]:
                    yield rule, found

    def _candidates(self, text: bytes) -> Iterator[Rule]:
        """The rules whose texts are there: at each place the longest, and those that begin like it."""
        place = 0
        told: set[bytes] = set()
        while found := self._index.trigger.search(text, place):
            start, end = found.span()
            place = start + 1
            longest = text[start:end]
            if longest not in told:
                told.add(longest)
                for length in self._index.lengths:
                    if length <= end - start:
                        yield from self._index.exact.get(longest[:length], ())
                        yield from self._index.any_case.get(longest[:length].lower(), ())

    def retire(self, rules: Iterable[Rule]) -> None:
        """Leaves the rules out from now on."""
        self._retired.update(rules)

    def revive(self, rules: Iterable[Rule]) -> None:
        """Looks for the rules again."""
        self._retired.difference_update(rules)

    def refresh(self) -> None:
        """Forgets the texts of rules that were left out; between blocks, because it takes a few milliseconds."""
        if self._retired != self._indexed_without:
            self._indexed_without = set(self._retired)
            self._index = _index((each for each in self.rules if each not in self._retired), self._always)
