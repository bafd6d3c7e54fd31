"""`envkit render`: write the generated files, or check that they are fresh."""

from __future__ import annotations

from pathlib import Path

import click

from envkit.cli.console import json_option, matrix_option, print_json, say
from envkit.errors import StaleLockError
from envkit.matrix.load import load_matrix
from envkit.render.templates import outputs
from envkit.share import write_file


@click.command("render")
@click.option("--check", is_flag=True, help="Change nothing; exit 6 when a file is not what the matrix says.")
@click.option("--dry-run", is_flag=True, help="Show which files would change.")
@json_option
@matrix_option
def render_command(check: bool, dry_run: bool, as_json: bool, overlay: Path | None) -> None:
    """Write Dockerfiles and compose files from matrix and locks.

    The same inputs give the same bytes: no clock, no host name.
    """
    files = outputs(load_matrix(overlay))
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if check and stale:
        raise StaleLockError(
            f"{len(stale)} of {len(files)} generated files are not what the matrix says",
            details="\n".join(map(str, stale)),
            hint="run `envkit render`",
        )
    for path in stale:
        if not dry_run:
            write_file(path, files[path])
        say(f"{'would write' if dry_run else 'wrote'} {path}")
    say(f"{len(files)} generated files, {len(stale)} {'would change' if dry_run else 'changed'}")
    if as_json:
        print_json({"files": [str(path) for path in files], "changed": [str(path) for path in stale]})
