"""`envkit verify`: environments, looked at from inside."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.apps.launch import choose_backend
from envkit.apps.verify import Report, evidence_of, verify
from envkit.backends.base import Recipe
from envkit.cli.build import base_image_option
from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, print_table, say, style
from envkit.cli.instances import backends
from envkit.cli.mirror import chosen_mirror, mirror_option
from envkit.cli.plan import backend_option, gpus_option, with_gpus
from envkit.errors import NoPlanError
from envkit.evidence import record
from envkit.host.describe import describe_machine
from envkit.host.files import is_there
from envkit.host.probes import probe_host
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from envkit.matrix.plan import DeviceWish, make_plan

if TYPE_CHECKING:
    from envkit.audit.check import Check
    from envkit.backends.base import Backend
    from envkit.host.facts import Gpu, HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment

_COLOURS = {"pass": "green", "fail": "red", "error": "red", "skip": "yellow"}


@click.command("verify")
@click.argument("environments", nargs=-1, required=True, metavar="ENVIRONMENT...")
@backend_option("Where the environments are; one that is not there is made.")
@click.option(
    "--device",
    type=click.Choice(["auto", "gpu", "cpu"]),
    default="auto",
    show_default=True,
    help="`auto` takes a GPU where one is there and fits: what needs one is skipped without.",
)
@gpus_option
@base_image_option
@mirror_option
@click.option("--record", "recorded", is_flag=True, help="Write what was found into the environments' evidence.json.")
@json_option
@matrix_option
def verify_command(
    environments: tuple[str, ...],
    *,
    backend: str,
    device: DeviceWish,
    gpus: str | None,
    base_image: str | None,
    mirror: str | None,
    recorded: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Check made environments: installed, linked, importing, answering.

    The packages are exactly the lock's, torch and its companions agree, libraries find what they need, modules import,
    programs know the options that they are told with, and every variable is read. Ends with 1 where a check did not
    pass, or could not be made.
    """
    matrix = load_matrix(overlay)
    mirrors = chosen_mirror(matrix, mirror)
    chosen = [matrix.environment(name) for name in environments]
    recipes = [Recipe(each, read_lock(each), mirrors, base_image) for each in chosen]
    facts, device = with_gpus(probe_host(), gpus, device)
    engine, why = choose_backend(backend, backends(), gpu=device == "gpu")
    reports = []
    for recipe in recipes:
        handed = _gpus(matrix, recipe.environment, facts, device, engine)
        say(f"{style(recipe.environment.name, bold=True)}, backend {engine.name} ({why})")
        report = _verified(engine, recipe, handed)
        reports.append(report)
        if not as_json:
            _show(report)
        if recorded:
            today = datetime.now(timezone.utc).strftime("%Y-%m-%d")
            seen = evidence_of(report, machine=describe_machine(facts), date=today)
            record(recipe.environment, recipe.lock, *seen)
    if as_json:
        found = [msgspec.to_builtins(each) for each in reports]
        print_json(found[0] if len(found) == 1 else found)
    return int(any(each.result != "pass" for each in reports))


def _gpus(
    matrix: Matrix, environment: MatrixEnvironment, facts: HostFacts, device: DeviceWish, backend: Backend
) -> tuple[Gpu, ...]:
    """The GPUs to hand over: none where none was asked for, and none is there, fits, or can be handed over."""
    if device == "cpu" or (device == "auto" and (not facts.gpus or backend.gpu_problem())):
        return ()
    try:
        plan = make_plan(matrix, environment.framework.name, facts, device="gpu", environment=environment.name)
    except NoPlanError:
        if device == "gpu":
            raise
        return ()
    return (facts.gpus or ()) if plan.device == "gpu" else ()


def _verified(backend: Backend, recipe: Recipe, gpus: tuple[Gpu, ...]) -> Report:
    progress = ConsoleProgress()
    if not _is_there(backend, recipe):
        backend.make(recipe, progress)
        progress.done(f"{recipe.environment.name} is ready")
    report = verify(backend, recipe, progress, gpus=gpus)
    progress.done(f"{recipe.environment.name}: {report.result}")
    return report


def _is_there(backend: Backend, recipe: Recipe) -> bool:
    """Whether there is something to look at: a venv that lacks a part is judged, and not made again unseen."""
    key = backend.key(recipe)
    return backend.has(recipe) or any(
        each.name == key and each.folder is not None and is_there(each.folder / "bin/python")
        for each in backend.environments()
    )


def _show(report: Report) -> None:
    click.echo(f"{report.environment} on the {report.device.upper()}, backend {report.backend}: {report.result}")
    print_table(("Check", "Result", "Seconds", "Detail"), [_row(each) for each in report.checks])
    for check in report.checks:
        for fault in check.faults if len(check.faults) > 1 else ():
            click.echo(f"  {style(f'{check.name}:', fg=_COLOURS[check.result])} {fault}")
    if report.result == "skip":
        click.echo("not verified: what was skipped needs a GPU; run it again on a machine that has one")


def _row(check: Check) -> tuple[str, str, str, str]:
    return check.name, check.result, f"{check.seconds:.1f}", check.detail
