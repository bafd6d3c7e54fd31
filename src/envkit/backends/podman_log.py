"""Reads the log file of a podman container (k8s-file).

`podman logs` of 4.3.1 breaks lines where one stream fell silent in the middle of one, loses lines with `--tail` just
after an end, and does not end when its container is removed.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def read_log(path: Path, is_alive: Callable[[], bool], tail: int | None = None) -> Iterator[bytes]:
    """What the app printed, from its last `tail` lines on; goes on as long as it is alive."""
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return
    with log:
        lines = _Lines()
        if tail is not None:
            yield from deque((line for record in log for line in lines.add(record)), maxlen=tail)
        while True:
            ended = not is_alive()
            for record in log:
                yield from lines.add(record)
            yield from lines.rest()
            if ended:
                return
            time.sleep(0.1)


class _Lines:
    """Puts lines together again that were written down in pieces, while the other stream went on."""

    def __init__(self) -> None:
        self._record = b""
        self._pieces: dict[bytes, bytes] = {}

    def add(self, record: bytes) -> Iterator[bytes]:
        """The lines that are whole now. A record is `TIME STREAM P|F TEXT`; P: the line goes on in another one."""
        self._record += record
        if not self._record.endswith(b"\n"):
            return  # is being written
        fields = self._record[:-1].split(b" ", 3)
        self._record = b""
        if len(fields) == 4:
            _, stream, kind, text = fields
            self._pieces[stream] = self._pieces.get(stream, b"") + text
            if kind != b"P":
                yield self._pieces.pop(stream) + b"\n"

    def rest(self) -> Iterator[bytes]:
        """Beginnings of lines whose end may take its time, such as progress bars and questions."""
        yield from self._pieces.values()
        self._pieces.clear()
