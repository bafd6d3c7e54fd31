"""Logs of any size and of any malice: time grows with their length, memory does not."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from envkit.diagnose.keep import Kept
from envkit.diagnose.knowledge import known
from envkit.diagnose.literals import required
from envkit.diagnose.match import diagnose
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

NEEDED = sorted({text for entry in known() for pattern in entry.match for text in required(pattern).texts})
HOSTILE = {
    "texts of patterns": " ".join(NEEDED),
    "beginnings of patterns": " ".join(text[:-1] for text in NEEDED),
    "a pattern that begins again and again": "Configured CUDA binary not found at /a",
    "brackets": "[rank0]: [rank1]: (a pid=1) #1 web-1  | ",
    "digits": "1",
    "dates": "2026-11-21 10:00:00 ",
    "escapes": "\x1b[1;31m\x1b[",
    "open escapes": "\x1b]8;;",
    "bars": "1%|",
    "boxes": "╭─│❱╰─",
    "tracebacks": "Traceback (most recent call last)",
    "kinds": "A.",
    "quotes": "'File \"",
    "carriage returns": "CUDA out of\r",
}


def seconds(log: bytes) -> float:
    """Processor time of the best of two."""
    times = []
    for _ in range(2):
        began = time.process_time()
        diagnose([log])
        times.append(time.process_time() - began)
    return min(times)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_line_without_an_end_takes_twice_as_long_when_it_is_twice_as_long(name: str) -> None:
    text = HOSTILE[name].encode()
    whole = text * (max(200_000, 2 * len(text)) // len(text))
    diagnose([whole[:100_000]])  # whatever is made only once

    assert seconds(whole) < 4 * seconds(whole[: len(whole) // 2]) + 0.05


@pytest.mark.parametrize("line", ["CUDA out of memory, as it seems", "Traceback (most recent call last):", "╭─ box ─╮"])
def test_a_log_of_lines_that_all_matter(line: str) -> None:
    half = f"{line}\n".encode() * 10_000
    diagnose([half[:1000]])

    assert seconds(half * 2) < 4 * seconds(half) + 0.05


PROGRAM = """
import resource, sys
from envkit.diagnose.match import diagnose
kind, count = sys.argv[1], int(sys.argv[2])
lines = {
    "ordinary": b"INFO 11-21 10:00:00 [loggers.py:12] 12.5 tokens/s, 3 requests running\\n" * 14000,
    "endless": b"x" * 1000000,
    "failing": b"Traceback (most recent call last):\\n  File 'a'\\n    a\\nKeyError: 1\\nerror: b\\n" * 400,
    "processes": b"".join(b"(Worker pid=%d) Traceback (most recent call last):\\n" % each for each in range(20000)),
}
report = diagnose(lines[kind] for _ in range(count))
print(report.lines, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def peak(kind: str, count: int) -> int:
    """MiB that a process of its own needed at most."""
    argv = [sys.executable, "-c", PROGRAM, kind, str(count)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=REPOSITORY / "src")
    return int(done.stdout.split()[1])


@pytest.mark.parametrize(("kind", "count"), [("ordinary", 200), ("endless", 200), ("failing", 100), ("processes", 8)])
def test_memory_does_not_grow_with_the_log(processes: None, kind: str, count: int) -> None:
    """200 MB of ordinary lines, or of one line without an end; fewer where every line matters."""
    assert peak(kind, count) < peak(kind, 4) + 16


def test_200_mb_within_a_limit_that_the_log_alone_would_break(processes: None) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (160 << 20, 160 << 20))

    argv = [sys.executable, "-c", PROGRAM, "ordinary", "200"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=REPOSITORY / "src", preexec_fn=limit)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[0] == str(200 * 14000)


# What is kept while a program runs ---------------------------------------------------------------------------------------


def printed(lines: int) -> Iterator[bytes]:
    return (b"line %d\n" % each for each in range(1, lines + 1))


def test_a_short_output_is_kept_whole() -> None:
    kept = Kept(head=100, tail=100)
    for line in printed(20):
        kept.add(line)

    assert b"".join(kept.chunks()) == b"".join(printed(20))


def test_of_a_long_output_the_middle_is_only_counted() -> None:
    kept = Kept(head=100, tail=100)
    for line in printed(1000):
        kept.add(line)
    lines = b"".join(kept.chunks()).splitlines()

    assert len(lines) == 1000
    assert lines[0] == b"line 1"
    assert lines[-1] == b"line 1000"
    assert all(line in (b"", b"line %d" % number) for number, line in enumerate(lines, 1))
    assert 20 < sum(map(bool, lines)) < 30
