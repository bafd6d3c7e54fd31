"""Which of many patterns a text may match: found by what they must hold, in one pass, at hundreds of MB/s.

One RE2 alternation of those texts looks through whole blocks; docs/architecture.md has what else was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

from envkit.diagnose.literals import required
from envkit.diagnose.patterns import alternation, compiled, together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from envkit.diagnose.patterns import Match

_MANY = 4
"""So many patterns cost less together than one after the other."""

Purpose = Literal["match", "with", "unless", "success", "failure"]


@dataclass(frozen=True, eq=False)
class Rule:
    """A pattern, and what it is looked for."""

    purpose: Purpose
    pattern: str
    owner: str = ""
    """The entry's id."""


class _Index:
    """Rules by the texts that their patterns need."""

    def __init__(self, rules: Iterable[Rule], always: Iterable[str]) -> None:
        """`always` are texts that are found whatever rules there are."""
        self._exact: dict[bytes, list[Rule]] = {}
        self._any_case: dict[bytes, list[Rule]] = {}
        for rule in rules:
            needed = required(rule.pattern)
            table = self._any_case if needed.any_case else self._exact
            for text in needed.texts:
                table.setdefault((text.lower() if needed.any_case else text).encode(), []).append(rule)
        texts = [(each, False) for each in self._exact.keys() | {each.encode() for each in always}]
        texts += [(each, True) for each in self._any_case]
        self.trigger = alternation(sorted(texts, key=lambda each: (-len(each[0]), each)))
        """Finds the next text, at each place the longest."""
        self._lengths = sorted({*map(len, self._exact), *map(len, self._any_case)})
        self.needing = lru_cache(maxsize=1 << 13)(self._needing)
        """The rules that need this text, or its beginning."""

    def _needing(self, text: bytes) -> _Needing:
        beginnings = [text[:length] for length in self._lengths if length <= len(text)]
        exact = [rule for each in beginnings for rule in self._exact.get(each, ())]
        any_case = [rule for each in beginnings for rule in self._any_case.get(each.lower(), ())]
        rules: dict[str, list[Rule]] = {}
        for rule in exact + any_case:
            rules.setdefault(rule.pattern, []).append(rule)
        patterns = tuple(rules)
        return _Needing(rules, together(patterns) if len(patterns) >= _MANY else lambda _: patterns)


class _Needing(NamedTuple):
    rules: dict[str, list[Rule]]
    """By their pattern, which several entries may share."""
    may_match: Callable[[bytes], Iterable[str]]
    """Which of the patterns are worth looking for."""


_whole_index = lru_cache(maxsize=1)(_Index)  # many short logs are read with the same rules


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
        data = text.encode(errors="replace")
        tried: set[str] = set()
        for needing in map(self._index.needing, self._texts(data)):
            for pattern in needing.may_match(data):
                rules = [each for each in needing.rules[pattern] if each not in self._retired]
                if pattern in tried or not rules:
                    continue
                tried.add(pattern)
                if found := compiled(pattern).search(text):
                    yield from ((rule, found) for rule in rules)

    def _texts(self, data: bytes) -> Iterable[bytes]:
        """Those there that rules need, at each place the longest."""
        texts: dict[bytes, None] = {}  # in their order
        place = 0
        while found := self._index.trigger.search(data, place):
            start, end = found.span()
            texts[data[start:end]] = None
            place = start + 1
        return texts

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
            self._index = _Index((each for each in self.rules if each not in self._retired), self._always)
