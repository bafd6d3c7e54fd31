"""Models that are known by name, and shapes for a bare count of parameters."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, convert

from envkit.estimate.architecture import read_architecture
from envkit.estimate.memory import Model

_COUNT = re.compile(r"(?P<number>\d{1,6}(\.\d{1,6})?)\s*(?P<unit>[KMBT])", re.IGNORECASE)
_UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


class Known(Struct, frozen=True, forbid_unknown_fields=True):
    """A model of models.yaml."""

    parameters: int
    config: dict[str, Any]


@cache
def known_models() -> dict[str, Known]:
    """By the name that both hubs know."""
    text = (Path(__file__).parent / "models.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), dict[str, Known])


def find_model(name: str) -> Model | None:
    """The model of that name, whoever spells it and whatever follows it (`Qwen2.5-7B-Instruct`); None: not known."""
    plain = name.lower()
    for known, model in known_models().items():
        if any(
            re.fullmatch(rf"{re.escape(each.lower())}(-(instruct|chat|it|base))?", plain)
            for each in (known, known.split("/")[1])
        ):
            return Model(known, model.parameters, read_architecture(model.config))
    return None


def model_of_count(text: str) -> Model | None:
    """A model of that many parameters, in the shape of the nearest that is known; None where it is no count."""
    found = _COUNT.fullmatch(text.strip())
    count = (
        int(float(found["number"]) * _UNITS[found["unit"].lower()]) if found else int(text) if text.isdecimal() else 0
    )
    if not count:
        return None
    plain = {name: each for name, each in known_models().items() if not read_architecture(each.config).has_experts}
    name, nearest = min(plain.items(), key=lambda item: abs(item[1].parameters / count - 1))
    return Model(f"{text.strip()}, in the shape of {name}", count, read_architecture(nearest.config), exact=False)
