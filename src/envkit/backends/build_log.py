"""BuildKit's plain progress turned into steps with their time, and the words of the step that failed."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envkit.backends.base import Progress

_LINE = re.compile(r"^#(?P<number>\d+) (?P<rest>.*)$")
_STAGE = re.compile(r"^\[(?P<stage>[\w-]+) +(?P<position>\d+/\d+)\] ")
_OUTPUT = re.compile(r"^\d+\.\d+ (?P<text>.*)$")


class BuildLog:
    """Reads a build's output line by line; the format is the same from Docker 20.10 to today's buildx."""

    def __init__(self, progress: Progress, keep: int = 20) -> None:
        """Tells `progress` of every step, and keeps the last `keep` lines of each."""
        self._progress = progress
        self._titles: dict[str, str] = {}
        self._printed: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=keep))
        self._failed: str | None = None
        self._last: deque[str] = deque(maxlen=keep)

    def feed(self, line: str) -> None:
        """Takes the next line."""
        match = _LINE.match(line)
        if not match:
            if line.strip():
                self._last.append(line)
            return
        number, rest = match["number"], match["rest"]
        if stage := _STAGE.match(rest):
            self._titles[number] = f"{stage['stage']} {stage['position']}"
            self._progress.step(self._titles[number])
        elif rest == "exporting to image":
            self._titles[number] = "image export"
            self._progress.step(self._titles[number])
        elif rest.startswith("ERROR"):
            self._failed = number
            self._printed[number].append(rest)
        elif number in self._titles and (rest.startswith("DONE") or rest == "CACHED"):
            self._progress.done(f"{self._titles[number]}: {rest.removeprefix('DONE ').lower()}")
        elif output := _OUTPUT.match(rest):
            self._printed[number].append(output["text"])
            self._progress.detail(output["text"])

    def failure(self) -> tuple[str, str]:
        """The failing step's name (empty when no step failed) and its last lines."""
        if self._failed is None:
            return "", "\n".join(self._last)
        return self._titles.get(self._failed, "preparation"), "\n".join(self._printed[self._failed])
