"""Text or JSON, colour, progress, errors and exit status: everything that reaches the user passes here."""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envkit.errors import (
    EnvkitError,
    MatrixError,
    NoPlanError,
    UsageError,
)
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Sequence

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors included.")
matrix_option = click.option(
    "--matrix",
    "overlay",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add FILE's entries to the matrix.",
)


def style(text: str, **how: Any) -> str:  # click.style's own
    """The text in colour, unless the user asked for none (https://no-color.org)."""
    return text if os.environ.get("NO_COLOR") else click.style(text, **how)


def print_json(value: Any) -> None:  # anything that JSON can hold
    """The result, on stdout."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str = "") -> None:
    """A line for the reader, on stderr: results alone go to stdout."""
    click.echo(text, err=True)


def agreed(question: str) -> bool:
    """Whether the user says yes; raises `UsageError` where nobody is there to be asked."""
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise UsageError("nobody is there to be asked", hint="add --yes, or --dry-run") from error


def asked_secret(name: str, hint: str) -> str:
    """What the user types, or pipes in; raises `UsageError` where nobody is there to be asked."""
    try:
        return str(click.prompt(name, hide_input=sys.stdin.isatty(), err=True))
    except click.Abort as error:
        if sys.stdin.isatty():  # Ctrl-C
            raise
        raise UsageError(f"nobody is there to be asked for the {name}", hint=hint) from error


def has_room_for(columns: int) -> bool:
    """Whether a line of so many characters fits the terminal; anything fits where nobody reads along."""
    return not sys.stdout.isatty() or os.get_terminal_size(sys.stdout.fileno()).columns >= columns


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, tight: bool = False) -> None:
    """Rows under their headings, on stdout; the full text of every cell where nobody reads along.

    `tight` sets columns closer together.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    padding = (0, 1, 0, 0) if tight else (0, 1)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False).print(table)


class ConsoleProgress:
    """Steps on stderr, each with its time; what a step prints is shown only where a terminal can take it back."""

    def __init__(self) -> None:
        """Starts the clock."""
        self.terminal = sys.stderr.isatty()
        self._began = time.monotonic()

    def step(self, text: str) -> None:
        """Something begins."""
        self._line(style("·", dim=True), text)

    def detail(self, line: str) -> None:
        """The latest line of the running step, overwritten by the next."""
        if self.terminal:
            width = os.get_terminal_size(sys.stderr.fileno()).columns
            click.echo(f"\r\033[K    {style(line.strip()[: width - 6], dim=True)}", nl=False, err=True)

    def done(self, text: str) -> None:
        """Something ended."""
        self._line(style("✓", fg="green"), text)

    def _line(self, mark: str, text: str) -> None:
        clear = "\r\033[K" if self.terminal else ""
        click.echo(f"{clear}{style(f'{time.monotonic() - self._began:6.1f}s', dim=True)} {mark} {text}", err=True)


def report_error(error: BaseException) -> int:
    """Shows an error the way the command was called (text or `--json`), and gives the exit status to end with.

    Anything but a user's problem is our bug and keeps its traceback.
    """
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        say("interrupted")
        cause = error.__cause__ or error  # click makes an Abort of every interrupt
        return 128 + int(cause.args[0] if cause.args else signal.SIGINT)  # as shells have it
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        say(error.format_message())
        return error.exit_code
    parts = _parts(error)
    if parts is None:
        raise error
    kind, status, message, details, hint = parts
    if "--json" in _own_arguments():
        extra: dict[str, Any] = {}
        if isinstance(error, NoPlanError):
            extra["rejected"] = [{"environment": name, "reasons": list(reasons)} for name, reasons in error.rejected]
        if isinstance(error, MatrixError):
            extra["faults"] = list(error.faults)
        if log := _log_of(error):
            from envkit.cli.cause import find_cause

            found = find_cause([log])
            extra["diagnosis"] = found and {"id": found.id, "title": found.title, "fix": list(found.fix)}
        body = {
            "kind": kind,
            "message": message,
            "details": details,
            "hint": hint,
            "exit_code": status,
            **extra,
        }
        print_json({"error": {key: redact(each) if isinstance(each, str) else each for key, each in body.items()}})
        return status
    _say_error(error, message, details, hint)
    return status


def _say_error(error: BaseException, message: str, details: str, hint: str) -> None:
    say(f"{style('error:', fg='red', bold=True)} {redact(message)}")
    for line in redact(details).splitlines():
        say(f"  {line}")
    if log := _log_of(error):
        from envkit.cli.cause import say_cause

        say_cause([log], getattr(error, "kind", "error"))
    if hint:
        say(f"\n{style('hint:', fg='cyan', bold=True)} {redact(hint)}")


def _log_of(error: BaseException) -> bytes:
    """What a program printed that failed, where envkit has no explanation of its own."""
    return error.log if isinstance(error, EnvkitError) else b""


def _own_arguments() -> list[str]:
    """What was typed for envkit: all that stands before `--`."""
    return sys.argv[1 : sys.argv.index("--")] if "--" in sys.argv else sys.argv[1:]


def _parts(error: BaseException) -> tuple[str, int, str, str, str] | None:
    """Kind, exit status, message, details and hint; None for a bug."""
    if isinstance(error, EnvkitError):
        return error.kind, error.exit_code, error.message, error.details, error.hint
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        hint = f"see `{context.command_path} --help`" if context else ""
        return "usage", error.exit_code, error.format_message().rstrip("."), "", hint
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            "disk",
            1,
            f"no space left on the disk: {error.filename or 'see `df -h`'}",
            "",
            "make room (`envkit prune` shows what nothing uses), or set ENVKIT_HOME to a larger disk",
        )
    if isinstance(error, PermissionError):
        return (
            "permission",
            1,
            f"permission denied: {error.filename}",
            "",
            "check who owns it: `ls -ld` tells",
        )
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return (
            "permission",
            1,
            f"nothing can be written there: {error.filename}",
            "",
            "`findmnt` says what is read-only",
        )
    return None
