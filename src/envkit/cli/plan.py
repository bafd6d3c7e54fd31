"""`envkit plan`: which environment fits, and why the others do not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit.apps.launch import choose_backend
from envkit.cli.console import json_option, matrix_option, print_json, say, style
from envkit.cli.facts import facts_option, read_facts
from envkit.cli.instances import backends
from envkit.errors import UsageError
from envkit.host.probes import probe_host
from envkit.matrix.gpus import select_gpus
from envkit.matrix.load import load_matrix
from envkit.matrix.plan import DeviceWish, Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from envkit.host.facts import HostFacts

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "gpu", "cpu"]),
    default="auto",
    show_default=True,
    help="What to run on; `auto` never gives up a GPU that is there.",
)
gpus_option = click.option(
    "--gpus",
    metavar="0,1",
    help="GPUs by index or UUID, MIG slices by UUID, `all` or `none` [default: CUDA_VISIBLE_DEVICES, or all].",
)
environment_option = click.option("--env", "environment", metavar="ENVIRONMENT", help="This environment and no other.")


def backend_option(help_text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """`--backend`, for a command that takes any."""
    names = click.Choice(["auto", "docker", "podman", "venv"])
    return click.option("--backend", type=names, default="auto", show_default=True, help=help_text)


@click.command("plan")
@click.argument("framework")
@environment_option
@device_option
@gpus_option
@facts_option
@json_option
@matrix_option
def plan_command(
    framework: str,
    environment: str | None,
    device: DeviceWish,
    gpus: str | None,
    described: Path | None,
    as_json: bool,
    overlay: Path | None,
) -> None:
    """Show which environment of FRAMEWORK fits this machine, and why."""
    matrix = load_matrix(overlay)
    matrix.framework(framework)
    if described:  # of another machine than the one that CUDA_VISIBLE_DEVICES is about
        facts, device = with_gpus(read_facts(described), gpus or "all", device)
    else:
        facts, device = with_gpus(probe_host(), gpus, device)
    plan = make_plan(matrix, framework, facts, device=device, environment=environment)
    # Another machine's engine cannot be asked.
    backend = None if described else choose_backend("auto", backends(), gpu=plan.device == "gpu")[0].name
    if as_json:
        print_json(plan_json(plan, backend))
        return
    click.echo(f"{plan.environment.name} on the {plan.device.upper()}{f', backend {backend}' if backend else ''}")
    for name, reasons in plan.rejected:
        for reason in reasons:
            click.echo(f"  not {name}: {reason}")
    for note in plan.notes:
        click.echo(f"  note: {note}")
    for warning in plan.warnings:
        click.echo(f"  {style('warning:', fg='yellow')} {warning}")


def with_gpus(facts: HostFacts, gpus: str | None, device: DeviceWish) -> tuple[HostFacts, DeviceWish]:
    """The facts with the chosen GPUs alone, and the device that the choice means.

    Without a choice CUDA_VISIBLE_DEVICES is one, as it is for every program that uses CUDA (and as Slurm sets it).
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if gpus is None and visible is not None and facts.gpus and device != "cpu":
        wish = "none" if visible.strip() in ("", "-1") else visible
        say(f"GPUs: {wish}, as CUDA_VISIBLE_DEVICES says (`--gpus all` takes all)")
        return with_gpus(facts, wish, device)
    if gpus == "none":
        if device == "gpu":
            raise UsageError("`--gpus none` contradicts `--device gpu`", hint="leave out one of them")
        return facts, "cpu"
    if device == "cpu" and gpus not in (None, "all"):
        raise UsageError("there is no GPU to choose: the plan is for the CPU", hint="leave out `--gpus`")
    return select_gpus(facts, gpus), device


def plan_json(plan: Plan, backend: str | None) -> dict[str, object]:
    """The plan's JSON shape, which others rely on (docs/json.md)."""
    return {
        "framework": plan.environment.framework.name,
        "environment": plan.environment.name,
        "variant": plan.environment.stack.variant,
        "device": plan.device,
        "backend": backend,
        "rejected": [{"environment": name, "reasons": list(reasons)} for name, reasons in plan.rejected],
        "notes": list(plan.notes),
        "warnings": list(plan.warnings),
    }
