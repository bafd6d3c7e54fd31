"""`envkit url`: where an instance answers."""

from __future__ import annotations

import click

from envkit.cli.console import json_option, print_json
from envkit.cli.instances import find_instance
from envkit.errors import UsageError


@click.command("url")
@click.argument("name")
@json_option
def url_command(name: str, as_json: bool) -> None:
    """Print the address of the instance NAME."""
    _, instance = find_instance(name)
    if not instance.url:
        raise UsageError(
            f"{name} has no address: {instance.app} does not listen", hint="`envkit ps` shows which have one"
        )
    if instance.status != "running":
        raise UsageError(
            f"{name} has ended, and nothing answers at {instance.url}",
            hint=f"`envkit logs {name}` shows what it printed",
        )
    if as_json:
        print_json({"name": name, "url": instance.url})
    else:
        click.echo(instance.url)
