"""`envkit smoke`: an environment, proved by the jobs that it is for."""

from __future__ import annotations

import shlex
import tempfile
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.apps.launch import choose_backend
from envkit.backends.base import Recipe
from envkit.cli.build import base_image_option
from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, print_table, say, style
from envkit.cli.instances import backends
from envkit.cli.mirror import chosen_mirror, mirror_option
from envkit.cli.plan import backend_option, device_option, gpus_option, with_gpus
from envkit.errors import UsageError
from envkit.evidence import record
from envkit.host.describe import describe_machine
from envkit.host.probes import probe_host
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix, named
from envkit.matrix.plan import DeviceWish, make_plan
from envkit.share import write_file
from envkit.smoke.check import Report, evidence_of
from envkit.smoke.room import Room
from envkit.smoke.run import Smoke, checks_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix
    from envkit.matrix.plan import Plan
    from envkit.smoke.check import Check

_COLOURS = {"pass": "green", "fail": "red", "error": "red", "skip": "yellow"}


@click.command("smoke")
@click.argument("name", metavar="FRAMEWORK|ENVIRONMENT")
@backend_option("Where the environment is; one that is not there is made.")
@device_option
@gpus_option
@click.option(
    "--only",
    multiple=True,
    metavar="CHECK[,CHECK]",
    help="These checks alone, such as sft-lora; one that is skipped is a failure then.",
)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="An empty folder to run in, which stays [default: one that goes].",
)
@click.option(
    "--report",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.html",
    help="Write a page with curves, screenshots and versions.",
)
@click.option("--record", "recorded", is_flag=True, help="Write what was seen into the environment's evidence.json.")
@base_image_option
@mirror_option
@click.option("--dry-run", is_flag=True, help="Show which checks there are.")
@json_option
@matrix_option
def smoke_command(
    name: str,
    *,
    backend: str,
    device: DeviceWish,
    gpus: str | None,
    only: tuple[str, ...],
    workspace: Path | None,
    page: Path | None,
    recorded: bool,
    base_image: str | None,
    mirror: str | None,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Train, export, chat and look at the web page on this machine.

    Each check runs the framework's own commands, offline, on a tiny model and data that it makes itself, and judges what
    comes of it. Ends with 1 where a check did not pass, or was asked for by name and skipped.
    """
    matrix = load_matrix(overlay)
    facts, device = with_gpus(probe_host(), gpus, device)
    plan = _plan(matrix, name, facts, device)
    known = backends()
    engine, why = choose_backend(backend, known, gpu=plan.device == "gpu")
    recipe = Recipe(plan.environment, read_lock(plan.environment), chosen_mirror(matrix, mirror), base_image)
    offered = dict.fromkeys(checks_of(recipe))
    asked = [each for text in only for each in text.split(",")]
    for each in asked:
        named(each, offered, f"check of {plan.environment.name}")
    if dry_run:
        _show_checks(asked or list(offered), as_json=as_json)
        return 0
    say(f"{style(plan.environment.name, bold=True)} on the {plan.device.upper()}, backend {engine.name} ({why})")
    handed = (facts.gpus or ()) if plan.device == "gpu" else ()
    progress = ConsoleProgress()
    with _workspace(workspace) as folder:
        smoke = Smoke(engine, recipe, Room(engine, known, recipe, folder, handed), handed)
        if not engine.has(recipe):
            engine.make(recipe, progress)
            progress.done(f"{plan.environment.name} is ready")
        machine = describe_machine(facts)
        try:
            report = smoke.run(asked, progress, machine)
        finally:  # whatever ends it: what was seen until then is worth reading
            if page:
                _write_page(page, smoke, smoke.report(asked, machine))
    if recorded:
        today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
        record(plan.environment, recipe.lock, *evidence_of(report, date=today))
    if as_json:
        print_json(msgspec.json.decode(msgspec.json.encode(report)))  # which makes null of NaN: JSON has none
    else:
        _show(report)
    return int(report.result != "pass")


def framework_of(matrix: Matrix, name: str) -> str:
    """The framework that is meant by its own name or by an environment's; raises `UsageError` with the nearest names."""
    if name in matrix.file.environments:
        return matrix.environment(name).framework.name
    return matrix.framework(name).name


def _plan(matrix: Matrix, name: str, facts: HostFacts, device: DeviceWish) -> Plan:
    """The plan for an environment of that name, else for the framework."""
    environment = name if name in matrix.file.environments else None
    return make_plan(matrix, framework_of(matrix, name), facts, device=device, environment=environment)


@contextmanager
def _workspace(wish: Path | None) -> Iterator[Path]:
    if wish is None:
        with tempfile.TemporaryDirectory(prefix="envkit-smoke-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)
        return
    if wish.exists() and any(wish.iterdir()):
        raise UsageError(
            f"the folder is not empty: {wish}", hint="what is left there would prove nothing: name a new one"
        )
    wish.mkdir(parents=True, exist_ok=True)
    yield wish.absolute()


def _write_page(file: Path, smoke: Smoke, report: Report) -> None:
    from envkit.smoke.report import render_report

    write_file(file, render_report(report, smoke.recipe, smoke.pictures))
    say(f"  new: {file}")


def _show_checks(names: list[str], *, as_json: bool) -> None:
    if as_json:
        print_json(names)
        return
    for each in names:
        click.echo(each)


def _show(report: Report) -> None:
    click.echo(f"{report.environment} on the {report.device.upper()}, backend {report.backend}: {report.result}")
    print_table(("Check", "Result", "Seconds", "Detail"), [_row(each) for each in report.checks])
    for check in report.checks:
        if check.result not in ("pass", "skip"):
            _show_failure(check)


def _show_failure(check: Check) -> None:
    click.echo(f"\n{style(f'{check.name}:', fg=_COLOURS[check.result], bold=True)} {check.detail}")
    for fault in check.faults if len(check.faults) > 1 else ():
        click.echo(f"  - {fault}")
    if check.command:
        click.echo(f"  command: {shlex.join(check.command)}")
    for line in check.log:
        click.echo(f"  | {line}")
    if check.diagnosis:
        click.echo(f"  cause: {check.diagnosis.title}")
        click.echo(f"  fix: {check.diagnosis.fix[0]}")


def _row(check: Check) -> tuple[str, str, str, str]:
    return check.name, check.result, f"{check.seconds:.1f}", check.detail
