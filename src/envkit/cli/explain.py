"""`envkit explain`: what it takes to add or move packages in an environment, or what stands against it."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from envkit.cli.console import ConsoleProgress, json_option, matrix_option, print_json, style
from envkit.lock.explain import explain, parse_wishes
from envkit.lock.lockfile import lock_path
from envkit.lock.overlay import overlay_entry
from envkit.matrix.load import load_matrix
from envkit.process import redact
from envkit.share import overlay_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envkit.lock.explain import Against, Change, Explanation, Proposal
    from envkit.matrix.load import MatrixEnvironment

_NAMES = 5
"""How many environments are named that have it."""
_STEPS = 2
"""How many commands make an environment that starts from no lock."""


@click.command("explain")
@click.argument("environment")
@click.argument("wishes", nargs=-1, required=True, metavar="PACKAGE[==VERSION]...")
@click.option("--verbose", is_flag=True, help="Show the resolver's own words too.")
@json_option
@matrix_option
def explain_command(
    environment: str, wishes: tuple[str, ...], verbose: bool, as_json: bool, overlay: Path | None
) -> int:
    """Say what it takes to add or move packages in an environment.

    Shows what would change against the lock of ENVIRONMENT, and the entry of an envmatrix.yaml of your own that makes it
    so; or which constraints stand against it, who says so, and the nearest set that works. Changes nothing. Ends with 1
    where the matrix as it stands cannot have it.
    """
    matrix = load_matrix(overlay)
    asked = matrix.environment(environment)
    progress = ConsoleProgress()
    found = explain(matrix, asked, parse_wishes(wishes), lambda what: progress.step(f"resolving: {what}"))
    file = overlay or overlay_file()
    if as_json:
        print_json(_json(asked, wishes, found, file))
    else:
        for line in _told(asked, wishes, found, file, verbose=verbose):
            click.echo(redact(line))
    return 1 if found.refused else 0


def _steps(asked: MatrixEnvironment, proposal: Proposal, found: Explanation, file: Path) -> list[str]:
    """The commands that make it so and look into it, once the entry is in the file."""
    matrix = "" if file == overlay_file() else f" --matrix {_short(file)}"
    steps = [f"envkit {command} {proposal.name}{matrix}" for command in ("lock", "verify")]
    if proposal.moment != found.lock.exclude_newer or _on_another(asked, proposal):
        return steps
    folder = file.parent / "images" / asked.framework.name / proposal.name.removeprefix(f"{asked.framework.name}-")
    locks = " ".join(_short(lock_path(asked).with_name(each)) for each in ("requirements.lock", "build.lock"))
    return [f"mkdir -p {_short(folder)} && cp {locks} {_short(folder)}", *steps]


def _short(path: Path) -> str:
    """The path as one would type it here."""
    for base, before in ((Path.cwd(), ""), (Path.home(), "~/")):
        if path.is_relative_to(base):
            return f"{before}{quote(str(path.relative_to(base)))}"
    return quote(str(path))


# Text -----------------------------------------------------------------------------------------------------------------


def _told(
    asked: MatrixEnvironment, wishes: tuple[str, ...], found: Explanation, file: Path, *, verbose: bool
) -> Iterator[str]:
    if found.has:
        yield f"{style('✓', fg='green', bold=True)} {asked.name} has {_listed(found.has)} already"
    elif found.proposal:
        yield f"{style('✓', fg='green', bold=True)} {asked.name} resolves with {_listed(found.proposal.has)}"
        yield from _proposal(asked, found.proposal, found, file)
    else:
        yield f"{style('✗', fg='red', bold=True)} {asked.name} cannot have {_listed(wishes)}"
        yield from _refusal(asked, found, file)
        if found.words and (verbose or not found.against):
            yield from ("", "the resolver's own words:", *(f"  {line}" for line in found.words.splitlines()))


def _refusal(asked: MatrixEnvironment, found: Explanation, file: Path) -> Iterator[str]:
    for each in found.against:
        yield f"    {_against(each)}"
        if each.reason:
            yield f"        reason  {each.reason}"
        if each.source:
            yield f"        source  {each.source}"
    if found.tried:
        yield f"  what does not help: {'; '.join(found.tried)}"
    if found.elsewhere:
        more = len(found.elsewhere) - _NAMES
        names = _listed(found.elsewhere[:_NAMES]) + (f" and {more} more" if more > 0 else "")
        yield f"  {names} {'has' if len(found.elsewhere) == 1 else 'have'} it"
    nearest = found.nearest
    if nearest is None:
        yield "  nothing near it works"
    elif not nearest.changes:
        yield f"  the nearest that works is what it has: {_listed(nearest.has)}"
    else:
        moves = f", with another {_listed(nearest.gives_up)}" if nearest.gives_up else ""
        stack = f", on the torch stack {nearest.environment.entry.stack}" if _on_another(asked, nearest) else ""
        yield f"  the nearest that works: {_listed(nearest.has)}{moves}{stack}"
        yield from _proposal(asked, nearest, found, file)


def _against(each: Against) -> str:
    match each.kind:
        case "metadata":
            return f"{each.by} asks for {each.requirement}"
        case "release":
            return f"{each.by} has nothing for {each.requirement}"
        case "override":
            return f"{each.by} replaces what is asked: {each.requirement}"
        case _:
            return f"{each.by} says {each.requirement}"


def _proposal(asked: MatrixEnvironment, proposal: Proposal, found: Explanation, file: Path) -> Iterator[str]:
    layer = sum(each.torch_layer for each in proposal.changes)
    shown = tuple(each for each in proposal.changes if not (each.torch_layer and _on_another(asked, proposal)))
    for word, changes in _by_kind(shown):
        for number, change in enumerate(changes):
            yield f"    {'' if number else word:<8} {_change(change)}"
    if not all(each.wheel for each in shown):
        yield "             (a build sees what the package asks for alone: one that imports torch and does not say so fails)"
    if _on_another(asked, proposal):
        yield f"    the torch layer becomes that of {proposal.environment.entry.stack}"
    else:
        yield f"    the torch layer {f'changes: {layer} of its packages' if layer else 'stays as it is'}"
    below = ", below its `environments`" if file.is_file() else ""
    yield f"  this resolves, and nothing more was seen of it; for {_short(file)}{below}:"
    yield ""
    yield from overlay_entry(proposal.environment, proposal.name).splitlines()
    yield ""
    steps = _steps(asked, proposal, found, file)
    kept = "what nothing pins stays as it is" if len(steps) > _STEPS else "what nothing pins becomes the newest"
    yield f"then ({kept}):"
    yield from (f"  {step}" for step in steps)


def _on_another(asked: MatrixEnvironment, proposal: Proposal) -> bool:
    """Whether it is on another torch stack, which replaces the whole torch layer."""
    return proposal.environment.entry.stack != asked.entry.stack


def _by_kind(changes: tuple[Change, ...]) -> Iterator[tuple[str, list[Change]]]:
    yield "moved", [each for each in changes if each.before and each.after]
    yield "added", [each for each in changes if not each.before]
    yield "removed", [each for each in changes if not each.after]


def _change(change: Change) -> str:
    versions = f"{change.before} → {change.after}" if change.before and change.after else change.before or change.after
    notes = [
        *(["torch layer"] if change.torch_layer else []),
        *([] if change.wheel else ["no wheel: built from source"]),
    ]
    return f"{change.package} {versions}" + (f"  ({', '.join(notes)})" if notes else "")


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)


# JSON -----------------------------------------------------------------------------------------------------------------


def _json(asked: MatrixEnvironment, wishes: tuple[str, ...], found: Explanation, file: Path) -> dict[str, object]:
    """The explanation's JSON shape, which others rely on (docs/json.md)."""

    def told(proposal: Proposal | None) -> dict[str, object] | None:
        if proposal is None:
            return None
        return {
            "has": list(proposal.has),
            "gives_up": list(proposal.gives_up),
            "changes": [
                {
                    "package": each.package,
                    "from": each.before,
                    "to": each.after,
                    "torch_layer": each.torch_layer,
                    "wheel": each.wheel,
                }
                for each in proposal.changes
            ],
            "exclude_newer": proposal.moment,
            "environment": proposal.name if proposal.changes else asked.name,
            "stack": proposal.environment.entry.stack,
            "overlay": overlay_entry(proposal.environment, proposal.name) if proposal.changes else None,
            "file": str(file),
            "steps": _steps(asked, proposal, found, file) if proposal.changes else [],
        }

    return {
        "environment": asked.name,
        "wishes": list(wishes),
        "result": "refused" if found.refused else "possible" if found.proposal else "already",
        "has": list(found.has or (found.proposal.has if found.proposal else ())),
        "proposal": told(found.proposal),
        "against": [
            {
                "kind": each.kind,
                "requirement": each.requirement,
                "by": each.by,
                "reason": each.reason,
                "source": each.source,
            }
            for each in found.against
        ],
        "nearest": told(found.nearest),
        "tried": list(found.tried),
        "elsewhere": list(found.elsewhere),
        "words": redact(found.words),
    }
