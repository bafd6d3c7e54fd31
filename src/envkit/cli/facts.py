"""What commands that judge a machine share: `--facts FILE`, which describes another one."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from envkit.errors import UsageError
from envkit.host.facts import HostFacts

facts_option = click.option(
    "--facts",
    "described",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help="Judge another machine: what `envkit host --json` printed there; - reads stdin.",
)


def read_facts(path: Path) -> HostFacts:
    """The facts in a file, or on stdin; raises `UsageError` for anything else."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return msgspec.json.decode(data, type=HostFacts)
    except OSError as error:
        raise UsageError(
            f"the facts cannot be read: {path}: {error.strerror}", hint="`envkit host --json` makes them"
        ) from error
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"not the facts of a machine: {path}: {error}", hint="`envkit host --json` makes them"
        ) from error
