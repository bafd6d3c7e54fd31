"""`envkit prune`: room, from what envkit made and nothing uses any more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.apps.prune import Wish, find_unused
from envkit.cli.console import (
    ConsoleProgress,
    agreed,
    json_option,
    matrix_option,
    print_json,
    print_table,
    say,
    style,
)
from envkit.cli.instances import answering
from envkit.errors import BackendError, UsageError
from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envkit.apps.prune import Item, Unused

_WORDS = {"venv": "venv", "image": "image", "compiled": "compiled code", "downloads": "uv's downloads"}


@click.command("prune")
@click.argument("environments", nargs=-1, metavar="[ENVIRONMENT]...")
@click.option("--all", "everything", is_flag=True, help="Every venv and image that nothing uses now, needed or not.")
@click.option(
    "--cache",
    "downloads",
    is_flag=True,
    help="uv's cache too: what uv cannot use any more; with --all, every download.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would go, and remove nothing.")
@json_option
@matrix_option
def prune_command(
    environments: tuple[str, ...],
    *,
    everything: bool,
    downloads: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Remove what envkit made and nothing uses any more.

    Venvs, images and compiled code of locks that no environment of the matrix has now, and what interrupted work left;
    with names, all that there is of each ENVIRONMENT. Models, workspaces, instances, and what a running instance uses
    stay. What was made with `--matrix FILE` counts as needed with the same option alone.
    """
    if environments and everything:
        raise UsageError("`--all` means every environment", hint="leave it out, or the names")
    if as_json and not (yes or dry_run):
        raise UsageError("--json does not ask", hint="add --yes, or --dry-run")
    matrix, known = load_matrix(overlay), answering("nothing of {} is removed")
    unused = find_unused(matrix, known, Wish(environments, everything, downloads))
    for note in unused.notes:
        say(f"{style('warning:', fg='yellow')} {note}")
    for kept in unused.kept:
        say(f"{kept.name} stays: used by {', '.join(kept.used_by)}")
    if not as_json:
        _show(unused)
    problems: dict[Item, str] = {}
    doing = bool(unused.items) and not dry_run
    if doing and not yes and not agreed("remove them?"):
        say("nothing was removed")
        return 0
    if doing:
        problems = _remove(unused)
    if as_json:
        print_json(_json(unused, problems, removed=not dry_run))
    return int(bool(problems))


def _remove(unused: Unused) -> dict[Item, str]:
    """What could not be removed, and why; the rest is."""
    progress, problems = ConsoleProgress(), {}
    for item in unused.items:
        progress.step(f"removing {item.name}")
        try:
            item.remove()
        except BackendError as error:
            problems[item] = error.message
            say(f"{style('error:', fg='red', bold=True)} {error.message}")
    progress.done(f"{len(unused.items) - len(problems)} of {len(unused.items)} removed")
    return problems


def _show(unused: Unused) -> None:
    if not unused.items:
        say("there is nothing to remove")
        return
    rows = [
        [
            f"{_WORDS[each.kind]}, {each.backend}" if each.kind == "image" else _WORDS[each.kind],
            each.name,
            _gigabytes(each.size),
            _gigabytes(each.frees),
        ]
        for each in unused.items
    ]
    print_table(["What", "Name", "Size", "Frees"], rows)
    known = any(each.frees is not None for each in unused.items)
    frees = f"; removing it frees at least {_gigabytes(unused.frees)}" if known else ""
    click.echo(f"\ntogether {_gigabytes(unused.size)}{frees}")
    kinds = {each.kind for each in unused.items}
    if "venv" in kinds and "downloads" not in kinds:
        say("a venv's files are links into uv's cache, which keeps them: `envkit prune --all --cache` empties that too")


def _gigabytes(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.2f} GB"


def _json(unused: Unused, problems: Mapping[Item, str], *, removed: bool) -> dict[str, object]:
    """The JSON shape, which others rely on (docs/json.md)."""
    return {
        "items": [
            {
                "kind": each.kind,
                "name": each.name,
                "environment": each.environment or None,
                "backend": each.backend,
                "bytes": each.size,
                "frees": each.frees,
                "removed": removed and each not in problems,
                "problem": problems.get(each),
            }
            for each in unused.items
        ],
        "kept": [msgspec.to_builtins(each) for each in unused.kept],
        "bytes": unused.size,
        "frees": unused.frees,
    }
