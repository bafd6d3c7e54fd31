"""The command line: a lazy group, so that `envkit --help` loads click and nothing else."""

from __future__ import annotations

import importlib
import signal
import sys

import click

from envkit import __version__

COMMANDS = {
    "bootstrap": "Prepare a fresh server for containers, or for venvs.",
    "build": "Build environments as container images, with BuildKit or podman.",
    "diagnose": "Find what broke in a log, and say what to do.",
    "doctor": "Find what is wrong with this machine, or with an environment.",
    "estimate": "Estimate the GPU memory that MODEL takes, part by part.",
    "exec": "Run a program inside the running instance NAME.",
    "explain": "Say what it takes to add or move packages in an environment.",
    "host": "Show the facts of this machine that plans are made from.",
    "list": "List frameworks, their environments, and what fits here.",
    "lock": "Resolve environments into hash-pinned locks.",
    "logs": "Show what the instance NAME printed.",
    "model": "Pull, push and check models and data sets.",
    "plan": "Show which environment of FRAMEWORK fits this machine, and why.",
    "prune": "Remove what envkit made and nothing uses any more.",
    "ps": "List instances, whatever backend runs them.",
    "render": "Write Dockerfiles and compose files from matrix and locks.",
    "run": "Run an app of a framework: the main job.",
    "shell": "Open a shell inside the running instance NAME.",
    "smoke": "Train, export, chat and look at the web page on this machine.",
    "stop": "Stop instances and remove them; the workspace stays.",
    "up": "Prepare the machine where something is missing, then run an app.",
    "url": "Print the address of the instance NAME.",
    "verify": "Check made environments: installed, linked, importing, answering.",
}
"""Each is a module of this package with a command of the same name in it; a test keeps the texts in step."""


class LazyGroup(click.Group):
    """Imports a command when it is called (click's docs, "Lazily Loading Subcommands")."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command, imported now."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"envkit.cli.{name}"), f"{name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """click's own, with the nearest names for an unknown one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = [f"`{each}`" for each in get_close_matches(args[0], COMMANDS)]
            if near:
                raise click.UsageError(f"{error.message} Did you mean {' or '.join(near)}?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, from the table instead of their modules."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "-V", "--version", message="envkit %(version)s")
def cli() -> None:
    """AI training and serving environments that work: one matrix, one hash-pinned lock, a container or a venv.

    The main job: envkit run llamafactory webui
    """


def _interrupt(number: int, frame: object) -> None:
    """A `kill`, or a terminal that is closed, ends everything as Ctrl-C does: nothing is left behind."""
    raise KeyboardInterrupt(number)


def main() -> None:
    """Runs the command line and exits with its status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` ignores SIGHUP, and means it
            signal.signal(number, _interrupt)
    try:
        status = cli.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the one place where errors end
        from envkit.cli.console import report_error

        sys.exit(report_error(error))
    sys.exit(status if isinstance(status, int) else 0)
