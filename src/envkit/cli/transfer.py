"""Progress of long transfers, in bytes and time left: a bar at a terminal, plain lines where there is none."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from envkit.cli.console import say

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress

_QUIET = 30.0
"""Seconds between two lines where there is no terminal."""


class TransferProgress(AbstractContextManager["TransferProgress"]):
    """Shows how far a transfer is; any thread may advance it."""

    def __init__(self, *, show: bool = True) -> None:
        """`show` is False where nobody wants to see it."""
        self._show = show
        self._lock = threading.Lock()
        self._done = self._total = 0
        self._began = self._said = time.monotonic()
        self._bar: Progress | None = None

    def begin(self, total: int) -> None:
        """So many bytes are to come, and none are there."""
        with self._lock:
            self._done, self._total = 0, total
            self._began = self._said = time.monotonic()
        if self._show and sys.stderr.isatty():
            self._end()
            self._bar = _bar(total)

    def advance(self, number: int) -> None:
        """So many more are there; negative where some have to come again."""
        with self._lock:
            self._done += number
            due = self._show and not self._bar and time.monotonic() - self._said >= _QUIET
            if due:
                self._said = time.monotonic()
        if self._bar:
            self._bar.update(self._bar.task_ids[0], completed=min(self._done, self._total))
        elif due:
            say(
                f"  {sized(self._done)} of {sized(self._total)}, {left(self._done, self._total, self._said - self._began)}"
            )

    def note(self, text: str) -> None:
        """A line for the reader, above the bar."""
        if self._bar:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            say(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes the bar away."""
        self._end()

    def _end(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


def _bar(total: int) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(binary_units=False), TransferSpeedColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    bar.add_task("", total=total)
    bar.start()
    return bar


def sized(number: float) -> str:
    """Bytes as hubs tell them: in thousands."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(number) < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def left(done: int, total: int, seconds: float) -> str:
    """How long the rest takes at the speed so far."""
    if done <= 0 or seconds <= 0:
        return "no byte yet"
    remaining = int(max(total - done, 0) * seconds / done)
    return f"{sized(done / seconds)}/s, {remaining // 60}:{remaining % 60:02} left"
