"""How a program fared, whatever it is (`signs.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from msgspec import Struct, convert


class Signs(Struct, frozen=True, forbid_unknown_fields=True):
    """What shows that a program came through, or failed; and what exceptions are worth nothing as a cause."""

    success: tuple[str, ...]
    failure: tuple[str, ...]
    """With the groups `kind` and `message`, where there are such."""
    retrying: tuple[str, ...]
    """Patterns of lines, with their prefixes."""
    warning: tuple[str, ...]
    """The same."""
    reporting: frozenset[str]
    referring: tuple[str, ...]
    """Patterns of messages."""
    interrupting: frozenset[str]


@cache
def signs() -> Signs:
    """What the shipped file says."""
    text = (Path(__file__).parent / "signs.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), Signs)
