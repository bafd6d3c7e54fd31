"""`plain`: what a plain `pip install NAME` gives today, beside what envkit's environment gives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import yaml
from measure import Outcome

from envkit.backends.base import Recipe, Silent
from envkit.backends.venv import VenvBackend
from envkit.host.index import ca_bundle, package_index, uv_command
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from envkit.smoke.room import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envkit.matrix.schema import Framework

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 1
DISK_GB = 20
TITLE = "A plain `pip install`, and envkit's environment"
NOTE = """
For each framework the newest pip's `pip install NAME` on the date below, into a fresh venv with the Python of envkit's
environment, and the committed lock of that environment. Both are asked for the same: import what users import, answer
on the command line, and do one small job on the CPU with a tiny model that envkit's environment makes for both
(`benchmarks/plain.yaml` has the steps). A step that failed shows the last line it printed. "needs a GPU" was not tried:
nothing here says anything about GPUs. `./dev bench plain --only NAME` makes one line again.
"""
STEPS = ("import", "command line", "job on the CPU")
LIMIT = 900
"""Seconds for a job; a first import of several gigabytes on a slow disk takes minutes."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something small that the framework is for."""

    about: str
    argv: list[str]
    writes: str = ""
    answers: str = ""
    prepare: list[list[str]] = msgspec.field(
        default_factory=lambda: [["smoke/make_data.py", "sets"], ["smoke/make_model.py", "models/tiny"]]
    )
    """The programs that make the tiny model and its data: those of smoke tests, and of the end-to-end tests."""


class Trial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is tried with one framework."""

    environment: str
    pip: list[str]
    cli: list[str]
    imports: list[str] = []
    """What is imported, on both sides; absent: what framework.yaml names."""
    job: Job | None = None
    """Absent: the framework's work needs a GPU."""


@dataclass(frozen=True)
class Side:
    """A venv with a workspace."""

    venv: Path
    maker: Path
    """The Python of envkit's environment, which makes the models and data of both sides."""
    workspace: Path
    without_gpu: Sequence[str]
    """What the framework prints where it needs a GPU."""

    def environ(self) -> dict[str, str]:
        """Its programs first, no hub, and no telemetry, for which Axolotl waits at its end without a network."""
        path = f"{self.venv / 'bin'}{os.pathsep}{os.environ['PATH']}"
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1"}
        return {**os.environ, **offline, "PATH": path, "VIRTUAL_ENV": str(self.venv)}


def measure(rounds: int, scratch: Path, only: Sequence[str] = ()) -> Outcome:
    """One row for each framework; `rounds` changes nothing, the answer is yes or no."""
    trials = msgspec.convert(yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()), dict[str, Trial])
    if unknown := set(only) - set(trials):
        sys.exit(f"error: no trial of {', '.join(sorted(unknown))} (there are: {', '.join(trials)})")
    rows = {name: _row(name, trial, scratch) for name, trial in trials.items() if name in (only or trials)}
    sides = [f"{side}: {step}" for side in ("pip", "envkit") for step in STEPS]
    return Outcome([], table=rows, columns=["", *sides, "date"])


