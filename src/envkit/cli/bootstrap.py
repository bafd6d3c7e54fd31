"""`envkit bootstrap`: a fresh server made ready, step by step."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from envkit.bootstrap.choose import Outline, Wishes, find_distribution, outline
from envkit.bootstrap.runner import Ended, pending, run_steps
from envkit.bootstrap.script import commands, plain_commands, render_script
from envkit.bootstrap.sources import find_sources, named_sources
from envkit.cli.console import ConsoleProgress, agreed, json_option, matrix_option, print_json, say, style
from envkit.cli.facts import facts_option, read_facts
from envkit.cli.mirror import chosen_mirror, mirror_option
from envkit.cli.smoke import framework_of, smoke_command
from envkit.errors import BackendError, UsageError
from envkit.host.files import is_file, is_folder
from envkit.host.home import envkit_home
from envkit.host.probes import EVERYTHING, probe_host
from envkit.matrix.load import load_matrix
from envkit.process import redact
from envkit.share import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.bootstrap.knowledge import Step
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix

driver_option = click.option("--driver", is_flag=True, help="Install the NVIDIA driver too, where there is none.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command("bootstrap")
@click.argument("name", required=False, metavar="[FRAMEWORK|ENVIRONMENT]")
@click.option(
    "--backend",
    type=click.Choice(["auto", "docker", "venv"]),
    default="auto",
    show_default=True,
    help="What environments shall run on; `auto` takes Docker where it can run.",
)
@driver_option
@click.option(
    "--data-root", metavar="DIR", help="Where Docker shall keep its images; refused where it has some elsewhere."
)
@mirror_option
@facts_option
@click.option("--dry-run", is_flag=True, help="Print the script and run nothing.")
@click.option(
    "--script",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the script to FILE instead.",
)
@yes_option
@json_option
@matrix_option
@click.pass_context
def bootstrap_command(
    context: click.Context,
    /,
    *,
    name: str | None,
    backend: Literal["auto", "docker", "venv"],
    driver: bool,
    data_root: str | None,
    mirror: str | None,
    described: Path | None,
    dry_run: bool,
    script: Path | None,
    yes: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Prepare a fresh server for containers, or for venvs.

    Shows every step and asks before the first; what is done already is skipped, so it may be stopped anywhere and run
    again. Where Docker cannot run, it says why and prepares for venvs. With the name of a framework or an environment,
    that is made then, and proved by `envkit smoke`.
    """
    _refuse_what_cannot_be_meant(
        (described and not (dry_run or script), "--facts is about another machine", "add --dry-run, or --script FILE"),
        (script and not is_folder(script.absolute().parent), f"no such folder: {script and script.parent}", "make it first, or name another FILE"),
        *_faults_of_data_root(data_root, other=bool(described)),
        (as_json and not (yes or dry_run or script), "--json does not ask", "add --yes, or --dry-run"),
        (as_json and name, "--json tells of the machine alone", f"leave out {name}, and then: `envkit smoke {name} --json`"),
    )  # fmt: skip
    matrix = load_matrix(overlay)
    if name:
        framework_of(matrix, name)
    facts = read_facts(described) if described else probe_host(EVERYTHING)
    wishes = Wishes(backend=backend, driver=driver, data_root=data_root, user=user_name())
    planned = find_outline(matrix, facts, wishes, mirror, other=bool(described))
    if script or dry_run:
        _tell_script(planned, script, as_json=as_json)
        if name:
            say(f"then: envkit smoke {name}")
        return 0
    ended = prepare(planned, yes=yes)
    if as_json:
        print_json(_json(planned, ended or [], ""))
    if name and ended is not None:
        if joined_group(ended):
            again_in_group()
        return int(context.invoke(smoke_command, name=name, backend=backend, mirror=mirror, overlay=overlay))
    if joined_group(ended):
        say("log out and in again before you use Docker; `newgrp docker` does for this terminal")
    return 0


def _refuse_what_cannot_be_meant(*rules: tuple[object, str, str]) -> None:
    """Raises `UsageError` for the first that holds: what is wrong, and the next command."""
    for holds, message, hint in rules:
        if holds:
            raise UsageError(message, hint=hint)


def _faults_of_data_root(folder: str | None, *, other: bool) -> Iterator[tuple[object, str, str]]:
    """What cannot be meant by it; of an `other` machine nobody knows the folders."""
    if folder is None:
        return
    path = Path(folder)
    yield (
        not path.is_absolute() or path == Path("/"),
        f"not a folder from the root on: {folder}",
        "write it as /DIR/docker",
    )
    if not other:
        yield (
            not is_folder(path.parent),
            f"no such folder: {path.parent}",
            "mount the data disk, or make the folder first",
        )
        yield is_file(path), f"not a folder: {folder}", "write it as /DIR/docker"


