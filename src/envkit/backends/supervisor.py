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
import time
from contextlib import suppress
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36
"""linux/prctl.h: orphaned descendants become ours, so that none is left behind."""
LOOK_SECONDS = 5.0
"""How often it looks whether the instance is still on record."""
_GRACE_SECONDS = 10.0


def main(folder: Path) -> int:
    """The app's exit status, shell style: 128 + N after signal N, 127 when it does not exist."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    argv = json.loads((folder / "launch.json").read_text(encoding="utf-8"))["argv"]
    record = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
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
        _watch(record, app.pid)
        status = app.wait()
        signal.setitimer(signal.ITIMER_REAL, 0)
    _end_descendants()
    _write_down(record, status if status >= 0 else 128 - status)
    return status


def _write_down(record: int, status: int) -> None:
    """In the record's own folder, whatever its name is now; where somebody removed it, nobody asks any more."""
    with suppress(FileNotFoundError):
        os.stat("launch.json", dir_fd=record)
        with os.fdopen(os.open(".exit", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644, dir_fd=record), "w") as staging:
            staging.write(str(status))
        os.replace(".exit", "exit", src_dir_fd=record, dst_dir_fd=record)


def _watch(record: int, group: int) -> None:
    """Ends the app once its record is gone, without which nobody finds it any more: `rm -rf` of ENVKIT_HOME.

    `record` is the open folder, which stays the same when it is renamed. A file system that gives no answer, or another
    than that, is no reason.
    """
    began: list[float] = []

    def look(number: int, frame: object) -> None:
        try:
            os.stat("launch.json", dir_fd=record)
        except FileNotFoundError:
            began.append(time.monotonic())
            _tell(group, signal.SIGKILL if began[-1] - began[0] >= _GRACE_SECONDS else signal.SIGTERM)
        except OSError:
            pass

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)


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
