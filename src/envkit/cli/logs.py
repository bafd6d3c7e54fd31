"""`envkit logs`: what an instance printed."""

from __future__ import annotations

import sys

import click

from envkit.cli.instances import find_instance


@click.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the instance ends.")
@click.option("-n", "--tail", type=click.IntRange(min=0), metavar="N", help="Start at the last N lines.")
def logs_command(name: str, follow: bool, tail: int | None) -> None:
    """Show what the instance NAME printed."""
    backend, _ = find_instance(name)
    for chunk in backend.logs(name, follow=follow, tail=tail):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
