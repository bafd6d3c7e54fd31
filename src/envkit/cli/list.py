"""`envkit list`: what there is."""

from __future__ import annotations

from pathlib import Path

import click

from envkit.cli.console import json_option, matrix_option, print_json, print_table
from envkit.matrix.load import load_matrix


@click.command("list")
@click.argument("framework", required=False)
@json_option
@matrix_option
def list_command(framework: str | None, as_json: bool, overlay: Path | None) -> None:
    """List frameworks, their apps and their environments.

    Reads the matrix alone: nothing is installed, probed or asked for.
    """
    matrix = load_matrix(overlay)
    frameworks = [matrix.framework(framework)] if framework else list(matrix.frameworks.values())
    if as_json:
        print_json(
            [
                {
                    "framework": each.name,
                    "title": each.title,
                    "cpu": each.cpu,
                    "apps": [
                        {"name": name, "about": app.about, "port": app.port and app.port.default}
                        for name, app in each.apps.items()
                    ],
                    "environments": [
                        {
                            "name": environment.name,
                            "version": environment.version,
                            "variant": environment.stack.variant,
                            "torch": environment.stack.torch,
                            "python": environment.entry.python,
                            "driver": matrix.least_driver(environment),
                            "image": environment.image,
                        }
                        for environment in matrix.environments(each.name)
                    ],
                }
                for each in frameworks
            ]
        )
        return
    for each in frameworks:
        click.echo(f"{each.title} ({each.name})  {each.home}\n")
        print_table(
            ["App", "What it is", "Port"],
            [[n, a.about, str(a.port.default) if a.port else ""] for n, a in each.apps.items()],
        )
        click.echo()
        print_table(
            ["Environment", "Version", "torch", "CUDA", "Driver from", "Python", "Image"],
            [
                [
                    e.name,
                    e.version,
                    e.stack.torch or "",
                    e.variant.cuda or "",
                    matrix.least_driver(e) or "",
                    e.entry.python,
                    e.image,
                ]
                for e in matrix.environments(each.name)
            ],
        )
        click.echo()
