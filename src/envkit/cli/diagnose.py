"""`envkit diagnose`: what broke in a log, the lines that prove it, and what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from envkit.cli.console import ConsoleProgress, json_option, print_json, say, style
from envkit.cli.instances import all_instances
from envkit.diagnose.facts import judge_by, nobody_knows
from envkit.diagnose.match import diagnose
from envkit.errors import UsageError
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from envkit.backends.base import Backend
    from envkit.diagnose.facts import Judge
    from envkit.diagnose.report import Diagnosis, Report

_CHUNK = 1 << 20
_LONG = 64 << 20
"""Bytes after which it is told how far it got."""
_MARKS = {"fatal": ("✗", "red"), "warning": ("!", "yellow"), "wrapper": ("↑", "cyan")}


def _instances(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    """Names of instances, and files as the shell knows them."""
    from click.shell_completion import CompletionItem

    names = [each.name for _, each in all_instances() if each.name.startswith(incomplete)]
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


@click.command("diagnose")
@click.argument("subject", required=False, metavar="[FILE | - | INSTANCE]", shell_complete=_instances)
@click.option("--here", is_flag=True, help="The log is from this machine: judge by its facts too.")
@json_option
def diagnose_command(subject: str | None, *, here: bool, as_json: bool) -> int:
    """Find what broke in a log, and say what to do.

    Reads FILE, stdin (-), or what INSTANCE printed: any size, any program. Ends with 1 where nothing is known of what
    broke, or nothing broke.
    """
    log, backend = _open(subject)
    report = diagnose(log, judge=_judge(str(subject), backend, here=here))
    if as_json:
        print_json(_json(report))
    else:
        _show(report)
    return 1 if report.unknown else 0


def _open(subject: str | None) -> tuple[Iterable[bytes], Backend | None]:
    """The log, and the backend that it is from where it is an instance's."""
    if subject is None and sys.stdin.isatty():
        raise UsageError(
            "no log is named", hint="name a file or an instance, or pipe one in: `… 2>&1 | envkit diagnose`"
        )
    if subject in (None, "-"):
        return iter(lambda: sys.stdin.buffer.read(_CHUNK), b""), None
    path = Path(str(subject))
    if path.exists():
        if path.is_dir():
            raise UsageError(f"this is a folder: {path}", hint="name a file in it")
        return _read(path), None
    found = next(((backend, each) for backend, each in all_instances() if each.name == subject), None)
    if found is None:
        raise UsageError(
            f"there is neither a file nor an instance of that name: {subject}", hint="`envkit ps` lists instances"
        )
    return found[0].logs(found[1].name, follow=False), found[0]


def _read(path: Path) -> Iterator[bytes]:
    """The file, and on a terminal how far it got."""
    progress = ConsoleProgress()
    try:
        with path.open("rb") as file:
            size, done = os.fstat(file.fileno()).st_size, 0
            while chunk := file.read(_CHUNK):
                yield chunk
                done += len(chunk)
                if progress.terminal and size > _LONG and not done % (16 * _CHUNK):
                    progress.detail(f"{done >> 20} of {size >> 20} MiB")
            if progress.terminal and size > _LONG:
                say("\r\033[K")
    except OSError as error:
        raise UsageError(
            f"the log cannot be read: {path}: {error.strerror}", hint="check its name, and who may read it"
        ) from error


def _judge(subject: str, backend: Backend | None, *, here: bool) -> Judge:
    """Of an instance, by what it was started with; of another log of this machine, by this shell's variables."""
    from envkit.host.probes import probe_host

    if backend:
        names = backend.variables(subject)
        return judge_by(probe_host(), None if names is None else dict.fromkeys(names))
    return judge_by(probe_host(), os.environ) if here else nobody_knows


def _json(report: Report) -> dict[str, object]:
    """The report's JSON shape, which others rely on (docs/json.md)."""
    body = {key: _redacted(value) for key, value in msgspec.to_builtins(report).items() if key != "seen"}
    return {**body, "unknown": report.unknown}


def _redacted(value: Any) -> Any:  # anything that JSON can hold
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _show(report: Report) -> None:
    for number, each in enumerate(report.diagnoses):
        _show_diagnosis(each, first=not number)
    if report.unknown:
        _show_unknown(report)


def _show_diagnosis(told: Diagnosis, *, first: bool) -> None:
    mark, colour = _MARKS[told.severity]
    click.echo(
        f"{style(mark, fg=colour, bold=True)} {style(redact(told.title), bold=True)}  {style(told.id, dim=True)}"
    )
    for line in told.evidence if first else told.evidence[:1]:
        click.echo(f"    line {line.line:<6} {redact(line.text)}")
    _show_part("cause", [told.cause])
    _show_part("do", told.fix)
    if first:
        _show_part("check", told.check)
        _show_part("holds here", told.confirmed)
        _show_part("not so here", told.contradicted)
        _show_part("not looked at", told.unchecked)
        _show_part("follows", [", ".join(told.consequences)] if told.consequences else [])
    click.echo(f"    {'source':<11} {told.source}")
    click.echo()


def _show_part(name: str, texts: Iterable[str]) -> None:
    for number, text in enumerate(texts):
        click.echo(f"    {'' if number else name:<11} {redact(text)}")


def _show_unknown(report: Report) -> None:
    lines = f"{report.lines} line{'s' if report.lines != 1 else ''}"
    root = report.exception
    if root is None:
        click.echo(
            f"nothing known in {lines}{', though something failed' if report.failed else ': no failure that shows'}"
        )
        return
    click.echo(f"no known cause in {lines}; it goes back to")
    click.echo(f"    line {root.line:<6} {redact(': '.join(filter(None, (root.kind, root.message))))}")
    if root.frame:
        click.echo(f"    {'in':<11} {root.frame}")
    if root.ended_as:
        click.echo(f"    {'became':<11} {redact(root.ended_as)}")
    click.echo()
    click.echo(
        "if that is no fault of your own code, report it to envkit with the log, or the 50 lines around that one, and with"
        " what `envkit doctor --record facts.json` writes"
    )
