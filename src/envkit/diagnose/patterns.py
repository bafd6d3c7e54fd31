"""Patterns that are searched for in linear time, whatever the text: RE2's. The only module that imports it."""

from __future__ import annotations

from functools import cache
from typing import Any, Protocol, cast

import re2


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


def _words(told: Any) -> str:  # bytes or text, by version
    return told.decode(errors="replace") if isinstance(told, bytes) else str(told)
