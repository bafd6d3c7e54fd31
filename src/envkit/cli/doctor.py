"""`envkit doctor`: what is wrong with this machine or an environment, and what to do about it."""

from __future__ import annotations

import os
import platform
import pwd
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from envkit.cli.console import ConsoleProgress, agreed, json_option, matrix_option, print_json, say
from envkit.cli.environment import Place, examine_environment
from envkit.cli.facts import read_facts
from envkit.cli.findings import findings_as_json, show_findings
from envkit.doctor.checks import Machine
from envkit.doctor.record import anonymise
from envkit.doctor.repair import repairs, run_repairs
from envkit.doctor.report import Report, examine
from envkit.errors import UsageError
from envkit.host.probes import EVERYTHING, probe_host, probe_network
from envkit.host.probes.network import HUGGINGFACE
from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envkit.doctor.repair import Done, Repair
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix


@click.command("doctor")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK]...")
@click.option(
    "--facts",
    "described",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Judge another machine: what --record or `envkit host --json` wrote there; - reads stdin.",
)
@click.option(
    "--record",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the facts to FILE, without names, addresses and tokens, for a bug report.",
)
@click.option("--python", metavar="PATH", help="Look at the environment of this interpreter instead of the machine.")
@click.option(
    "--venv", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="... of this venv, or conda's."
)
@click.option("--image", metavar="IMAGE", help="... of this image, in a container without a network.")
@click.option("--container", metavar="NAME", help="... of this running container.")
@click.option("--deep", is_flag=True, help="With an environment: read every file, and compare its hash.")
@click.option("--offline", is_flag=True, help="Do not ask whether the package index, the registry and the hub answer.")
@click.option("--fix", is_flag=True, help="Do what can be done safely, after showing it.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before --fix.")
@click.option("--dry-run", is_flag=True, help="With --fix: show the commands and run none.")
@json_option
@matrix_option
def doctor_command(
    frameworks: tuple[str, ...],
    *,
    described: Path | None,
    record: Path | None,
    python: str | None,
    venv: Path | None,
    image: str | None,
    container: str | None,
    deep: bool,
    offline: bool,
    fix: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Find what is wrong with this machine, or with an environment.

    Looks at GPUs, driver, container engines, disks, limits and network, with what the FRAMEWORKs need (all of them, where
    none is named). Ends with 1 when something is an error.

    With --python, --venv, --image or --container: looks at the packages, files and libraries of that environment, whoever
    made it, without importing any of it, and without a GPU.
    """
    matrix = load_matrix(overlay)
    if place := Place(python, venv, image, container):
        _check_alone({"a framework": frameworks, "--record": record, "--fix": fix, "--offline": offline})
        facts = read_facts(described) if described else probe_host()
        return examine_environment(place, matrix, facts, deep=deep, as_json=as_json)
    if deep:
        raise UsageError(
            "--deep is about an environment", hint="name one with --python, --venv, --image or --container"
        )
    asked = _Asked(frameworks, described, record, offline, fix, yes, dry_run, as_json)
    return _examine_machine(matrix, asked)


def _check_alone(given: Mapping[str, object]) -> None:
    """Raises `UsageError` where something was given that is about the machine."""
    for name, value in given.items():
        if value:
            raise UsageError(f"{name} is about the machine", hint="an environment is looked at without it")


@dataclass(frozen=True)
class _Asked:
    """What the command line says of looking at a machine."""

    frameworks: tuple[str, ...]
    described: Path | None
    record: Path | None
    offline: bool
    fix: bool
    yes: bool
    dry_run: bool
    as_json: bool


def _examine_machine(matrix: Matrix, asked: _Asked) -> int:
    chosen = asked.frameworks or tuple(sorted(matrix.frameworks))
    for each in chosen:
        matrix.framework(each)
    if asked.described and (asked.fix or asked.record):
        raise UsageError("--facts is about another machine", hint="leave out --fix and --record")
    for option, given in (("--yes", asked.yes), ("--dry-run", asked.dry_run)):
        if given and not asked.fix:
            raise UsageError(f"{option} is about repairs, and none were asked for", hint="add --fix")
    if asked.fix and asked.as_json and not (asked.yes or asked.dry_run):
        raise UsageError("--json does not ask", hint="add --yes, or --dry-run")
    facts = read_facts(asked.described) if asked.described else _look(matrix, offline=asked.offline)
    if asked.record:
        _write(asked.record, facts, matrix)
    report = examine(Machine(facts, matrix, chosen))
    done: list[Done] = []
    if asked.fix:
        done = _repair(report, yes=asked.yes, dry_run=asked.dry_run)
        if done:
            facts = _look(matrix, offline=asked.offline)
            report = examine(Machine(facts, matrix, chosen))
    if asked.as_json:
        print_json(_json(report, done, repairs(report.findings) if asked.fix and asked.dry_run else []))
    else:
        _show(report, facts)
    return 0 if report.ok else 1


def _look(matrix: Matrix, *, offline: bool) -> HostFacts:
    facts = probe_host(EVERYTHING)
    if offline:
        return facts
    base = matrix.file.base_image
    return msgspec.structs.replace(facts, endpoints=probe_network(base.name if base else ""))


def _write(path: Path, facts: HostFacts, matrix: Matrix) -> None:
    mirrors = [address for each in matrix.file.mirrors.values() for address in (each.index, each.huggingface)]
    public = {urlsplit(each).hostname or "" for each in [*mirrors, HUGGINGFACE] if each}
    clean = anonymise(facts, users=_users(), host=platform.node(), home=os.path.expanduser("~"), public=public)  # noqa: PTH111  # never raises
    staging = path.with_name(f".{path.name}.new")
    try:
        staging.write_bytes(msgspec.json.format(msgspec.json.encode(clean), indent=2) + b"\n")
        os.replace(staging, path)  # noqa: PTH105  # Path.replace is the same
    except OSError as error:
        staging.unlink(missing_ok=True)
        raise UsageError(f"the record cannot be written: {path}: {error.strerror}", hint="name another file") from error
    say(f"recorded in {path}; read it before you pass it on")


def _users() -> set[str]:
    """The names that the user has here: of the account, and before sudo."""
    named = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "SUDO_USER")}
    with suppress(KeyError):  # containers may run as anybody
        named.add(pwd.getpwuid(os.getuid()).pw_name)
    return named


def _repair(report: Report, *, yes: bool, dry_run: bool) -> list[Done]:
    planned = repairs(report.findings)
    if not planned:
        if report.findings:
            say("nothing here can be mended without a decision of yours")
        return []
    say("to be run:")
    for each in planned:
        say(f"  {' '.join(each.argv)}    # {each.finding}")
    if dry_run:
        return []
    if not yes and not agreed("run them?"):
        say("nothing was run")
        return []
    progress = ConsoleProgress()

    def start(repair: Repair) -> None:
        progress.step(" ".join(repair.argv))

    done = run_repairs(planned, start)
    for ended in done:
        if ended.status:
            say(f"`{' '.join(ended.repair.argv)}` failed with {ended.status}: {ended.output}")
    return done


def _json(report: Report, done: list[Done], planned: list[Repair]) -> dict[str, object]:
    """The report's JSON shape, which others rely on (docs/json.md)."""
    return {
        "findings": findings_as_json(report.findings),
        "ok": report.ok,
        "skipped": [{"id": name, "because": finding} for name, finding in report.skipped],
        "repairs": [
            *({"finding": each.finding, "argv": list(each.argv), "status": None} for each in planned),
            *({"finding": each.repair.finding, "argv": list(each.repair.argv), "status": each.status} for each in done),
        ],
    }


def _show(report: Report, facts: HostFacts) -> None:
    show_findings(report.findings, "nothing is wrong with this machine")
    if report.skipped:
        because = dict.fromkeys(finding for _, finding in report.skipped)
        were = "1 check was" if len(report.skipped) == 1 else f"{len(report.skipped)} checks were"
        click.echo(f"{were} not made, because of {', '.join(because)}")
    if facts.gpus == () and not facts.gpu_problem:
        click.echo("there is no NVIDIA GPU: frameworks run on the CPU, where they can")
    if any(each.repair for each in report.findings):
        click.echo("`envkit doctor --fix` does what can be done safely")
