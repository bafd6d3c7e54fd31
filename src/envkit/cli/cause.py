"""What a failure says by itself of its cause: the first diagnosis of what was printed, and where there is more."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from envkit.cli.console import say, style
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from envkit.diagnose.report import Diagnosis


def say_cause(log: Iterable[bytes], name: str) -> None:
    """Shows the cause on stderr, if it is known, and keeps the log as `name` for `envkit diagnose`."""
    kept = list(log)
    told = find_cause(kept)
    if told is None:
        return
    path = _keep(kept, name)
    evidence = told.evidence[0]
    say(f"\n{style('cause:', fg='magenta', bold=True)} {redact(told.title)}")
    say(f"  line {evidence.line}: {redact(evidence.text)}")
    say(f"  fix: {redact(told.fix[0])}")
    if path:
        say(f"  `envkit diagnose {path}` tells more")


def find_cause(log: Iterable[bytes]) -> Diagnosis | None:
    """The first diagnosis; None where nothing is known of it."""
    from envkit.diagnose.match import diagnose

    report = diagnose(log)
    return report.diagnoses[0] if report.diagnoses else None


def _keep(log: Iterable[bytes], name: str) -> Path | None:
    """Where the log is, readable for its owner alone; the last failure of each name is kept."""
    from envkit.host.home import envkit_home

    path = envkit_home() / "failures" / f"{name}.log"
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging.touch(mode=0o600)
        with staging.open("wb") as file:
            file.writelines(log)
        staging.replace(path)
    except OSError:  # the diagnosis is worth more than its log
        with suppress(OSError):
            staging.unlink(missing_ok=True)
        return None
    return path
