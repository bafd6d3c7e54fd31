"""The words that findings of a machine are told in (`findings.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.finding import SEVERITIES, Finding, Severity, Words, read_words, told

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["SEVERITIES", "Finding", "Severity", "Words", "all_words", "tell"]


@cache
def all_words() -> dict[str, Words]:
    """The words of every finding, by id."""
    return read_words(Path(__file__).with_name("findings.yaml"))


def tell(name: str, values: Mapping[str, str]) -> Finding:
    """The finding `name`, told with the values that its check saw."""
    return told(name, all_words()[name], values)
