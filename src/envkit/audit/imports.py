"""Runs inside an environment: imports the modules that it is given, in order, in one process."""

from __future__ import annotations

import importlib
import sys
import traceback

FAILED = "@@ not imported: "
"""Begins the line that names a module; the last line of its traceback stands before it."""


def main(modules: list[str]) -> int:
    """1 where a module could not be imported; the others are tried all the same."""
    status = 0
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException:  # noqa: BLE001  # some modules exit
            traceback.print_exc(file=sys.stdout)
            print(f"{FAILED}{name}", flush=True)  # noqa: T201
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
