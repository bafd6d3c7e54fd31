"""Runs steps: what is done is skipped, what was begun is told, and what was stopped is begun again by the next call."""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Literal

from envkit import process
from envkit.bootstrap.script import check, commands, prelude
from envkit.errors import BackendError, UsageError
from envkit.host.index import PROXIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from envkit.backends.base import Progress
    from envkit.bootstrap.choose import Outline
    from envkit.bootstrap.knowledge import Step

_LAST = 20
"""Lines that are shown of a step that failed."""
_LIMIT = 60.0
"""Seconds for a check."""
_OURS = "ours"
"""What is said when the machine is."""
_READ = 'program=$(cat) && exec </dev/null && eval "$program"'
"""A program comes by stdin: it may hold a password, and everybody may read arguments."""


@dataclass(frozen=True)
class Ended:
    """A step that is behind us."""

    step: Step
    result: Literal["done", "skipped"]
    seconds: float


def pending(outline: Outline) -> list[Step]:
    """The steps that are not done, as far as this user can see, or that will have to be done anew."""
    left: list[Step] = []
    for step in outline.steps:
        if any(each.id in step.follows for each in left) or not _holds(step.done, outline, root=False):
            left.append(step)
    return left


def run_steps(outline: Outline, log: Path, progress: Progress) -> list[Ended]:
    """What became of each step, after all of them hold.

    Raises `BackendError` for the first that fails, and `UsageError` where somebody else prepares this machine.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with _machine(outline, progress), _Log.open(log) as written:
        return [_run(step, outline, written, progress) for step in outline.steps]


@contextmanager
def _machine(outline: Outline, progress: Progress) -> Iterator[None]:
    """The machine is ours alone meanwhile: root holds a lock until our end of a pipe is closed, however we end."""
    program = _program(f"take_machine {os.getpid()} 2>&1\nexec 9>&-\necho {_OURS}\nexec cat >/dev/null", outline)
    with process.beside(process.as_root(["bash", "-c", program])) as said:
        for line in said:
            if line == _OURS:
                break
            if line.startswith("error: "):
                raise UsageError(
                    line.removeprefix("error: "), hint="when it has ended, the same command goes on from there"
                )
            progress.step(line)
        else:
            raise BackendError(
                "this needs the rights of root",
                hint="`sudo -v` says why you have none; `--script FILE` is for somebody who has",
            )
        yield


@dataclass(frozen=True)
class _Log:
    """Begin and end of every step with what it printed between, line by line."""

    descriptor: int

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[_Log]:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            yield cls(descriptor)
        finally:
            os.close(descriptor)

    def event(self, text: str) -> None:
        self._write(f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ} {text}\n")

    def line(self, text: str) -> None:
        self._write(f"    {text}\n")

    def _write(self, text: str) -> None:
        os.write(
            self.descriptor, text.encode(errors="replace")
        )  # in one piece, so that a killed run leaves whole lines


def _run(step: Step, outline: Outline, log: _Log, progress: Progress) -> Ended:
    if _holds(step.done, outline):
        log.event(f"skip {step.id}")
        return Ended(step, "skipped", 0.0)
    began = time.monotonic()
    progress.step(f"{step.id}: {step.title}")
    log.event(f"begin {step.id}")
    last: deque[str] = deque(maxlen=_LAST)

    def told(line: str) -> None:
        last.append(line)
        log.line(line)
        progress.detail(line)

    status = process.stream(_bash(), told, stdin=_program(f"take_step {step.id}\n{commands(step, outline)}", outline))
    if status or not _holds(step.works, outline):
        log.event(f"fail {step.id} {status}")
        raise BackendError(f"{step.id} did not work", details="\n".join(last), hint=step.otherwise)
    seconds = time.monotonic() - began
    log.event(f"end {step.id} {seconds:.1f} s")
    progress.done(step.id)
    return Ended(step, "done", seconds)


def _holds(lines: Sequence[str], outline: Outline, *, root: bool = True) -> bool:
    """Whether they do; what gives no answer, such as an engine that hangs, does not."""
    limit = ["timeout", "--kill-after=5", f"{_LIMIT:g}"]
    return process.run(_bash(*limit, root=root), stdin=_program(check(lines), outline)).status == 0


def _program(text: str, outline: Outline) -> str:
    return f"{prelude(outline, [text])}\n{text}"


def _bash(*before: str, root: bool = True) -> list[str]:
    """`before` stands behind sudo: the time that somebody takes to type a password is not counted."""
    argv = [*before, "bash", "-c", _READ]
    proxies = [name for each in PROXIES for name in (each, each.lower()) if os.environ.get(name)]
    return process.as_root(argv, keep=proxies) if root else argv
