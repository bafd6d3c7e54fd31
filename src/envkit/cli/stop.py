"""`envkit stop`: end instances."""

from __future__ import annotations

import click

from envkit.cli.console import json_option, print_json, say
from envkit.cli.instances import all_instances, find_instance
from envkit.errors import UsageError


@click.command("stop")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everything", is_flag=True, help="Every instance.")
@click.option(
    "-t",
    "--time",
    "grace",
    type=click.FloatRange(min=0),
    default=10,
    show_default=True,
    help="Seconds until it is killed.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be stopped.")
@json_option
def stop_command(names: tuple[str, ...], everything: bool, grace: float, dry_run: bool, as_json: bool) -> None:
    """Stop instances and remove them; the workspace stays."""
    if bool(names) == everything:
        raise UsageError("name the instances to stop, or say `--all`", hint="`envkit ps` lists them")
    chosen = all_instances() if everything else [find_instance(name) for name in names]
    for backend, instance in chosen:
        if not dry_run:
            backend.remove(instance.name, grace_seconds=grace)
        say(f"{'would stop' if dry_run else 'stopped'} {instance.name}")
    if as_json:
        print_json([instance.name for _, instance in chosen])
