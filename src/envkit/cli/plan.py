"""`envkit plan`: which environment fits, and why the others do not."""

from __future__ import annotations

from pathlib import Path

import click

from envkit.cli.console import json_option, matrix_option, print_json
from envkit.host.probes import probe_host
from envkit.matrix.load import load_matrix
from envkit.matrix.plan import DeviceWish, Plan, make_plan

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "gpu", "cpu"]),
    default="auto",
    show_default=True,
    help="What to run on; `auto` never gives up a GPU that is there.",
)
environment_option = click.option("--env", "environment", metavar="ENVIRONMENT", help="This environment and no other.")


@click.command("plan")
@click.argument("framework")
@environment_option
@device_option
@json_option
@matrix_option
def plan_command(
    framework: str, environment: str | None, device: DeviceWish, as_json: bool, overlay: Path | None
) -> None:
    """Show which environment of FRAMEWORK fits this machine, and why every other one was passed over."""
    matrix = load_matrix(overlay)
    matrix.framework(framework)
    plan = make_plan(matrix, framework, probe_host(), device=device, environment=environment)
    if as_json:
        print_json(plan_json(plan))
        return
    click.echo(f"{plan.environment.name} on the {plan.device.upper()}")
    for name, reasons in plan.rejected:
        for reason in reasons:
            click.echo(f"  not {name}: {reason}")


def plan_json(plan: Plan) -> dict[str, object]:
    """The plan's JSON shape, which others rely on (docs/json.md)."""
    return {
        "framework": plan.environment.framework.name,
        "environment": plan.environment.name,
        "variant": plan.environment.stack.variant,
        "device": plan.device,
        "rejected": [{"environment": name, "reasons": list(reasons)} for name, reasons in plan.rejected],
        "warnings": list(plan.warnings),
    }
