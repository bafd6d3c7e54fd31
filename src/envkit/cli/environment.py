"""`envkit doctor --python | --venv | --image | --container`: what is wrong with an environment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from envkit.audit.ask import ask_probe
from envkit.audit.examine import examine
from envkit.audit.known import known
from envkit.audit.place import in_container, in_image, in_python, python_of
from envkit.cli.console import print_json
from envkit.cli.findings import findings_as_json, show_findings
from envkit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.audit.ask import Inside
    from envkit.audit.seen import Seen
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix


@dataclass(frozen=True)
class Place:
    """Where the environment is, as the command line names it."""

    python: str | None = None
    venv: Path | None = None
    image: str | None = None
    container: str | None = None

    def __bool__(self) -> bool:
        """Whether one was named at all."""
        return any((self.python, self.venv, self.image, self.container))

    @property
    def name(self) -> str:
        """What the user called it."""
        return str(self.venv or self.image or self.container or self.python)


def examine_environment(place: Place, matrix: Matrix, facts: HostFacts | None, *, deep: bool, as_json: bool) -> int:
    """Shows what is wrong with it; the exit status."""
    began = time.monotonic()
    seen = ask_probe(_inside(place), known(), deep=deep)
    findings = examine(seen, matrix, facts)
    ok = not any(each.severity == "error" for each in findings)
    if as_json:
        described = {
            "name": place.name,
            "python": seen.python,
            "folders": list(seen.sites),
            "torch": seen.versions.get("torch"),
            "cuda": seen.torch_cuda or None,
            "packages": len(seen.versions),
            "files": seen.records,
            "libraries": seen.libraries,
            "seconds": round(time.monotonic() - began, 1),
        }
        shown = findings_as_json(findings)
        print_json({"findings": shown, "ok": ok, "skipped": [], "repairs": [], "environment": described})
    else:
        click.echo(f"{place.name}: {_described(seen)}, looked at in {time.monotonic() - began:.1f} s\n")
        show_findings(findings, "nothing is wrong with this environment")
    return 0 if ok else 1


def _inside(place: Place) -> Inside:
    named = [option for option in ("venv", "image", "container") if getattr(place, option)]
    if len(named) > 1 or (place.venv and place.python):
        raise UsageError(
            f"one environment at a time: {' and '.join(f'--{each}' for each in [*named, *(['python'] if place.python else [])])}",
            hint="`--python` goes with `--image` and `--container`, where it is a path inside",
        )
    if place.image:
        return in_image(place.image, place.python)
    if place.container:
        return in_container(place.container, place.python)
    from pathlib import Path

    return in_python(python_of(place.venv) if place.venv else Path(str(place.python)))


def _described(seen: Seen) -> str:
    torch = seen.versions.get("torch")
    stack = f"torch {torch} (CUDA {seen.torch_cuda or 'none'})" if torch else "no torch"
    return f"Python {seen.python}, {stack}, {len(seen.versions)} packages, {seen.libraries} libraries"
