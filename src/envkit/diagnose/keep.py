"""What a program printed is kept while it runs, in case it fails: the beginning and the end, in constant memory."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = 1 << 20
TAIL = 8 << 20


class Kept:
    """The first megabyte and the last eight; what was between them is only counted."""

    def __init__(self, head: int = HEAD, tail: int = TAIL) -> None:
        """Sizes in bytes."""
        self._sizes = (head, tail)
        self._head: list[bytes] = []
        self._tail: deque[bytes] = deque()
        self._held = [0, 0]
        self._dropped = 0
        """Lines."""

    def add(self, chunk: bytes) -> None:
        """Takes what came next."""
        if self._held[0] < self._sizes[0]:
            self._head.append(chunk)
            self._held[0] += len(chunk)
            return
        self._tail.append(chunk)
        self._held[1] += len(chunk)
        while self._held[1] - len(self._tail[0]) > self._sizes[1]:
            old = self._tail.popleft()
            self._held[1] -= len(old)
            self._dropped += old.count(b"\n")

    def chunks(self) -> Iterator[bytes]:
        """What was kept; empty lines stand for those that were not, so that numbers stay right."""
        yield from self._head
        if self._dropped:
            yield b"\n"
            for start in range(1, self._dropped, 1 << 20):
                yield b"\n" * min(1 << 20, self._dropped - start)
        yield from self._tail