def _row(name: str, trial: Trial, scratch: Path) -> list[str]:
    environment = load_matrix().environment(trial.environment)
    found, ours = [], _with_envkit(trial.environment)
    for make in (partial(_with_pip, trial.pip, environment.entry.python), partial(_linked, ours)):
        folder = scratch / name
        folder.mkdir()
        try:
            found += _try(make, trial, environment.framework, ours, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    label = f"{name}: `pip install {' '.join(trial.pip)}`, `{trial.environment}`"
    for step, cell in zip((f"{side} {step}" for side in ("pip", "envkit") for step in STEPS), found, strict=True):
        print(f"  {name}, {step}: {cell}", file=sys.stderr, flush=True)
    return [label, *found, datetime.now(timezone.utc).strftime("%Y-%m-%d")]


def _try(make: Callable[[Path], str], trial: Trial, framework: Framework, ours: Path, folder: Path) -> list[str]:
    """What came of each step; a failed installation is told in the first."""
    if failed := make(folder / "venv"):
        return [failed, "–", "–"]
    side = Side((folder / "venv").resolve(), ours / "bin" / "python", folder / "workspace", framework.without_gpu)
    _prepare_workspace(framework.name, side)
    modules = trial.imports or framework.imports or [framework.package.replace("-", "_")]
    program = "; ".join(f"import {each}" for each in modules)
    return [
        _ran(side, [str(side.venv / "bin" / "python"), "-c", program]),
        _ran(side, trial.cli),
        _did(side, trial.job) if trial.job else "needs a GPU",
    ]


def _with_pip(names: list[str], version: str, venv: Path) -> str:
    found = [*uv_command(), "python", "find", "--no-project", version]
    python = subprocess.run(found, capture_output=True, check=True, text=True).stdout.strip()
    settings = {"PIP_CACHE_DIR": str(venv.parent / "pip-cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    settings["PIP_CONFIG_FILE"] = os.devnull  # this machine's own settings may name wheels that nobody else has
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")} | settings
    if index := package_index():
        environ["PIP_INDEX_URL"] = index
    if bundle := ca_bundle():
        environ["PIP_CERT"] = str(bundle)
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([python, "-m", "venv", venv], check=True)
    subprocess.run([*pip, "--upgrade", "pip"], env=environ, check=True)
    done = subprocess.run([*pip, *names], env=environ, capture_output=True, check=False, text=True)
    shutil.rmtree(settings["PIP_CACHE_DIR"], ignore_errors=True)
    return f"not installed: {_last_line(done.stderr)}" if done.returncode else ""


def _with_envkit(name: str) -> Path:
    environment = load_matrix().environment(name)
    lock, backend = read_lock(environment), VenvBackend()
    backend.make(Recipe(environment, lock), Silent())
    return backend.folder(environment, lock.sha256)


def _linked(ours: Path, venv: Path) -> str:
    venv.symlink_to(ours)
    return ""


def _prepare_workspace(framework: str, side: Side) -> None:
    """The framework's demo files and those of the end-to-end tests."""
    for folder in ("config", "data", "models"):
        (side.workspace / folder).mkdir(parents=True)
    for source in (ROOT / "images" / framework / "workspace", ROOT / "tests" / "e2e" / framework):
        if source.is_dir():
            shutil.copytree(source, side.workspace, dirs_exist_ok=True)
    for source in (INSIDE, ROOT / "images" / framework / "smoke"):
        if source.is_dir():
            shutil.copytree(source, side.workspace / "smoke", dirs_exist_ok=True)


def _did(side: Side, job: Job) -> str:
    for program in job.prepare:
        made = _ran(side, [str(side.maker), *program])
        if made != "works":
            return f"no model could be made: {made}"
    if job.answers:
        return f"{job.about}: {_served(side, job)}"
    said = _ran(side, job.argv)
    there = (side.workspace / job.writes).exists()
    return f"{job.about}: {said if said != 'works' or there else f'{job.writes} is missing'}"


def _served(side: Side, job: Job) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [each.replace("{port}", str(port)) for each in job.argv]
    with _running(side, argv) as (child, log):
        until = time.monotonic() + LIMIT
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{job.answers}", timeout=10):
                    return "works"
            except OSError:
                if child.poll() is not None:
                    return f"fails: {_last_line(log.read_text(errors='replace'))}"
                time.sleep(1)
    return f"no answer within {LIMIT} s"


def _ran(side: Side, argv: list[str]) -> str:
    with _running(side, argv) as (child, log):
        try:
            status = child.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return f"no end within {LIMIT} s"
    if status == 0:
        return "works"
    said = log.read_text(errors="replace")
    return "needs a GPU" if any(each in said for each in side.without_gpu) else f"fails: {_last_line(said)}"


@contextmanager
def _running(side: Side, argv: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The program with what it prints; it and its children are ended afterwards."""
    log = side.workspace / "log"
    found = shutil.which(argv[0], path=side.environ()["PATH"]) or argv[0]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [found, *argv[1:]], cwd=side.workspace, env=side.environ(), stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield child, log
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def _last_line(text: str) -> str:
    """The last line that names an error, else the last one, as it fits a table."""
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", each).strip() for each in text.splitlines() if each.strip()]
    errors = [each for each in lines if re.match(r"^(ERROR: |error: |[\w.]*(Error|Exception|Interrupt)\b)", each)]
    line = (errors or lines or ["it printed nothing"])[-1]
    return f"`{line[:157]}{'…' if len(line) > 157 else ''}`".replace("|", "\\|")
