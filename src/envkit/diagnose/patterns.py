"""Patterns that are searched for in linear time, whatever the text: RE2's. The only module that imports it."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast

import re2

if TYPE_CHECKING:
    from collections.abc import Callable

_MEMORY = 256 << 20
"""For RE2's automaton, in bytes; it takes what it needs. With its default of 8 MB it would begin anew every so often, and with
64 MB it gives up on some 4,600 texts, says so on stderr, and searches three times as slowly."""


class Match(Protocol):
    """Where a pattern was found."""

    def groupdict(self) -> dict[str, str | None]:
        """The named groups."""
        ...

    def span(self) -> tuple[int, int]:
        """Where it begins and ends."""
        ...


class Pattern(Protocol):
    """A compiled pattern."""

    groupindex: dict[str, int]

    def search(self, text: str) -> Match | None:
        """The first place in `text` that matches."""
        ...


class BytesPattern(Protocol):
    """A pattern that is looked for in bytes."""

    def search(self, text: bytes, pos: int = 0) -> Match | None:
        """The first place from `pos` on."""
        ...


class PatternError(Exception):
    """RE2 refuses the pattern; in its words."""


@cache
def compiled(pattern: str) -> Pattern:
    """The pattern, ready to search; raises `PatternError`."""
    options = re2.Options()
    options.log_errors = False  # told by us, not by RE2 on stderr
    try:
        return cast(Pattern, re2.compile(pattern, options))
    except re2.error as error:
        raise PatternError(_words(error.args[0] if error.args else error)) from error


def alternation(texts: list[tuple[bytes, bool]]) -> BytesPattern:
    """One pattern for any of the texts, of those at one place the first; True: in capitals or not."""
    options = re2.Options()
    options.never_capture = True
    options.max_mem = _MEMORY
    words = [b"(?i:%s)" % re2.escape(text) if any_case else re2.escape(text) for text, any_case in texts]
    return cast(BytesPattern, re2.compile(b"|".join(words), options))


@lru_cache(maxsize=1024)
def together(patterns: tuple[str, ...]) -> Callable[[bytes], list[str]]:
    """Says which of the patterns a text matches, in one pass."""
    options = re2.Options()
    options.log_errors = False
    search = re2.Set.SearchSet(options)
    for each in patterns:
        search.Add(each)
    search.Compile()
    return lambda text: [patterns[number] for number in sorted(search.Match(text) or ())]


def _words(told: Any) -> str:  # bytes or text, by version
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
