"""Findings as they are shown, of a machine or of an environment."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.cli.console import style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envkit.finding import Finding

_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("i", "cyan")}
SHOWN = 4
"""How many findings of one kind are shown; a broken download has a hundred."""


def show_findings(findings: Sequence[Finding], fine: str) -> None:
    """The first findings of each kind and how many there are; `fine` where there is none."""
    seen = Counter[str]()
    for finding in findings:
        seen[finding.id] += 1
        if seen[finding.id] > SHOWN:
            continue
        mark, colour = _MARKS[finding.severity]
        click.echo(
            f"{style(mark, fg=colour, bold=True)} {style(finding.title, bold=True)}  {style(finding.id, dim=True)}"
        )
        click.echo(f"    seen       {finding.evidence}")
        if finding.otherwise:
            click.echo(f"    otherwise  {finding.otherwise}")
        for number, step in enumerate(finding.fix):
            click.echo(f"    {'do' if not number else '':<11}{step}")
        click.echo()
    for name, number in seen.items():
        if number > SHOWN:
            click.echo(f"… and {number - SHOWN} more of {name}: `--json` has them all\n")
    counts = {severity: sum(each.severity == severity for each in findings) for severity in _MARKS}
    summary = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items() if count)
    click.echo(summary or fine)


def findings_as_json(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """The shape that others rely on (docs/json.md)."""
    return [{key: value for key, value in msgspec.to_builtins(each).items() if key != "repair"} for each in findings]
