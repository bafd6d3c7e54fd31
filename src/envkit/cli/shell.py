"""`envkit shell`: a shell beside a running app."""

from __future__ import annotations

import click

from envkit.cli.exec import at_terminal, become
from envkit.errors import UsageError

_SHELL = """\
command -v bash >/dev/null || exec sh
exec env PS1="($1) \\w\\$ " bash --norc
"""
"""Without the user's start files: conda's would put another Python before the environment's."""


@click.command("shell")
@click.argument("name")
def shell_command(name: str) -> None:
    """Open a shell inside the running instance NAME."""
    if not at_terminal():
        raise UsageError("a shell needs a terminal", hint=f"`envkit exec {name} -- COMMAND` runs one program without")
    become(name, ["sh", "-c", _SHELL, "sh", name])
