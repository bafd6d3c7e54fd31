"""`envkit build`: environments as container images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit.backends.base import Recipe
from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, say, style
from envkit.cli.instances import backends
from envkit.cli.mirror import chosen_mirror, mirror_option
from envkit.host.probes import probe_host
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from envkit.matrix.plan import doubts

if TYPE_CHECKING:
    from envkit.backends.base import Backend

base_image_option = click.option(
    "--base-image", metavar="IMAGE", help="Start from IMAGE instead of the matrix's base image."
)


@click.command("build")
@click.argument("environments", nargs=-1, required=True, metavar="ENVIRONMENT...")
@click.option(
    "--backend",
    type=click.Choice(["auto", "docker", "podman"]),
    default="auto",
    show_default=True,
    help="The engine to build with; `auto` takes the first that works.",
)
@base_image_option
@mirror_option
@click.option("--force", is_flag=True, help="Build even where the image is there and fresh.")
@click.option("--dry-run", is_flag=True, help="Show what would be built.")
@json_option
@matrix_option
def build_command(
    environments: tuple[str, ...],
    *,
    backend: str,
    base_image: str | None,
    mirror: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> None:
    """Build environments as container images, with BuildKit or podman."""
    matrix = load_matrix(overlay)
    chosen = [matrix.environment(name) for name in environments]
    mirrors = chosen_mirror(matrix, mirror)
    recipes = [Recipe(each, read_lock(each), mirrors, base_image) for each in chosen]
    engine, progress, report = _engine(backend), ConsoleProgress(), []
    facts = probe_host()
    for recipe in recipes:
        image = recipe.environment.image
        needed = force or not engine.has(recipe)
        for doubt in doubts(recipe.environment, matrix, facts) if needed else ():
            say(f"{style('warning:', fg='yellow')} {doubt}")
        if needed and dry_run:
            say(f"would build {image}")
        elif needed:
            progress.step(f"building {image}")
            engine.make(recipe, progress)
            progress.done(f"built {image}")
        else:
            say(f"{image} is there and fresh")
        report.append({"environment": recipe.environment.name, "image": image, "built": needed and not dry_run})
    if as_json:
        print_json(report)


def _engine(wish: str) -> Backend:
    """The engine of that name; for `auto` the first that works, else the first, whose error tells why not."""
    engines = [each for each in backends().values() if each.isolated]
    if wish != "auto":
        return next(each for each in engines if each.name == wish)
    return next((each for each in engines if not each.problem()), engines[0])
