"""`cli`: what a start of the command line costs, beside Python with click imported."""

from __future__ import annotations

import statistics
from pathlib import Path

from measure import Comparison, Outcome, interleave, timed

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 40
DISK_GB = 0
TITLE = "Starting the command line"
NOTE = """
CPU time is what counts here: a start is too short for the wall clock of a busy machine. All of it runs on the
launcher's own venv, with byte code for every module. `plan` reads the matrix, asks for GPUs and for a Docker engine, and
decides; it has no bound of its own. `host` asks every engine that is installed too, and podman starts a program for it:
it is meant to take less than 0.5 s of wall time on a machine without a GPU. `diagnose` reads all that is known of logs,
and then a log of one line. The launcher adds bash, and the check that its venv is up to date. `up` looks at the machine first; here nothing is missing, and both are dry runs of the same app.
"""


def measure(rounds: int, scratch: Path) -> Outcome:
    """Starts of `envkit` against `python -c "import click"` on the same interpreter."""
    launcher = ROOT / "envkit"
    timed([launcher, "--version"])  # makes its venv where there is none
    python, envkit = (ROOT / ".envkit" / "venv" / "bin" / name for name in ("python", "envkit"))
    # Sources that were changed since the set-up would be compiled at every start where PYTHONDONTWRITEBYTECODE is set.
    timed([python, "-m", "compileall", "-q", ROOT / "src"])
    log = scratch / "one-line.log"
    log.write_text(
        "Configured CUDA binary not found at /srv/bitsandbytes/libbitsandbytes_cuda130.so\n", encoding="utf-8"
    )
    programs: dict[str, list[str | Path]] = {
        "import click": [python, "-c", "import click"],
        "envkit --help": [envkit, "--help"],
        "./envkit --help": [launcher, "--help"],
        "envkit plan llamafactory": [envkit, "plan", "llamafactory"],
        "envkit host": [envkit, "host"],
        "envkit diagnose": [envkit, "diagnose", log],
        "envkit run": [envkit, "run", "llamafactory", "webui", "--dry-run"],
        "envkit up": [envkit, "up", "llamafactory", "webui", "--dry-run"],
    }
    found = interleave(rounds, {name: lambda argv=argv: timed(argv) for name, argv in programs.items()})

    def against_click(what: str, expected: str = "") -> Comparison:
        return Comparison(what, '`python -c "import click"`', found[what], found["import click"], "cost", expected)

    def added(what: str, to: str) -> str:
        pairs = list(zip(found[what], found[to], strict=True))
        wall = statistics.median(ours.wall - theirs.wall for ours, theirs in pairs) * 1000
        cpu = statistics.median((ours.cpu or 0) - (theirs.cpu or 0) for ours, theirs in pairs) * 1000
        return f"{wall:.0f} ms of wall time and {cpu:.0f} ms of CPU time"

    launched, prepared = added("./envkit --help", "envkit --help"), added("envkit up", "envkit run")
    return Outcome(
        [
            against_click("envkit --help", "<= 2x in CPU time"),
            against_click("./envkit --help"),
            against_click("envkit plan llamafactory"),
            against_click("envkit host"),
            against_click("envkit diagnose"),
            Comparison("envkit up", "`envkit run`", found["envkit up"], found["envkit run"], "cost"),
        ],
        [
            f"The launcher adds {launched} to the installed entry point (medians of the difference; expected < 30 ms).",
            f"`up` adds {prepared} to `run` (medians of the difference; expected < 500 ms).",
        ],
    )
