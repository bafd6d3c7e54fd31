"""The documents: they mention what exists, and what they say of the data is true."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click
import pytest

from envkit import errors
from envkit.cli import COMMANDS, cli
from envkit.errors import EnvkitError
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envkit.matrix.load import Matrix

READMES = [REPOSITORY / "README.md", REPOSITORY / "README.zh-CN.md"]
PAGES = [*READMES, REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
NO_COMMANDS = {"rnu", "needs"}
"""What the page of errors mistypes on purpose, and a message of the launcher: `envkit needs Python 3.10 or newer`."""

CALL = re.compile(r"(?:^|[\s(`])(?:\./)?envkit (?P<command>[a-z][a-z-]*)(?P<rest>.*)")
END = re.compile(r" -- |[|;&<>`…]|#| 2>")
"""Where the arguments for envkit end."""


def code(text: str) -> Iterator[str]:
    """Every line of code: of fenced and indented blocks, and in backticks; of what was typed, not of its output."""
    fence = ""
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip(" `") or "plain"
        elif fence in ("console", "text"):
            if line.startswith("$ "):
                yield line[2:]
        elif fence or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def calls(path: Path) -> list[tuple[str, str]]:
    """Every call of envkit on the page: the command, and the options and arguments that are its own."""
    found = [match for line in code(path.read_text(encoding="utf-8")) for match in CALL.finditer(line)]
    return [(match["command"], END.split(f"{match['rest']} ")[0]) for match in found]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_only_commands_that_exist_are_mentioned(path: Path) -> None:
    unknown = {command for command, _ in calls(path)} - set(COMMANDS) - NO_COMMANDS

    assert unknown == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_only_options_that_exist_are_mentioned(path: Path) -> None:
    for name, rest in calls(path):
        command = cli.get_command(click.Context(cli), name)
        if command is None:
            continue
        if isinstance(command, click.Group):
            inner, _, rest = rest.strip().partition(" ")
            command = command.get_command(click.Context(command), inner.split("|")[0])
            assert command is not None, f"envkit {name} {inner}"
        options = {option for each in command.params for option in each.opts} | {"--help", "-h"}
        used = {re.split(r"[=\]]", each)[0] for each in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest)}
        assert used <= options, f"envkit {name}{rest}"


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_every_command_is_mentioned(path: Path) -> None:
    text = path.read_text(encoding="utf-8")

    assert {each for each in COMMANDS if not re.search(rf"`[^`]*\b{each}\b[^`]*`", text)} == set()


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_the_two_commands_stand_on_the_first_screen(path: Path) -> None:
    first_screen = path.read_text(encoding="utf-8").splitlines()[:24]

    assert any(line.startswith("./envkit run llamafactory webui") for line in first_screen)
    assert any(line.startswith("./dev test") for line in first_screen)


@pytest.mark.parametrize("path", READMES, ids=lambda path: path.name)
def test_frameworks_and_apps_that_are_run_exist(path: Path, shipped: Matrix) -> None:
    runs = [rest.split()[:2] for command, rest in calls(path) if command == "run" and rest.strip()]

    assert len(runs) > 3
    for framework, app in runs:
        assert app in {*shipped.frameworks[framework].apps, "APP", "应用"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_every_kind_of_error_is_on_the_page_of_errors() -> None:
    text = (REPOSITORY / "docs/errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (\d+) \| (`[^|]*`)? ?\|", text)
    listed = {(int(status), kind) for status, kinds in rows for kind in re.findall(r"`([a-z-]+)`", kinds)}
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, EnvkitError)]

    assert listed == {(each.exit_code, each.kind) for each in kinds if each is not EnvkitError} | {
        (1, "disk"),
        (1, "permission"),
    }


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_nothing_is_left_to_be_filled_in(path: Path) -> None:
    assert re.findall(r"@[A-Z0-9]+@|TODO|FIXME|XXX", path.read_text(encoding="utf-8")) == []


def test_calls_are_found() -> None:
    """The test of the tests above: without it, a page that is not read looks like a page without mistakes."""
    found = [call for path in PAGES for call in calls(path)]

    assert len(found) > 40
    assert {"run", "plan", "list", "lock", "render", "build", "ps", "logs", "stop"} <= {command for command, _ in found}
    text = "a `./envkit rn x` b\n```console\n$ envkit list\nenvkit output\n```\n    ./envkit ps  # x\nenvkit prose\n"
    assert list(code(text)) == ["./envkit rn x", "envkit list", "    ./envkit ps  # x"]
