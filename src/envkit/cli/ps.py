"""`envkit ps`: the instances."""

from __future__ import annotations

import click
import msgspec

from envkit.cli.console import json_option, print_json, print_table, say
from envkit.cli.instances import all_instances


@click.command("ps")
@json_option
def ps_command(as_json: bool) -> None:
    """List instances, whatever backend runs them."""
    instances = [instance for _, instance in all_instances()]
    if as_json:
        print_json([msgspec.to_builtins(each) for each in instances])
    elif instances:
        print_table(
            ["Name", "App", "Environment", "Backend", "Status", "URL", "Started (UTC)"],
            [
                [
                    each.name,
                    each.app,
                    each.environment,
                    each.backend,
                    each.status if each.exit_status is None else f"{each.status} ({each.exit_status})",
                    (each.url or "") if each.status == "running" else "",
                    each.started.replace("T", " ")[:19],
                ]
                for each in instances
            ],
        )
    else:
        say("nothing is running")
