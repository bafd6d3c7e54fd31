"""A stream of bytes becomes blocks of whole lines, whatever pieces it comes in; memory stays the same for any stream.

A line ends at a line feed. What a carriage return leaves of it (a progress bar draws itself over and over) is looked at
piece by piece; so is a line that is longer than `PIECE`. Both ends of a piece are breaks: `\\n`, which counts as a line,
or `\\r`, which does not.
"""

from __future__ import annotations

import codecs
import json
import re
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK = 1 << 20
PIECE = 1 << 16

_BREAK = re.compile(rb"([\r\n])")
_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\r\n]{0,1024}(?:\x07|\x1b\\)|[@-Z\\^_=>]|[()][0-9A-B])"
)
_DOCKER = b'{"log":"'
_DOCKER_PART = 16 << 10
"""Longer lines are kept in parts of this size."""


def blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Blocks that end with a break, without what colours a terminal; no piece of them is longer than `PIECE`."""
    for block in _cut(_as_utf8(_unwrapped(chunks))):
        whole = block.replace(b"\r\n", b"\n") if b"\r" in block else block
        whole = _with_breaks(whole) if _has_long_pieces(whole) else whole
        yield _ESCAPE.sub(b"", whole) if b"\x1b" in whole else whole


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole pieces, of about `BLOCK` bytes together."""
    waiting: list[bytes] = []
    size, cut = 0, False
    for chunk in _small(chunks):
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK:
            data = b"".join(waiting)
            end = _end_of_pieces(data)
            cut = data[end - 1] not in b"\r\n"
            yield data[:end] + b"\r" if cut else data[:end]
            waiting, size = [data[end:]], len(data) - end
    data = b"".join(waiting)
    if data or cut:
        yield data if data.endswith(b"\n") else data + b"\n"


def _small(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if len(chunk) <= BLOCK:
            yield chunk
        else:
            yield from (chunk[start : start + BLOCK] for start in range(0, len(chunk), BLOCK))


def _end_of_pieces(data: bytes) -> int:
    """Where to cut: after the last break, or as often as `PIECE` fits into a piece without an end.

    Where that is does not depend on how much has come: cuts are counted from the piece's beginning.
    """
    return data.rfind(b"\n") + 1 or data.rfind(b"\r", 0, -1) + 1 or len(data) // PIECE * PIECE


def _has_long_pieces(block: bytes) -> bool:
    """Whether a piece may be longer than `PIECE`: then it covers one of these windows."""
    half = PIECE // 2
    return any(
        block.find(b"\n", start, start + half) < 0 and block.find(b"\r", start, start + half) < 0
        for start in range(0, len(block) - half, half)
    )


def _with_breaks(block: bytes) -> bytes:
    return b"".join(
        b"\r".join(part[start : start + PIECE] for start in range(0, len(part), PIECE)) if len(part) > PIECE else part
        for part in _BREAK.split(block)
    )


def _as_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What PowerShell writes (`> log.txt`) is UTF-16."""
    stream = iter(chunks)
    first = next(stream, b"")
    if not first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        yield first.removeprefix(codecs.BOM_UTF8)
        yield from stream
        return
    decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
    yield decoder.decode(first).encode(errors="replace")
    for chunk in stream:
        yield decoder.decode(chunk).encode(errors="replace")


def _unwrapped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """What Docker's `json-file` driver keeps of a container's output (`…-json.log`) is a JSON object for each line."""
    stream = iter(chunks)
    first = b""
    for chunk in stream:
        first += chunk
        if len(first) >= len(_DOCKER):
            break
    if not first.startswith(_DOCKER):
        yield first
        yield from stream
        return
    tail = b""
    for chunk in chain([first], stream):
        *lines, tail = (tail + chunk).split(b"\n")
        if len(tail) > BLOCK:
            lines, tail = [*lines, tail], b""
        yield b"".join(map(_logged, lines))
    yield _logged(tail)


def _logged(line: bytes) -> bytes:
    try:
        value: Any = json.loads(line)
        text = str(value["log"]).encode(errors="replace")
        return text if text.endswith(b"\n") or len(text) >= _DOCKER_PART else text + b"\n"
    except (ValueError, KeyError, TypeError):
        return line + b"\n" if line else b""
