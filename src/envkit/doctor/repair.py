"""Runs the safe repairs of findings, after they were shown."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envkit import process
from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from envkit.doctor.finding import Finding

_LIMIT = 120.0
"""Seconds for one repair."""


@dataclass(frozen=True)
class Repair:
    """A command that mends a finding."""

    finding: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """A repair that was run."""

    repair: Repair
    status: int
    output: str


def repairs(findings: Iterable[Finding]) -> list[Repair]:
    """The commands that mend these findings, each once, with `sudo` before them for anybody but root."""
    commands = {argv: finding.id for finding in findings for argv in finding.repair}
    return [Repair(finding, tuple(process.as_root(argv))) for argv, finding in commands.items()]


def run_repairs(planned: Iterable[Repair], on_start: Callable[[Repair], None]) -> list[Done]:
    """What became of each; one that fails does not keep the next from running."""
    done = []
    for repair in planned:
        on_start(repair)
        program = next(word for word in repair.argv if word != "sudo")
        if not shutil.which(program):
            done.append(Done(repair, 127, f"`{program}` is not installed"))
            continue
        try:
            ended = process.run(repair.argv, timeout=_LIMIT)
        except BackendError as error:
            done.append(Done(repair, 1, error.message))
        except PermissionError:  # of ending a program in time that sudo had started
            done.append(Done(repair, 1, f"`{program}` gave no answer within {_LIMIT:g} s"))
        else:
            done.append(Done(repair, ended.status, (ended.stdout + ended.stderr).strip()))
    return done
