"""What is known of environments here, as tables that people read: `envkit list` without `--json`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from envkit.cli.console import has_room_for, print_table
from envkit.host.describe import describe_machine
from envkit.lock.standing import Standing, standing
from envkit.matrix.fit import listed
from envkit.matrix.plan import Fit, judge_fit
from envkit.matrix.warn import disk_warnings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.evidence import Seen
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment
    from envkit.matrix.schema import App, Framework, Kernels, TorchStack, Unavailable

_WIDE = 110
"""From this many columns on, a terminal shows the overview whole."""


@dataclass(frozen=True)
class Row:
    """An environment with what is known of it here."""

    environment: MatrixEnvironment
    driver: str | None
    standing: Standing
    fit: Fit
    room: bool
    """Whether the disks that are known have room for it."""

    @property
    def attention(self) -> str:
        """The way it is computed."""
        return self.environment.entry.attention.path if self.environment.entry.attention else ""

    @property
    def size(self) -> str:
        """As a venv."""
        size = self.environment.entry.size
        return _gigabytes(size.venv_mib) if size else ""

    def seen(self, *, date: bool) -> str:
        """The strongest level, and what fails."""
        parts = [self.standing.level or "not locked", self.standing.date if date else ""]
        failed = listed(each.level for each in self.standing.failed) if self.standing.failed else ""
        return " ".join(filter(None, parts)) + (f", {failed} failed" if failed else "")

    @property
    def fits(self) -> str:
        """A tick, or the reason in short."""
        if not self.fit.fits:
            return self.fit.short
        where = " CPU" if self.fit.device == "cpu" and self.environment.variant.cuda else ""
        return f"✓{where}{'' if self.room else ', little disk'}"


def row_of(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> Row:
    """The environment as it is on this machine."""
    return Row(
        environment=environment,
        driver=matrix.least_driver(environment),
        standing=standing(environment),
        fit=judge_fit(environment, matrix, facts),
        room=not list(disk_warnings(environment, facts, "engine", "home")),
    )


def show_all(rows: Mapping[str, list[Row]], matrix: Matrix, facts: HostFacts) -> None:
    """One line for each environment, by framework, and below them what is not available."""
    full = has_room_for(_WIDE)
    lines = [
        {"Framework": "" if number else name, **_overview(row, full=full)}
        for name, each in rows.items()
        for number, row in enumerate(each)
    ]
    print_table(list(lines[0]), [list(each.values()) for each in lines], tight=True)
    click.echo(f"\nFits: {_judged(rows, facts)}")
    click.echo("Apps, and more of each environment: `envkit list FRAMEWORK`")
    missing = {**matrix.unavailable(), **{k: v for name in rows for k, v in matrix.unavailable(name).items()}}
    if missing:
        click.echo()
        _show_missing(missing)


def _overview(row: Row, *, full: bool) -> dict[str, str]:
    """A line of the overview, by its headings; on a narrow terminal without what can be left out."""
    environment = row.environment
    return {
        "Variant": environment.label,
        "Version": environment.version,
        "torch": environment.stack.torch or "",
        "Driver from": row.driver or "",
        **({"Attention": row.attention, "Size": row.size} if full else {}),
        "Seen": row.seen(date=full),
        "Fits": row.fits,
    }


def _judged(rows: Mapping[str, list[Row]], facts: HostFacts) -> str:
    """On what the last column rests."""
    unknown = next((row.fit.reasons[0] for each in rows.values() for row in each if row.fit.fits is None), "")
    return unknown or describe_machine(facts)


def show_framework(framework: Framework, rows: list[Row], matrix: Matrix) -> None:
    """One framework: its apps, its environments, and all that is known of each."""
    click.echo(f"{framework.title} ({framework.name})  {framework.home}\n")
    print_table(
        ["App", "What it is", "Port"],
        [
            [name, _about(app, framework), str(app.port.default) if app.port else ""]
            for name, app in framework.apps.items()
        ],
    )
    click.echo()
    lines = [
        {
            "Environment": row.environment.name,
            "Version": row.environment.version,
            "torch": row.environment.stack.torch or "",
            "CUDA": row.environment.variant.cuda or "",
            "Python": row.environment.entry.python,
            "Driver from": row.driver or "",
            "Seen": row.seen(date=False),
            "Fits": row.fits,
        }
        for row in rows
    ]
    if lines:
        print_table(list(lines[0]), [list(each.values()) for each in lines], tight=True)
    for row in rows:
        click.echo(f"\n{row.environment.name}")
        for label, text in _particulars(row):
            click.echo(f"  {label:<11}{text}")
    if missing := matrix.unavailable(framework.name):
        click.echo()
        _show_missing(missing)


def _about(app: App, framework: Framework) -> str:
    """What it is, and that it works without a GPU where the framework as such does not."""
    return f"{app.about}; needs no GPU" if app.cpu and not framework.cpu else app.about


def _particulars(row: Row) -> Iterator[tuple[str, str]]:
    """What has no room in a table; a label stands at the first of its lines."""
    environment, size = row.environment, row.environment.entry.size
    if environment.entry.note:
        yield "note", environment.entry.note
    if environment.stack.capabilities:
        carriers = [environment.stack, environment.entry.kernels]
        yield "GPUs", "; ".join(f"{_package(each)} carries {', '.join(each.capabilities)}" for each in carriers if each)
    if row.attention:
        yield "attention", row.attention
    if size:
        yield "size", f"{_gigabytes(size.venv_mib)} as a venv, {_gigabytes(size.image_mib)} as an image"
    yield "image", environment.image
    if row.standing.problem:
        yield "lock", row.standing.problem
    for number, text in enumerate(_seen(row.standing.seen)):
        yield "" if number else "seen", text
    for number, text in enumerate((*row.fit.reasons, *row.fit.warnings)):
        yield "" if number else "here", text


def _package(carrier: TorchStack | Kernels) -> str:
    return getattr(carrier, "package", f"torch {getattr(carrier, 'torch', '')}")


def _seen(seen: tuple[Seen, ...]) -> Iterator[str]:
    """A line for all that was seen on one machine and day, with one result."""
    together: dict[str, list[str]] = {}
    for each in seen:
        where = ", ".join(filter(None, [each.backend, each.machine]))
        came = f"{each.result}, {each.date} ({where}){f': {each.detail}' if each.detail else ''}"
        together.setdefault(came, []).append(" ".join(filter(None, [each.level, each.job])))
    for came, what in together.items():
        yield f"{', '.join(what)}: {came}"


def _show_missing(missing: Mapping[str, Unavailable]) -> None:
    print_table(
        ["Not available", "Seen", "Why"], [[name, each.date, each.reason] for name, each in missing.items()], tight=True
    )


def _gigabytes(mebibytes: int) -> str:
    return f"{mebibytes * 2**20 / 1e9:.1f} GB"
