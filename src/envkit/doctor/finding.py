"""A finding, and the words that findings are told in (`findings.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import yaml
from msgspec import Meta, Struct, convert

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Text = Annotated[str, Meta(min_length=1)]


class Words(Struct, frozen=True, forbid_unknown_fields=True):
    """What is said of one finding; `{names}` stand for the values that its check saw."""

    severity: Severity
    """error: something fails by default; warning: part of it, or later; note: worth knowing."""
    title: Text
    evidence: Text
    """What was seen on this machine."""
    fix: Annotated[list[Text], Meta(min_length=1)]
    """The next commands, in order; one of them is enough where they begin with `or`."""
    source: Text
    otherwise: str = ""
    """The error that the user would meet, as the program prints it."""
    repair: list[list[Text]] = []
    """Commands that are safe to run unasked-for details: they end no job and lose no data."""


class Finding(Struct, frozen=True):
    """Something that is wrong with this machine, with what was seen and what to do; `doctor --json` prints these."""

    id: str
    severity: Severity
    title: str
    evidence: str
    otherwise: str
    fix: tuple[str, ...]
    repair: tuple[tuple[str, ...], ...]
    """Commands that `envkit doctor --fix` runs; none where a person must decide."""
    source: str


@cache
def all_words() -> dict[str, Words]:
    """The words of every finding, by id."""
    text = (Path(__file__).parent / "findings.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), dict[str, Words])


def tell(name: str, values: Mapping[str, str]) -> Finding:
    """The finding `name`, told with the values that its check saw."""
    words = all_words()[name]

    def fill(text: str) -> str:
        return text.format_map(values)

    return Finding(
        id=name,
        severity=words.severity,
        title=fill(words.title),
        evidence=fill(words.evidence),
        otherwise=fill(words.otherwise),
        fix=tuple(map(fill, words.fix)),
        repair=tuple(tuple(map(fill, command)) for command in words.repair),
        source=words.source,
    )
