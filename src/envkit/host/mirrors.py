"""What an address must answer before it is used in place of another (`mirrors.yaml`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml
from msgspec import Struct, convert


class Question(Struct, frozen=True, forbid_unknown_fields=True):
    """What an address must answer."""

    path: str
    source: str
    says: str = ""
    """What stands in the right answer; empty: that it asks for a login is right, too."""
    days: int = 0
    """How old the answer may call itself; 0: it has no date."""


class IndexQuestion(Struct, frozen=True, forbid_unknown_fields=True):
    """What a package index must have."""

    requirement: str
    hash: str
    source: str


class Questions(Struct, frozen=True, forbid_unknown_fields=True):
    """All of `mirrors.yaml`, by what an address is for."""

    index: IndexQuestion
    apt: Question
    docker_hub: Question
    huggingface: Question
    modelscope: Question


@cache
def questions() -> Questions:
    """What the file says."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), Questions)
