"""A finding: what is wrong with a machine or an environment, and the words that it is told in, which are data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from msgspec import Meta, Struct, convert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Text = Annotated[str, Meta(min_length=1)]
_TOLD = 3
"""Pieces of evidence that are told before the others are counted."""


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one finding; `{names}` stand for the values that its check saw."""

    severity: Severity
    """error: something fails by default; warning: part of it, or later; note: worth knowing."""
    title: Text
    evidence: Text
    """What was seen here."""
    fix: Annotated[list[Text], Meta(min_length=1)]
    """The next commands, in order; one of them is enough where they begin with `or`."""
    source: Text
    otherwise: str = ""
    """The error that the user would meet, as the program prints it."""
    repair: list[list[Text]] = []
    """Commands that are safe to run unasked-for details: they end no job and lose no data."""


class Finding(Struct, frozen=True):
    """Something that is wrong, with what was seen and what to do; `envkit doctor --json` prints these."""

    id: str
    severity: Severity
    title: str
    evidence: str
    otherwise: str
    fix: tuple[str, ...]
    repair: tuple[tuple[str, ...], ...]
    """Commands that `envkit doctor --fix` runs; none where a person must decide."""
    source: str


def read_words(path: Path) -> dict[str, Words]:
    """The words of every finding in the file, by id."""
    return convert(yaml.safe_load(path.read_text(encoding="utf-8")), dict[str, Words])


def told(name: str, words: Words, *seen: Mapping[str, str]) -> Finding:
    """The finding `name`, told with the values that its check saw: with the first of them, and the evidence of all."""

    def fill(text: str) -> str:
        return text.format_map(seen[0])

    return Finding(
        id=name,
        severity=words.severity,
        title=fill(words.title),
        evidence=_together([words.evidence.format_map(each) for each in seen]),
        otherwise=fill(words.otherwise),
        fix=tuple(filter(None, map(fill, words.fix))),
        repair=tuple(tuple(map(fill, command)) for command in words.repair),
        source=words.source,
    )


def _together(pieces: Sequence[str]) -> str:
    several = list(dict.fromkeys(pieces))
    more = len(several) - _TOLD
    return "; ".join([*several[:_TOLD], *([f"and {more} more"] if more > 0 else [])])
