"""A line of a log, as the program meant it: without colours, boxes, and what ranks, containers and clocks put before it."""

from __future__ import annotations

import re

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")


def normalise(line: str) -> str:
    """The line that programs and people compare."""
    return _ESCAPES.sub("", line.rstrip("\r\n").rpartition("\r")[2]).strip()
