"""Invented entries, and logs as programs print them, for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envkit.diagnose.match import diagnose
from envkit.diagnose.schema import Condition, Entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envkit.diagnose.report import Report


def entry(name: str, *match: str, **parts: Any) -> Entry:  # any field of an entry
    """An entry of that id, with those patterns."""
    texts = {"title": f"{name} happened", "cause": f"The cause of {name}.", "fix": [f"`mend {name}`"]}
    proof = {"source": "https://example.org/", "examples": ["x"], "counterexamples": ["y"]}
    parts["facts"] = [Condition(**each) for each in parts.get("facts", [])]
    return Entry(**{"id": name, "severity": "fatal", "match": list(match), **texts, **proof, **parts})


def traceback(raised: str, *frames: str) -> str:
    """What Python prints of an exception."""
    shown = "".join(
        f'  File "/srv/run/{frame}.py", line 7, in {frame}\n    {frame}()\n' for frame in frames or ("main",)
    )
    return f"Traceback (most recent call last):\n{shown}{raised}\n"


def caused_by(first: str, second: str) -> str:
    """The second exception was raised from the first."""
    return f"{first}\nThe above exception was the direct cause of the following exception:\n\n{second}"


def report_on(log: str, *entries: Entry, **how: Any) -> Report:
    """What is said of the log."""
    return diagnose([log.encode()], entries, **how)


def ids(log: str, *entries: Entry, **how: Any) -> list[str]:
    """The ids of the diagnoses, the cause first."""
    return [each.id for each in report_on(log, *entries, **how).diagnoses]


def prefixed(log: str, prefix: str) -> str:
    """Every line with the prefix before it."""
    return "".join(f"{prefix}{line}\n" for line in log.splitlines())


def interleaved(logs: Sequence[str]) -> str:
    """One line of each in turn."""
    lines = [log.splitlines() for log in logs]
    return "".join(
        f"{each[number]}\n" for number in range(max(map(len, lines))) for each in lines if number < len(each)
    )
