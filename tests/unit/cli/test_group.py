"""The group of commands: lazy, with help and suggestions."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from envkit import __version__
from envkit.cli import COMMANDS, cli

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Envkit


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(envkit: Envkit, name: str) -> None:
    result = envkit(name, "--help")

    assert result.status == 0
    assert result.out.startswith(f"Usage: envkit {name} ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_of_commands_says_what_their_help_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)

    assert command is not None
    assert command.name == name
    assert (command.help or "").split("\n")[0] == COMMANDS[name]


def test_help_lists_every_command(envkit: Envkit) -> None:
    result = envkit("--help")

    assert result.status == 0
    listed = result.out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == sorted(COMMANDS)


def test_no_command_at_all_shows_the_help_and_is_a_usage_error(envkit: Envkit) -> None:
    result = envkit()

    assert result.status == 2
    assert result.err.startswith("Usage: envkit ")
    assert "error:" not in result.err


def test_the_version(envkit: Envkit) -> None:
    assert envkit("--version").out == f"envkit {__version__}\n"


def test_an_unknown_command_suggests_the_nearest(envkit: Envkit) -> None:
    result = envkit("rnu")

    assert result.status == 2
    assert result.err == "error: No such command 'rnu'. Did you mean `run`?\n\nhint: see `envkit --help`\n"


def test_help_loads_click_and_nothing_heavy(processes: None) -> None:
    code = (
        "import sys; sys.argv = ['envkit', '--help']\n"
        "from envkit.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'docker', 'jinja2', 'rich', 'yaml', 'msgspec', 'psutil', 'requests', 'uv'}\n"
        "sys.exit(','.join(sorted(heavy & sys.modules.keys())) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_run_reads_nothing_of_what_is_known_of_logs_before_something_fails(processes: None) -> None:
    code = (
        "import sys, envkit.cli.run\n"
        "early = {'re2', *(f'envkit.diagnose.{each}' for each in ('knowledge', 'match', 'scan'))}\n"
        "sys.exit(','.join(sorted(early & sys.modules.keys())) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
