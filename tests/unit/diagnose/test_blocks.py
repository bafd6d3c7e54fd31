"""Bytes become blocks of whole lines, and the pieces that they come in make no difference."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.diagnose import blocks as module
from envkit.diagnose.blocks import blocks

if TYPE_CHECKING:
    from collections.abc import Iterable


def pieces(chunks: Iterable[bytes]) -> list[bytes]:
    """Every piece with the break that ends it; one without anything in it is nothing."""
    parts = re.findall(rb"[^\r\n]*[\r\n]", b"".join(blocks(chunks)).replace(b"\r\n", b"\n"))
    return [each for each in parts if each != b"\r"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"one\ntwo", [b"one\n", b"two\n"]),
        (b"one\ntwo\n", [b"one\n", b"two\n"]),
        (b"one\r\ntwo\r\n", [b"one\n", b"two\n"]),
        (b"10%\r20%\r30%\nend", [b"10%\r", b"20%\r", b"30%\n", b"end\n"]),
        (b"\x1b[31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x07 \x1b(Bplain\x1b[2K\n", [b"red link plain\n"]),
        (b"\xef\xbb\xbfone\n", [b"one\n"]),
        ("eins zwö\r\ndrei".encode("utf-16"), ["eins zwö\n".encode(), b"drei\n"]),
        (b"", []),
    ],
)
def test_breaks_colours_and_encodings(given: bytes, expected: list[bytes]) -> None:
    assert pieces([given]) == expected
    assert pieces(bytes([each]) for each in given) == expected


def test_what_docker_keeps_of_a_container_is_unwrapped() -> None:
    half = "x" * (16 << 10)
    lines = ["first\n", half, 'and "more"\n', "last"]
    said = [{"log": each, "stream": "stderr", "time": "2026-11-21T09:00:00Z"} for each in lines]
    log = b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in said)

    whole = half.encode() + b'and "more"\n'
    assert pieces([log]) == [b"first\n", whole, b"last\n"]
    assert pieces([log[:3], log[3:100], log[100:]]) == [b"first\n", whole, b"last\n"]
    assert pieces([log + b'{"log": 3\n']) == [b"first\n", whole, b"last\n", b'{"log": 3\n']


@given(
    st.lists(
        st.sampled_from([b"a", b"bc" * 20, b"\n", b"\r", b"\r\n", b"\x1b[1m", "ä".encode(), b"x" * 90]), max_size=40
    ),
    st.lists(st.integers(1, 50), min_size=1),
)
def test_pieces_do_not_depend_on_the_chunks(parts: list[bytes], sizes: list[int]) -> None:
    log = b"".join(parts)
    chunks, place, turn = [], 0, 0
    while place < len(log):
        chunks.append(log[place : place + sizes[turn % len(sizes)]])
        place, turn = place + sizes[turn % len(sizes)], turn + 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", 64)
        patch.setattr(module, "PIECE", 16)
        small = pieces(chunks)
        assert small == pieces([log])
        assert all(len(each) <= 17 for each in small)


def test_a_line_without_an_end_is_cut_into_pieces() -> None:
    megabyte = b"x" * (1 << 20)

    found = list(blocks(megabyte for _ in range(8)))

    assert max(map(len, found)) <= (1 << 20) + 64
    assert sum(each.count(b"x") for each in found) == 8 << 20
    assert b"".join(found).count(b"\n") == 1
