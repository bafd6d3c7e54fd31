"""The header of a safetensors file: which tensors there are and where, and what is wrong with it; no tensor is read.

The format: https://huggingface.co/docs/safetensors/index#format. What is refused is what `safetensors` itself refuses, and by
its names; a test compares them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 100_000_000
"""Bytes of a header; safetensors refuses more."""
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Of one number, by dtype."""


class Tensor(msgspec.Struct, frozen=True):
    """What a header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]

    @property
    def numbers(self) -> int:
        """How many it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """That it takes in the file."""
        return self.data_offsets[1] - self.data_offsets[0]


@dataclass(frozen=True)
class Header:
    """What the beginning of a file says of the rest."""

    tensors: dict[str, Tensor]
    end: int
    """The length that the file has to have."""


class BrokenHeaderError(Exception):
    """The file is none that safetensors loads; `name` is what it calls that."""

    def __init__(self, name: str, why: str) -> None:
        """`why` is a clause about the file."""
        super().__init__(why)
        self.name = name
        self.why = why


class WrongLengthError(BrokenHeaderError):
    """The file ends before, or after, the place that its header names."""

    def __init__(self, name: str, why: str, size: int, end: int) -> None:
        """`end` is where it has to end."""
        super().__init__(name, why)
        self.size = size
        self.end = end


def read_header(path: Path) -> Header:
    """The header of the file, checked against its length; raises `BrokenHeaderError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if len(first) < 8:
            raise WrongLengthError(
                "HeaderTooSmall", f"it has {size} bytes, and its header's length alone takes 8", size, 8
            )
        length = int.from_bytes(first, "little")
        if length > _LONGEST:
            raise BrokenHeaderError("HeaderTooLarge", f"its first 8 bytes name a header of {length} bytes")
        if 8 + length > size:
            raise WrongLengthError(
                "InvalidHeaderLength", f"its header takes {8 + length} bytes, and the file has {size}", size, 8 + length
            )
        text = file.read(length)
    tensors = _decode(text)
    end = 8 + length + _end(tensors)
    if end != size:
        raise WrongLengthError(
            "MetadataIncompleteBuffer", f"it has {size} bytes, and its tensors end at {end}", size, end
        )
    return Header(tensors, end)


def _decode(text: bytes) -> dict[str, Tensor]:
    try:
        entries = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        msgspec.json.decode(entries.pop("__metadata__", b"null"), type=dict[str, str] | None)
        return {name: msgspec.json.decode(each, type=Tensor) for name, each in entries.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenHeaderError("InvalidHeaderDeserialization", f"its header cannot be read: {error}") from error


def _end(tensors: dict[str, Tensor]) -> int:
    """Where the last tensor ends; they follow each other without gaps and overlaps."""
    reached = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        begin, end = tensor.data_offsets
        if begin != reached or end < begin:
            raise BrokenHeaderError(
                "InvalidOffset", f"{name} lies at {begin} to {end}, and the one before it ends at {reached}"
            )
        bits = _BITS.get(tensor.dtype)
        if min(tensor.shape, default=0) < 0:
            raise BrokenHeaderError("InvalidHeaderDeserialization", f"{name} has the shape {list(tensor.shape)}")
        if bits is not None and tensor.numbers * bits != 8 * tensor.bytes:
            raise BrokenHeaderError(
                "TensorInvalidInfo",
                f"{name} has {tensor.bytes} bytes, and {tensor.dtype} of the shape {list(tensor.shape)} takes {tensor.numbers * bits // 8}",
            )
        reached = end
    return reached
