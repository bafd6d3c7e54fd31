"""`diagnose`: how fast a log is read, beside `grep` for the same texts and Python that only counts its lines."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import yaml
from measure import Comparison, Outcome, interleave, median, timed

from envkit.diagnose.knowledge import known
from envkit.diagnose.literals import required

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
DISK_GB = 2
TITLE = "Reading a log"
NOTE = """
1 GB of lines as servers and trainings print them when all is well (requests, losses, throughput, NCCL's channels, progress
bars, checkpoints), none of which is in any diagnosis: `envkit diagnose` from its start to its answer. `grep -c -F -f` looks for
the texts that the patterns of the diagnoses need, and does nothing else; Python counts the lines, block by block. The log
with failures is a tenth as long: half of its lines belong to tracebacks of a server that goes on, each of which is followed
to its root. How often the cause is right stands in `tests/knowledge/logs.yaml`: logs of users, retold, each batch labelled
and scored before diagnoses were changed for it; afterwards all of them are right, and so are its logs without a failure.
"""


def line(number: int, chance: random.Random) -> str:
    """What is printed at that time."""
    loss, step = chance.random(), number % 1000
    second = f"{step % 60:02d}"
    kinds = (
        f'INFO:     127.0.0.1:{40000 + step} - "POST /v1/chat/completions HTTP/1.1" 200 OK',
        f"{{'loss': {loss:.4f}, 'grad_norm': {loss * 3:.6f}, 'learning_rate': {loss * 1e-4:.3e}, 'epoch': {step / 1e3:.2f}}}",
        f"INFO 11-21 10:10:{second} [loggers.py:123] Engine 000: Avg prompt throughput: {loss * 1000:.1f} tokens/s",
        f"gpu7:{step}:{step + 9} [{step % 8}] NCCL INFO Channel {step % 16:02d}/0 : 0[0] -> 1[1] via P2P/CUMEM/read",
        f" {step % 100}%|{'█' * (step % 40)}{' ' * (40 - step % 40)}| {step}/1000 [00:{second}<1:12:30,  2.31it/s]",
        f"[INFO|trainer.py:2414] 2026-11-21 10:10:{second},412 >> Saving model checkpoint to saves/checkpoint-{step}",
    )
    return kinds[number % len(kinds)]


def first_scores() -> str:
    """How many of each batch were right before any diagnosis was changed for it: kept with the logs."""
    batches = yaml.safe_load((ROOT / "tests" / "knowledge" / "logs.yaml").read_text(encoding="utf-8"))["batches"]
    return ", ".join(f"{each['first']} of {len(each['logs'])}" for each in batches)


def traceback(number: int) -> str:
    """What a server prints of a request that failed."""
    prefix = "(APIServer pid=4123) ERROR 11-21 10:00:00 [serving.py:219] "
    frames = [
        f'  File "/srv/venv/lib/python3.11/site-packages/app/part{each}.py", line {each}, in call' for each in range(9)
    ]
    lines = ["Traceback (most recent call last):", *frames, f"KeyError: 'request-{number}'"]
    return "".join(f"{prefix}{each}\n" for each in lines)


def write_log(path: Path, size: int, *, failing: bool) -> None:
    """A log of so many bytes, the same every time."""
    chance, number = random.Random(7), 0  # noqa: S311  # nobody has to guess it
    with path.open("w", encoding="utf-8") as log:
        while log.tell() < size:
            block = []
            for _ in range(10_000):
                number += 1
                block.append(f"{line(number, chance)}\n")
                if failing and not number % 11:
                    block.append(traceback(number))
            log.write("".join(block))


def measure(rounds: int, scratch: Path) -> Outcome:
    """One log after the other, by each program in turn."""
    healthy, failing, texts = scratch / "healthy.log", scratch / "failing.log", scratch / "texts"
    write_log(healthy, 10**9, failing=False)
    write_log(failing, 10**8, failing=True)
    needed = {text for entry in known() for pattern in entry.match for text in required(pattern).texts}
    texts.write_text("".join(f"{text}\n" for text in sorted(needed)), encoding="utf-8")
    count = "import sys; print(sum(b.count(b'\\n') for b in iter(lambda: sys.stdin.buffer.read(1 << 20), b'')))"
    diagnose = f"{sys.executable} -m envkit diagnose {{}} >/dev/null; test $? = 1"
    programs: dict[str, list[str | Path]] = {
        "diagnose": ["bash", "-c", diagnose.format(healthy)],
        "grep": ["bash", "-c", f"LC_ALL=C grep -c -F -f {texts} {healthy}; test $? = 1"],
        "count": ["bash", "-c", f'{sys.executable} -c "{count}" <{healthy}'],
        "failing": ["bash", "-c", diagnose.format(failing)],
    }
    found = interleave(rounds, {name: lambda argv=argv: timed(argv) for name, argv in programs.items()})

    def speed(name: str, path: Path) -> str:
        wall, cpu = (median(found[name], clock) or 1 for clock in ("wall", "cpu"))
        size = path.stat().st_size / 1e6
        return f"{size / wall:.0f} MB/s by the clock, {size / cpu:.0f} MB/s of CPU time"

    what = "envkit diagnose, 1 GB of healthy log"
    return Outcome(
        [
            Comparison(what, "`grep -F` for the same texts", found["diagnose"], found["grep"], "cost"),
            Comparison(what, "counting its lines in Python", found["diagnose"], found["count"], "cost"),
        ],
        [
            f"A healthy log: {speed('diagnose', healthy)} (expected: >= 100 MB/s), with {len(known())} diagnoses.",
            f"A log half of tracebacks: {speed('failing', failing)}.",
            f"The right cause first, in logs of failures that nobody had tuned for, batch by batch: {first_scores()} (expected: >= 90 %).",
        ],
    )