def _tell_script(planned: Outline, file: Path | None, *, as_json: bool) -> None:
    text = render_script(planned)
    if file:
        write_file(file.absolute(), text, private=redact(text) != text)
        say(f"written to {file}; read it, then: sudo -E bash {file}")
    if as_json:
        print_json(_json(planned, [], text))
    elif not file:
        click.echo(text, nl=False)


def user_name() -> str:
    """Who shall use Docker: the user behind sudo, else this one; empty for root."""
    if os.geteuid() == 0:
        name = os.environ.get("SUDO_USER", "")
        return "" if name == "root" else name
    with suppress(KeyError):  # containers may run as anybody
        return pwd.getpwuid(os.getuid()).pw_name
    return ""


def find_outline(matrix: Matrix, facts: HostFacts, wishes: Wishes, mirror: str | None, *, other: bool) -> Outline:
    """The steps, with packages from where they can be had; `other` machines' addresses are not asked."""
    distribution = find_distribution(facts)
    plain = outline(facts, wishes, named_sources(None))
    if not any(each.id in ("docker-repository", "toolkit-repository", "daemon-json") for each in plain.steps):
        return plain  # no address is needed
    asked = None if mirror in (None, "auto", "none") else chosen_mirror(matrix, mirror)
    if other:
        return outline(facts, wishes, named_sources(asked))
    others = () if mirror == "none" else matrix.file.mirrors.values()
    sources, answers = find_sources(distribution, asked, others)
    for measured in answers.values():
        for each in measured if asked or None in (sources.docker, sources.toolkit) else ():
            if each.problem:
                say(f"{style('not used:', dim=True)} {redact(each.address)}: {each.problem}")
    return outline(facts, wishes, sources)


def prepare(planned: Outline, *, yes: bool, dry_run: bool = False) -> list[Ended] | None:
    """Shows the steps, asks, and runs them; None where the user said no, or where it is a dry run."""
    log = envkit_home() / "bootstrap.log"
    left = pending(planned)
    say(f"{style(planned.distribution.title, bold=True)}, {planned.route}: {planned.why}")
    for step in planned.steps:
        _show(step, planned, done=step not in left)
    for note in planned.notes:
        say(f"{style('note:', fg='yellow')} {note}")
    if not left:
        say("nothing is left to do")
        return []
    if dry_run:
        return None
    if not yes and not agreed(f"run {'this step' if len(left) == 1 else f'these {len(left)} steps'} as root?"):
        say("nothing was run; `--script FILE` writes the steps as a script")
        return None
    ended = run_steps(planned, log, ConsoleProgress())
    say(f"ready; what was done is in {log}")
    return ended


def joined_group(ended: list[Ended] | None) -> bool:
    """Whether the user was not in the group `docker` before; this process got its groups at login."""
    return any(each.step.id == "docker-group" and each.result == "done" for each in ended or ())


def again_in_group() -> None:
    """The same command, by a process that has the new group; raises `BackendError` where there is no `sg`."""
    if not shutil.which("sg"):
        raise BackendError(
            "this process is no member of the group `docker` yet", hint="log out and in, and run the same command again"
        )
    say("going on as a member of the group `docker`")
    os.execvp("sg", ["sg", "docker", "-c", shlex.join([sys.executable, "-m", "envkit", *sys.argv[1:]])])  # noqa: S606


def _show(step: Step, planned: Outline, *, done: bool) -> None:
    if done:
        say(f"  {style('✓', fg='green')} {step.id}: {step.title}")
        return
    say(f"  {style('·', dim=True)} {style(step.id, bold=True)}: {step.title} ({step.reason})")
    for line in plain_commands(step, planned).splitlines():
        say(style(f"        {redact(line)}", dim=True))


def _json(planned: Outline, ended: list[Ended], script: str) -> dict[str, object]:
    """The shape that others rely on (docs/json.md)."""
    results = {each.step.id: each for each in ended}
    return {
        "distribution": planned.distribution.title,
        "route": planned.route,
        "why": planned.why,
        "steps": [
            {
                "id": step.id,
                "title": step.title,
                "reason": step.reason,
                "commands": commands(step, planned),
                "result": results[step.id].result if step.id in results else None,
                "seconds": round(results[step.id].seconds, 1) if step.id in results else None,
            }
            for step in planned.steps
        ],
        "notes": list(planned.notes),
        "script": script or None,
    }
