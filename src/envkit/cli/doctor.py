"""`envkit doctor`: what is wrong with this machine, and what to do about it."""

from __future__ import annotations

import os
import platform
import pwd
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
import msgspec

from envkit.cli.console import ConsoleProgress, agreed, json_option, matrix_option, print_json, say, style
from envkit.cli.facts import read_facts
from envkit.doctor.checks import Machine
from envkit.doctor.record import anonymise
from envkit.doctor.repair import repairs, run_repairs
from envkit.doctor.report import Report, examine
from envkit.errors import UsageError
from envkit.host.probes import EVERYTHING, probe_host, probe_network
from envkit.host.probes.network import HUGGINGFACE
from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from envkit.doctor.repair import Done, Repair
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix

_MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "note": ("i", "cyan")}


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
    offline: bool,
    fix: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> int:
    """Find what is wrong with this machine, and say what to do.

    Looks at GPUs, driver, container engines, disks, limits and network, with what the FRAMEWORKs need (all of them, where
    none is named). Ends with 1 when something is an error.
    """
    matrix = load_matrix(overlay)
    chosen = frameworks or tuple(sorted(matrix.frameworks))
    for each in chosen:
        matrix.framework(each)
    if described and (fix or record):
        raise UsageError("--facts is about another machine", hint="leave out --fix and --record")
    for option, given in (("--yes", yes), ("--dry-run", dry_run)):
        if given and not fix:
            raise UsageError(f"{option} is about repairs, and none were asked for", hint="add --fix")
    if fix and as_json and not (yes or dry_run):
        raise UsageError("--json does not ask", hint="add --yes, or --dry-run")
    facts = read_facts(described) if described else _look(matrix, offline=offline)
    if record:
        _write(record, facts, matrix)
    report = examine(Machine(facts, matrix, chosen))
    done: list[Done] = []
    if fix:
        done = _repair(report, yes=yes, dry_run=dry_run)
        if done:
            facts = _look(matrix, offline=offline)
            report = examine(Machine(facts, matrix, chosen))
    if as_json:
        print_json(_json(report, done, repairs(report.findings) if fix and dry_run else []))
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
        "findings": [
            {key: value for key, value in msgspec.to_builtins(each).items() if key != "repair"}
            for each in report.findings
        ],
        "ok": report.ok,
        "skipped": [{"id": name, "because": finding} for name, finding in report.skipped],
        "repairs": [
            *({"finding": each.finding, "argv": list(each.argv), "status": None} for each in planned),
            *({"finding": each.repair.finding, "argv": list(each.repair.argv), "status": each.status} for each in done),
        ],
    }


def _show(report: Report, facts: HostFacts) -> None:
    for finding in report.findings:
        mark, colour = _MARKS[finding.severity]
        click.echo(
            f"{style(mark, fg=colour, bold=True)} {style(finding.title, bold=True)}  {style(finding.id, dim=True)}"
        )
        click.echo(f"    seen       {finding.evidence}")
        if finding.otherwise:
            click.echo(f"    otherwise  {finding.otherwise}")
        for number, step in enumerate(finding.fix):
            click.echo(f"    {'do' if not number else '':<11}{step}")
        click.echo()
    counts = {severity: sum(each.severity == severity for each in report.findings) for severity in _MARKS}
    summary = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in counts.items() if count)
    click.echo(summary or "nothing is wrong with this machine")
    if report.skipped:
        because = dict.fromkeys(finding for _, finding in report.skipped)
        were = "1 check was" if len(report.skipped) == 1 else f"{len(report.skipped)} checks were"
        click.echo(f"{were} not made, because of {', '.join(because)}")
    if facts.gpus == () and not facts.gpu_problem:
        click.echo("there is no NVIDIA GPU: frameworks run on the CPU, where they can")
    if any(each.repair for each in report.findings):
        click.echo("`envkit doctor --fix` does what can be done safely")
