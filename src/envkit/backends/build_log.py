"""What BuildKit and podman print of a build turned into steps with their time, and the words of the one that failed."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envkit.backends.base import Progress

_LINE = re.compile(r"^#(?P<number>\d+) (?P<rest>.*)$")
_STAGE = re.compile(r"^\[(?P<stage>[\w-]+) +(?P<position>\d+/\d+)\] ")
_OUTPUT = re.compile(r"^\d+\.\d+ (?P<text>.*)$")
_COMMAND = re.compile(r'process ".*" did not')
"""All of a RUN, which may be a screen full; the step's name says which."""

_PODMAN_STEP = re.compile(r"^(\[(?P<stage>\d+)/\d+\] )?STEP (?P<position>\d+/\d+): (?P<instruction>.*)$")
_PODMAN_COMMIT = re.compile(r"^(\[\d+/\d+\] )?COMMIT ")
_PODMAN_LAYER = re.compile(r"^--> (?P<cached>Using cache )?(?P<image>[0-9a-f]+)$")
_PODMAN_ERROR = re.compile(r'^Error: (.*building at STEP "(?P<instruction>.*)": )?(?P<why>.*)$')
_STAGE_NAME = re.compile(r"^FROM .* AS (?P<name>\S+)$", re.IGNORECASE)


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
            self._printed[number].append(_COMMAND.sub("its command did not", rest))
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


class PodmanLog:
    """Reads what `podman build` prints (recorded from 4.3.1), line by line."""

    def __init__(self, progress: Progress, keep: int = 20) -> None:
        """Tells `progress` of every step that takes time, and keeps the last `keep` lines of each."""
        self.complete = False
        """Whether it came to its end: interrupted, podman 4.3 ends with status 0."""
        self.images: list[str] = []
        """The beginnings of the ids of all layers so far."""
        self._progress = progress
        self._stages: dict[str | None, str] = {}
        self._steps: dict[str, str] = {}
        self._printed: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=keep))
        self._title = ""
        self._shown = False
        self._cached = False
        self._began = 0.0
        self._failed: str | None = None

    def feed(self, line: str) -> None:
        """Takes the next line."""
        if step := _PODMAN_STEP.match(line):
            self._begin(step["stage"], step["position"], step["instruction"])
        elif _PODMAN_COMMIT.match(line):
            self._show("image export")
        elif layer := _PODMAN_LAYER.match(line):
            self._end(layer["image"], cached=bool(layer["cached"]))
        elif line.startswith("Successfully tagged "):
            self.complete = True
        elif error := _PODMAN_ERROR.match(line):
            self._failed = self._steps.get(error["instruction"] or "", self._title)
            self._printed[self._failed].append(f"ERROR: {error['why']}")
        elif line.strip() and not self.complete:
            self._printed[self._title].append(line)
            if self._shown:
                self._progress.detail(line)

    def failure(self) -> tuple[str, str]:
        """The failing step's name (empty when no step failed) and its last lines."""
        title = self._title if self._failed is None else self._failed
        return title, "\n".join(self._printed[title])

    def _begin(self, stage: str | None, position: str, instruction: str) -> None:
        if name := _STAGE_NAME.match(instruction):
            self._stages[stage] = name["name"]
        self._title = f"{self._stages.get(stage, 'step')} {position}"
        self._steps[instruction] = self._title
        self._shown = instruction.startswith(("RUN ", "COPY ", "ADD "))
        if self._shown:
            self._show(self._title)
        elif instruction.startswith("FROM "):
            self._title = "preparation"  # as BuildKit has it: the base image is fetched

    def _show(self, title: str) -> None:
        self._title, self._shown, self._cached, self._began = title, True, False, time.monotonic()
        self._progress.step(title)

    def _end(self, image: str, *, cached: bool) -> None:
        self.images.append(image)
        if cached:
            self._cached = True  # the same layer follows, without these words
        elif self._shown:
            took = "cached" if self._cached else f"{time.monotonic() - self._began:.1f}s"
            self._progress.done(f"{self._title}: {took}")
            self._shown = False
