"""What a text must hold for a pattern to match: found a hundred times faster than the pattern itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

LEAST = 4
"""A shorter one is in every other line."""

_LONGEST = 48
_MOST = 16
_PLAIN = re.compile(r"(?:[^\\\[(.|)^$*+?{]|\{(?!\d)|\\[^\w])+(?![*+?]|\{\d)")
"""Characters that stand for themselves, once each."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = re.compile(r"\\(?:[pP](?:\{[^}]*\}|.)|x(?:\{[^}]*\}|..)|.)", re.DOTALL)
_CLASS = re.compile(r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]", re.DOTALL)
_REPEAT = re.compile(r"[*+?]\??|\{(\d+)(?:,\d*)?\}\??")
_GROUP = re.compile(r"\((?:\?P?<\w+>|\?([a-zA-Z]*)(?:-[a-zA-Z]+)?([:)]))?")


@dataclass(frozen=True)
class Required:
    """Texts of which every match holds at least one."""

    texts: frozenset[str]
    any_case: bool = False
    """Whether they may be written in capitals or not."""


@cache
def required(pattern: str) -> Required:
    """What a text must hold for `pattern` to match; no texts at all: nothing is certain, or it is too short."""
    reader = _Reader(pattern)
    texts = reader.alternatives().best
    return Required(texts if texts and min(map(len, texts)) >= LEAST else frozenset(), reader.any_case)


Texts = frozenset[str]
_NOTHING: Texts = frozenset()
_EMPTY: Texts = frozenset({""})


class _Part(NamedTuple):
    """What is certain of a part of a pattern."""

    exact: Texts = _NOTHING
    """All that it can match, where that is a short list; else none."""
    best: Texts = _NOTHING
    """What it must hold."""


class _Reader:
    """Reads a pattern from left to right, and keeps the best texts of each part."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.place = 0
        self.any_case = False

    def alternatives(self) -> _Part:
        """Up to the end, or the closing bracket."""
        found = [self._sequence()]
        while self.place < len(self.pattern) and self.pattern[self.place] == "|":
            self.place += 1
            found.append(self._sequence())
        exact = _NOTHING.union(*(each.exact for each in found)) if all(each.exact for each in found) else _NOTHING
        best = _NOTHING.union(*(each.best for each in found)) if all(each.best for each in found) else _NOTHING
        return _Part(exact if len(exact) <= _MOST else _NOTHING, best)

    def _sequence(self) -> _Part:
        """What stands one after the other: runs of exact texts, with anything between them."""
        best, run, whole = _NOTHING, _EMPTY, True
        while self.place < len(self.pattern) and self.pattern[self.place] not in "|)":
            part = self._piece()
            least, once = self._repeat()
            if not (least and part.exact and len(run) * len(part.exact) <= _MOST):
                best, run, whole = _better(best, run), _EMPTY, False
                best = _better(best, part.best) if least else best
                continue
            run = frozenset(one + other for one in run for other in part.exact)
            if not once:  # `ab+c`: it stands there once, then anything
                best, run, whole = _better(best, run), _EMPTY, False
        return _Part(run if whole else _NOTHING, _better(best, run))

    def _piece(self) -> _Part:
        """The next characters, class, or group."""
        if found := _PLAIN.match(self.pattern, self.place):
            self.place = found.end()
            return _exactly(_ESCAPE.sub(r"\1", found[0]))
        if found := _ESCAPED.match(self.pattern, self.place):
            self.place = found.end()
            return _exactly(found[0][1]) if len(found[0]) == 2 and not found[0][1].isalnum() else _Part()
        if found := _CLASS.match(self.pattern, self.place):
            self.place = found.end()
            return _exactly(found[0][1]) if len(found[0]) == 3 else _Part()
        if found := _GROUP.match(self.pattern, self.place):
            self.place = found.end()
            self.any_case |= "i" in (found[1] or "")
            if found[2] == ")":
                return _Part(exact=_EMPTY)
            part = self.alternatives()
            self.place += 1
            return part
        character = self.pattern[self.place]
        self.place += 1
        if character in "^$":
            return _Part(exact=_EMPTY)
        return _Part() if character == "." else _exactly(character)

    def _repeat(self) -> tuple[bool, bool]:
        """Whether the piece that was read must stand there, and whether it stands there once at most."""
        found = _REPEAT.match(self.pattern, self.place)
        if not found:
            return True, True
        self.place = found.end()
        return (bool(int(found[1])) if found[1] is not None else found[0].startswith("+")), False


def _exactly(text: str) -> _Part:
    return _Part(exact=frozenset({text}))


def _better(one: Texts, other: Texts) -> Texts:
    """Of two sets of texts the one whose shortest is longer; long texts are cut, for they gain nothing."""
    if min(_LONGEST, *map(len, other or ("",))) <= min(map(len, one), default=0):
        return one
    return frozenset(text[:_LONGEST] for text in other)
