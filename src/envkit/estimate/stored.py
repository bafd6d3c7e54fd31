"""A model on this machine: its config.json for the shape, the headers of its files for the exact count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from envkit.errors import UsageError
from envkit.estimate.architecture import read_architecture
from envkit.estimate.memory import Model

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_PACKED = frozenset(("U8", "I8", "U32", "I32", "U64", "I64", "F4", "F8_E8M0", "BOOL"))
"""Dtypes of numbers that are no weights: packed bits, indices, or their scales."""


def read_config(path: Path) -> Model:
    """The model that a config.json describes; raises `UsageError` where it is none."""
    shape = read_architecture(_config(path))
    return Model(str(path), shape.parameters, shape)


def read_folder(folder: Path, name: str, tensors: Iterable[tuple[str, int, int]]) -> Model:
    """The model in a folder; `tensors` are dtype, count and bytes of each of its tensors, none where it has no files.

    What is stored decides the count, except where it is quantised: then the shape does.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise UsageError(
            f"there is no config.json in {folder}", hint=f"`envkit model check {folder}` tells what is missing"
        )
    config = _config(path)
    shape = read_architecture(config)
    stored = list(tensors)
    if not stored:
        return Model(name, shape.parameters, shape)
    quantised = "quantization_config" in config or any(dtype in _PACKED for dtype, _, _ in stored)
    count = shape.parameters if quantised else sum(numbers for _, numbers, _ in stored)
    return Model(name, count, shape, stored=sum(size for _, _, size in stored), quantised=quantised)


def _config(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"not a config.json: {path}: {error}", hint="name that of a model, or its folder") from error
