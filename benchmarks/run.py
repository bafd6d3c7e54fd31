"""`./dev bench [NAME...]`: runs the benchmarks, keeps their numbers in results.json, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import statistics
import sys
import tempfile
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from measure import Comparison, Outcome, duration, median

from envkit.share import write_file

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
CLOCKS: tuple[Literal["wall", "cpu"], ...] = ("wall", "cpu")
NAMES = ("cli", "diagnose", "install", "image", "start", "sizes", "plain")

HEAD = """\
<!-- Made by `./dev bench` from benchmarks/results.json; change benchmarks/. -->

# Benchmarks

Every figure is a ratio within one run on one machine: both sides take turns, round by round (A B A B …), each round
gives one ratio, and the table has the median of them and, in brackets, the least and the greatest (of twenty rounds and
more, the middle nine tenths). "4.0x faster" divides their time by envkit's, "1.2x the time" envkit's by theirs. The
times are medians too, of wall and of CPU time. A ratio below what was expected stands here as it is.

`./dev bench` makes this page (an hour, 30 GB of disk, a Docker engine); `./dev bench cli` makes one part again; `--quick`
takes one round and writes nothing here; `--json FILE` keeps every sample.

"""


class Record(msgspec.Struct, frozen=True):
    """One benchmark's last full run."""

    date: str
    machine: str
    outcome: Outcome


def main() -> None:
    """Runs what was asked for, in the order of `NAMES`."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="one round; the page stays as it is")
    parser.add_argument("--rounds", type=int, help="so many rounds instead of each benchmark's own")
    parser.add_argument(
        "--only", action="append", metavar="ROW", help="make this row of `sizes` or `plain` alone; repeat it for more"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample of this run to FILE")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page again")
    options = parser.parse_args()
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))} (there are: {', '.join(NAMES)})")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # clean up as after Ctrl-C

    kept = msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, Record]) if RESULTS.is_file() else {}
    if not options.page:
        found = {}
        for name in [each for each in NAMES if each in (options.names or NAMES)]:
            found[name] = _run(name, 1 if options.quick else options.rounds, options.only, kept.get(name))
            print("\n".join(_table({name: found[name]})), flush=True)
            print("\n".join(found[name].outcome.facts), flush=True)
            if not options.quick:  # one round is no measurement
                kept[name] = found[name]
                _write(RESULTS, kept)
        if options.json:
            _write(options.json, found)
    if not options.quick:
        write_file(PAGE, _page({name: kept[name] for name in NAMES if name in kept}))


def _run(name: str, rounds: int | None, only: list[str] | None, kept: Record | None) -> Record:
    module: ModuleType = import_module(name)
    print(f"{name}: {module.TITLE}", file=sys.stderr)
    folder = ROOT / ".envkit"
    folder.mkdir(exist_ok=True)
    free = shutil.disk_usage(folder).free / 1e9
    if free < module.DISK_GB:
        sys.exit(f"error: {name} needs {module.DISK_GB} GB of disk, and {free:.0f} are free")
    with tempfile.TemporaryDirectory(prefix="bench-", dir=folder) as scratch:
        outcome = module.measure(rounds or module.ROUNDS, Path(scratch), *([only] if only else []))
    if only and kept:
        outcome = msgspec.structs.replace(outcome, table={**kept.outcome.table, **outcome.table})
    return Record(datetime.now(timezone.utc).strftime("%Y-%m-%d"), _machine(), outcome)


def _machine() -> str:
    """What the figures depend on, and nothing that names the machine."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = ".".join(platform.release().split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores ({model[1] if model else platform.machine()}), {memory:.0f} GiB of memory, Linux {kernel}, Python {platform.python_version()}"


def _write(path: Path, records: dict[str, Record]) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(records), indent=1).decode() + "\n")


def _page(records: dict[str, Record]) -> str:
    parts = [HEAD + "\n".join(_table(records))]
    for name, record in records.items():
        module = import_module(name)
        outcome = record.outcome
        parts.append(f"## {module.TITLE}\n\n{module.NOTE.strip()}")
        if outcome.table:
            rows = [outcome.columns, ["---"] * len(outcome.columns), *outcome.table.values()]
            parts.append("\n".join(f"| {' | '.join(each)} |" for each in rows))
        if outcome.facts:
            parts.append("\n".join(f"* {fact}" for fact in outcome.facts))
        rounds = max((len(each.ours) for each in outcome.comparisons), default=1)
        parts.append(
            f"`./dev bench {name}`, {record.date}, {rounds} {'round' if rounds == 1 else 'rounds'}: {record.machine}."
        )
    return "\n\n".join(parts) + "\n"


def _table(records: dict[str, Record]) -> list[str]:
    lines = [
        "| what | against | by the clock | envkit | other | in CPU time | envkit | other | expected | rounds | date |",
        "|---|---|---|--:|--:|---|--:|--:|---|--:|---|",
    ]
    for record in records.values():
        for each in record.outcome.comparisons:
            cells = [f"`{each.what}`" if "envkit" in each.what else each.what, each.against]
            for clock in CLOCKS:
                cells += [_ratio(each, clock), duration(median(each.ours, clock)), duration(median(each.theirs, clock))]
            cells += [each.expected or "–", str(len(each.ours)), record.date]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ratio(comparison: Comparison, clock: Literal["wall", "cpu"]) -> str:
    """Such as `4.8x faster (4.5–5.1)`."""
    ratios = sorted(comparison.ratios(clock))
    if not ratios:
        return "–"
    word = "faster" if comparison.sense == "speed-up" else "the time"
    off = len(ratios) // 20  # of many rounds the outermost say more about the machine's other work than about ours
    return f"{statistics.median(ratios):.1f}x {word} ({ratios[off]:.1f}–{ratios[-1 - off]:.1f})"


if __name__ == "__main__":
    main()
