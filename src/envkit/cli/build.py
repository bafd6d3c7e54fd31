"""`envkit build`: environments as container images."""

from __future__ import annotations

from pathlib import Path

import click

from envkit.backends.base import Recipe
from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, say
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix

base_image_option = click.option(
    "--base-image", metavar="IMAGE", help="Start from IMAGE instead of the matrix's base image."
)
mirror_option = click.option(
    "--mirror",
    metavar="NAME",
    help="Use a set of mirrors (see envmatrix.yaml); none of it stays in images or locks.",
)


@click.command("build")
@click.argument("environments", nargs=-1, required=True, metavar="ENVIRONMENT...")
@base_image_option
@mirror_option
@click.option("--force", is_flag=True, help="Build even where the image is there and fresh.")
@click.option("--dry-run", is_flag=True, help="Show what would be built.")
@json_option
@matrix_option
def build_command(
    environments: tuple[str, ...],
    base_image: str | None,
    mirror: str | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> None:
    """Build environments as container images, with BuildKit."""
    from envkit.backends.docker import DockerBackend

    matrix = load_matrix(overlay)
    chosen = [matrix.environment(name) for name in environments]
    mirrors = matrix.mirror(mirror) if mirror else None
    recipes = [Recipe(each, read_lock(each), mirrors, base_image) for each in chosen]
    backend, progress, report = DockerBackend(), ConsoleProgress(), []
    for recipe in recipes:
        image = recipe.environment.image
        needed = force or not backend.has(recipe)
        if needed and dry_run:
            say(f"would build {image}")
        elif needed:
            progress.step(f"building {image}")
            backend.make(recipe, progress)
            progress.done(f"built {image}")
        else:
            say(f"{image} is there and fresh")
        report.append({"environment": recipe.environment.name, "image": image, "built": needed and not dry_run})
    if as_json:
        print_json(report)
