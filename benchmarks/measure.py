"""How things are measured: processes with wall and CPU time, interleaved rounds, and comparisons of what came out."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class Sample(msgspec.Struct, frozen=True):
    """One measurement, in seconds."""

    wall: float
    cpu: float | None = None
    """User and system time of everything that did the work; None where it cannot be told."""

    def __add__(self, other: Sample) -> Sample:
        """One after the other."""
        cpu = None if self.cpu is None or other.cpu is None else self.cpu + other.cpu
        return Sample(self.wall + other.wall, cpu)


class Comparison(msgspec.Struct, frozen=True):
    """envkit's samples beside those of something else, round by round."""

    what: str
    against: str
    ours: list[Sample]
    theirs: list[Sample]
    sense: Literal["speed-up", "cost"] = "speed-up"
    """`speed-up` divides their time by ours, and more is better; `cost` divides ours by theirs, and less is."""
    expected: str = ""
    """What the design asks for."""

    def ratios(self, clock: Literal["wall", "cpu"]) -> list[float]:
        """One ratio for each round; none where the time is not known."""
        pairs = [
            (getattr(ours, clock), getattr(theirs, clock)) for ours, theirs in zip(self.ours, self.theirs, strict=True)
        ]
        if any(None in pair for pair in pairs):
            return []
        return [theirs / ours if self.sense == "speed-up" else ours / theirs for ours, theirs in pairs]


class Outcome(msgspec.Struct, frozen=True):
    """What a benchmark found."""

    comparisons: list[Comparison]
    facts: list[str] = []
    """Sentences about what was found beside the times: versions, sizes."""
    columns: list[str] = []
    table: dict[str, list[str]] = {}
    """Rows for answers that are no times; a run of some rows alone keeps the others."""


def timed(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, log: Path | None = None) -> Sample:
    """Runs a program to its end: its wall time, and the CPU time of it and the children it waited for.

    What it prints goes to `log`. A program that fails ends the benchmark, and its last lines are shown.
    """
    with log.open("w+b") if log else tempfile.TemporaryFile() as output:
        began = time.perf_counter()
        child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.terminate()
            child.wait()
            raise
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            output.seek(0)
            last = b"\n".join(output.read().splitlines()[-30:]).decode(errors="replace")
            sys.exit(f"{last}\nerror: `{' '.join(map(str, argv))}` failed with status {child.returncode}")
    return Sample(wall, usage.ru_utime + usage.ru_stime)


def interleave(rounds: int, tasks: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Every task once in each round, A B A B …: what slows the machine for a while slows all of them."""
    found: dict[str, list[Sample]] = {name: [] for name in tasks}
    for number in range(1, rounds + 1):
        for name, task in tasks.items():
            found[name].append(task())
            if rounds <= 10:
                sample = found[name][-1]
                cpu = "" if sample.cpu is None else f", CPU {duration(sample.cpu)}"
                print(f"  round {number}, {name}: {duration(sample.wall)}{cpu}", file=sys.stderr, flush=True)
    return found


def median(samples: Sequence[Sample], clock: Literal["wall", "cpu"]) -> float | None:
    """The middle one, None where one is not known."""
    values = [getattr(each, clock) for each in samples]
    return None if None in values else statistics.median(values)


def duration(seconds: float | None) -> str:
    """Such as `61.2 s`; below a second `61.2 ms`."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def gigabytes(size: float) -> str:
    """Such as `6.72 GB`, as Docker counts them."""
    return f"{size / 1e9:.2f} GB"
