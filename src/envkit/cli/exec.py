"""`envkit exec`: a program beside a running app."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from envkit.cli.console import say
from envkit.cli.instances import find_instance
from envkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("name")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[--] COMMAND [ARGS]...")
def exec_command(name: str, command: tuple[str, ...]) -> None:
    """Run a program inside the running instance NAME.

    As the app's user, in its folder, with its variables: envkit exec llamafactory-webui -- python -c "import torch". Its
    exit status is passed on.
    """
    argv = command[1:] if command[:1] == ("--",) else command
    if not argv:
        raise UsageError("name the program to run", hint=f"such as `envkit exec {name} -- python --version`")
    become(name, argv)


def become(name: str, argv: Sequence[str]) -> NoReturn:
    """Gives this process to a program in the instance: signals, terminal and exit status are its own."""
    backend, _ = find_instance(name)
    entry = backend.entry(name, argv, terminal=at_terminal())
    sys.stdout.flush()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and so would the program
    try:
        os.chdir(entry.workdir or ".")
    except OSError as error:
        raise UsageError(
            f"the app's folder cannot be entered: {entry.workdir}: {error.strerror}", hint="it was moved or removed"
        ) from error
    try:
        os.execvpe(entry.argv[0], entry.argv, dict(os.environ if entry.env is None else entry.env))  # noqa: S606  # no shell
    except OSError as error:
        # As shells have it: 127 where there is no such program, 126 where it may not be run.
        say(f"{entry.argv[0]}: {error.strerror}")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def at_terminal() -> bool:
    """Whether the user types and reads at one."""
    return sys.stdin.isatty() and sys.stdout.isatty()
