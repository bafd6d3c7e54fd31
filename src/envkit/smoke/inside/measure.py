"""Runs a command and prints how much memory it took: python measure.py COMMAND...

Its last line is `peak memory: N KiB`: the largest process among all that the command started. The exit status is the
command's.
"""

from __future__ import annotations

import resource
import subprocess
import sys


def main() -> int:
    """The command's exit status, shell style."""
    status = subprocess.run(sys.argv[1:], check=False).returncode
    print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss} KiB", flush=True)  # noqa: T201
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
