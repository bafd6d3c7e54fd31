"""Which of many patterns a text may match: found by what they must hold, in one pass, at hundreds of MB/s.

One RE2 alternation of those texts looks through whole blocks; docs/architecture.md has what else was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envkit.diagnose.literals import required
from envkit.diagnose.patterns import alternation, compiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envkit.diagnose.patterns import Match

Purpose = Literal["match", "with", "unless", "success", "failure"]


@dataclass(eq=False)
class Rule:
    """A pattern, and what it is looked for."""

    purpose: Purpose
    pattern: str
    owner: str = ""
    """The entry's id."""
    active: bool = True
    """False once there is nothing more to learn from it."""


class Watch:
    """Rules by the texts that their patterns need."""

    def __init__(self, rules: Iterable[Rule], always: Iterable[str]) -> None:
        """`always` are texts that are looked for whatever rules there are."""
        self.rules = list(rules)
        self._always = frozenset(text.encode() for text in always)
        self._retired = False
        self._build()

    def _build(self) -> None:
        self._exact: dict[bytes, list[Rule]] = {}
        self._any_case: dict[bytes, list[Rule]] = {}
        for rule in self.rules:
            needed = required(rule.pattern)
            for text in needed.texts if rule.active else ():
                table = self._any_case if needed.any_case else self._exact
                table.setdefault((text.lower() if needed.any_case else text).encode(), []).append(rule)
        self._lengths = sorted({*map(len, self._exact), *map(len, self._any_case)})
        texts = [(each, False) for each in {*self._exact, *self._always}] + [(each, True) for each in self._any_case]
        self._trigger = alternation(sorted(texts, key=lambda each: (-len(each[0]), each)))
        self._retired = False

    def next_place(self, block: bytes, start: int) -> int:
        """Where the next text begins that a rule needs; -1: nowhere."""
        found = self._trigger.search(block, start)
        return found.span()[0] if found else -1

    def matches(self, text: str) -> Iterator[tuple[Rule, Match]]:
        """The active rules whose patterns the text matches, and where."""
        seen: set[int] = set()
        tried: dict[str, Match | None] = {}  # several entries share a pattern
        for rule in self._candidates(text.encode(errors="replace")):
            if rule.active and id(rule) not in seen:
                seen.add(id(rule))
                if rule.pattern not in tried:
                    tried[rule.pattern] = compiled(rule.pattern).search(text)
                if found := tried[rule.pattern]:
                    yield rule, found

    def _candidates(self, text: bytes) -> Iterator[Rule]:
        """The rules whose texts are there: at each place the longest, and those that begin like it."""
        place = 0
        told: set[bytes] = set()
        while found := self._trigger.search(text, place):
            start, end = found.span()
            place = start + 1
            longest = text[start:end]
            if longest not in told:
                told.add(longest)
                for length in self._lengths:
                    if length <= end - start:
                        yield from self._exact.get(longest[:length], ())
                        yield from self._any_case.get(longest[:length].lower(), ())

    def retire(self, rules: Iterable[Rule]) -> None:
        """Leaves the rules out from now on."""
        for rule in rules:
            rule.active, self._retired = False, True

    def revive(self, rules: Iterable[Rule]) -> None:
        """Looks for the rules again."""
        for rule in rules:
            rule.active, self._retired = True, True

    def refresh(self) -> None:
        """Forgets the texts of rules that were left out; between blocks, because it takes a few milliseconds."""
        if self._retired:
            self._build()
