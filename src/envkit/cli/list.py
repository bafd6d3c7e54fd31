"""`envkit list`: what there is, what was seen of it, and what fits this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.cli.console import json_option, matrix_option, print_json
from envkit.cli.facts import facts_option, read_facts
from envkit.cli.listing import row_of, show_all, show_framework
from envkit.host.probes import probe_host
from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from envkit.cli.listing import Row
    from envkit.matrix.load import Matrix
    from envkit.matrix.schema import Framework, Unavailable


@click.command("list")
@click.argument("framework", required=False)
@facts_option
@json_option
@matrix_option
def list_command(framework: str | None, described: Path | None, as_json: bool, overlay: Path | None) -> None:
    """List frameworks, their environments, and what fits here.

    Of each environment it shows the versions, what was seen of it, and when. With FRAMEWORK, its apps too, and all that is
    known of its environments. Nothing is installed or changed.
    """
    matrix = load_matrix(overlay)
    frameworks = [matrix.framework(framework)] if framework else list(matrix.frameworks.values())
    facts = read_facts(described) if described else probe_host()
    rows = {each.name: [row_of(one, matrix, facts) for one in matrix.environments(each.name)] for each in frameworks}
    if as_json:
        found = [_framework_json(each, rows[each.name], matrix) for each in frameworks]
        print_json(
            found if framework else [*found, *(_missing_framework_json(*each) for each in matrix.unavailable().items())]
        )
    elif framework:
        show_framework(frameworks[0], rows[framework], matrix)
    else:
        show_all(rows, matrix, facts)


def _framework_json(framework: Framework, rows: list[Row], matrix: Matrix) -> dict[str, object]:
    return {
        "framework": framework.name,
        "title": framework.title,
        "home": framework.home,
        "cpu": framework.cpu,
        "apps": [
            {
                "name": name,
                "about": app.about,
                "port": app.port and app.port.default,
                "cpu": framework.cpu or app.cpu,
            }
            for name, app in framework.apps.items()
        ],
        "environments": [_environment_json(each) for each in rows],
        "unavailable": [
            {"name": name, **_missing_json(each)} for name, each in matrix.unavailable(framework.name).items()
        ],
        "missing": None,
    }


def _missing_framework_json(name: str, missing: Unavailable) -> dict[str, object]:
    """The same shape with nothing in it, and why."""
    return {
        "framework": name,
        "title": missing.title or name,
        "home": missing.home,
        "cpu": False,
        "apps": [],
        "environments": [],
        "unavailable": [],
        "missing": _missing_json(missing),
    }


def _environment_json(row: Row) -> dict[str, object]:
    environment, fit, size = row.environment, row.fit, row.environment.entry.size
    return {
        "name": environment.name,
        "version": environment.version,
        "variant": environment.stack.variant,
        "torch": environment.stack.torch,
        "cuda": environment.variant.cuda,
        "python": environment.entry.python,
        "driver": row.driver,
        "capabilities": environment.stack.capabilities,
        "attention": row.attention or None,
        "image": environment.image,
        "size": size and {"venv_mib": size.venv_mib, "image_mib": size.image_mib},
        "note": environment.entry.note,
        "level": row.standing.level,
        "date": row.standing.date or None,
        "problem": row.standing.problem,
        "seen": [msgspec.structs.asdict(each) for each in row.standing.seen],
        "fit": {
            "fits": fit.fits,
            "device": fit.device,
            "reasons": list(fit.reasons),
            "warnings": list(fit.warnings),
        },
    }


def _missing_json(missing: Unavailable) -> dict[str, object]:
    return {"reason": missing.reason, "date": missing.date, "source": missing.source}
