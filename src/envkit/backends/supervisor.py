"""Runs one app of the venv backend, outlives the command that started it, and writes down how the app ended.

`python -m envkit.backends.supervisor FOLDER` reads `FOLDER/launch.json` and writes `FOLDER/exit`.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h: orphaned descendants become ours, so that none is left behind."""


def main(folder: Path) -> int:
    """The app's exit status, shell style: 128 + N after signal N, 127 when it does not exist."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    argv = json.loads((folder / "launch.json").read_text(encoding="utf-8"))["argv"]
    started: list[int] = []
    early: list[int] = []  # signals that came before there was an app to tell of them

    def pass_on(number: int, frame: object) -> None:
        if started:
            _tell(started[0], number)
        else:
            early.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, pass_on)
    try:
        app = subprocess.Popen(argv, start_new_session=True)
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201  # this is the instance's log
        status = 127
    else:
        started.append(app.pid)
        for each in early:
            _tell(app.pid, each)
        status = app.wait()
    _end_descendants()
    staging = folder / ".exit"
    staging.write_text(str(status if status >= 0 else 128 - status), encoding="utf-8")
    staging.replace(folder / "exit")
    return status


def _tell(group: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM if number == signal.SIGHUP else number)


def _end_descendants(grace_seconds: float = 3) -> None:
    """Workers that the app started and did not end."""
    left = psutil.Process().children(recursive=True)
    for each in left:
        _signal(each, signal.SIGTERM)
    _, stubborn = psutil.wait_procs(left, timeout=grace_seconds)
    for each in stubborn:
        _signal(each, signal.SIGKILL)


def _signal(target: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        target.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
