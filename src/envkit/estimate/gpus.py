"""Which GPUs a user means who has them not at hand: `H100x8`, `24GB x 2`, `2 x RTX 4090`; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from envkit.errors import UsageError

if TYPE_CHECKING:
    from envkit.host.facts import HostFacts

_COUNT_LAST = re.compile(r"(?P<name>.+?)\s*[x×*]\s*(?P<count>\d{1,5})", re.IGNORECASE)
_COUNT_FIRST = re.compile(r"(?P<count>\d{1,5})\s*[x×*]\s*(?P<name>.+)", re.IGNORECASE)
_SIZE = re.compile(r"(?P<number>\d{1,5}(\.\d+)?)\s*(?P<unit>[GM])i?B?", re.IGNORECASE)
_NOISE = re.compile(r"nvidia|geforce|tesla|rtx|gtx|[\s_-]", re.IGNORECASE)


@dataclass(frozen=True)
class Gpus:
    """GPUs that work together; their memory is that of the smallest."""

    name: str
    count: int
    memory_mib: int


@cache
def known_gpus() -> dict[str, int]:
    """Memory in MiB by name."""
    text = (Path(__file__).parent / "gpus.yaml").read_text(encoding="utf-8")
    return {str(name): int(memory) for name, memory in yaml.safe_load(text).items()}


def read_gpus(text: str) -> Gpus:
    """The GPUs of a name or a size, with their count; raises `UsageError` for a name that is not known."""
    text = text.strip()
    counted = [found for pattern in (_COUNT_LAST, _COUNT_FIRST) if (found := pattern.fullmatch(text))]
    readings = [(text, 1), *((found["name"].strip(), int(found["count"])) for found in counted)]
    for name, count in readings:
        if (one := _one(name)) and count:
            return Gpus(one[0], count, one[1])
    spelled = {_plain(each): each for each in known_gpus()}
    near = [spelled[each] for name, _ in readings for each in get_close_matches(_plain(name), spelled)]
    meant = f"did you mean {' or '.join(f'`{each}`' for each in dict.fromkeys(near))}? or " if near else ""
    raise UsageError(f"unknown GPU: {text}", hint=f"{meant}write its memory, such as `24GB x 2`")


def _one(name: str) -> tuple[str, int] | None:
    """Name and MiB of one GPU; None: not known."""
    if size := _SIZE.fullmatch(name):
        return name, int(float(size["number"]) * (1024 if size["unit"] in "gG" else 1))
    return next((each for each in known_gpus().items() if _plain(each[0]) == _plain(name)), None)


def gpus_of(facts: HostFacts) -> Gpus | None:
    """The machine's GPUs; None where there are none, or their memory is not known. Slices count where MIG is on."""
    devices = [device for gpu in facts.gpus or () for device in (gpu.mig_devices or (gpu,))]
    memories = [each.memory_mib for each in devices]
    sizes = [each for each in memories if each]
    if not sizes or len(sizes) < len(memories):
        return None
    smallest = min(devices, key=lambda each: each.memory_mib or 0)
    return Gpus(smallest.name, len(devices), min(sizes))


def _plain(name: str) -> str:
    return _NOISE.sub("", name).lower()
