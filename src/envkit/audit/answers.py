"""Runs inside an environment, like `probe.py`: starts the given programs there and prints how each ended, as JSON.

`python -I -S -c PROGRAM QUESTIONS`: one start of a container for many questions.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

_KEPT = 400_000
"""Bytes of a program's words; the help of a trainer with all its options has 100 000."""


def main(questions: dict[str, Any]) -> list[dict[str, Any]]:
    """How each of the `commands` ended: see `envkit.audit.seen.Answer`, which reads it."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda argv: answer(argv, questions["timeout"]), questions["commands"]))


def answer(argv: list[str], timeout: float) -> dict[str, Any]:
    """The program's exit status, shell style, and what it printed; status null: it did not end in time."""
    began = time.monotonic()
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    try:
        program = subprocess.Popen(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        return {"status": 127, "output": f"{argv[0]}: {error.strerror}", "seconds": 0}
    status: int | None
    try:
        output = program.communicate(timeout=timeout)[0]
        status = program.returncode
    except subprocess.TimeoutExpired:
        _end(program)
        output, status = program.communicate()[0], None
    _end(program)  # what it may have started
    return {
        "status": status if status is None or status >= 0 else 128 - status,
        "output": output[-_KEPT:].decode(errors="replace"),
        "seconds": round(time.monotonic() - began, 3),
    }


def _end(program: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))  # noqa: T201  # what it is for
