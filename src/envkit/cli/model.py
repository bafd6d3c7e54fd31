"""`envkit model`: the files of models and data sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from envkit.cli.console import json_option, print_json
from envkit.cli.findings import findings_as_json, show_findings
from envkit.cli.transfer import TransferProgress, sized
from envkit.hub.check import check_model
from envkit.hub.known import known_files
from envkit.hub.places import find_place
from envkit.hub.sources import caches, read_sources

if TYPE_CHECKING:
    from envkit.hub.check import Checked
    from envkit.hub.sources import Kind


@click.group("model")
def model_command() -> None:
    """Pull, push and check models and data sets."""


kind_option = click.option("--dataset", "kind", flag_value="dataset", help="It is a data set, not a model.")


@model_command.command("check")
@click.argument("name", metavar="DIR|OWNER/NAME")
@click.option("--hashes", is_flag=True, help="Read every file, and compare its hash with the hub's.")
@kind_option
@json_option
def check_command(name: str, hashes: bool, kind: Kind | None, as_json: bool) -> int:
    """Find what is wrong with the files of a model, without loading it.

    Looks at the header and the length of every safetensors file, the index, the configuration, the tokenizer, and at what
    downloads and Git LFS leave. Ends with 1 when something is an error.
    """
    place = find_place(name, caches(read_sources().hubs), kind or "model")
    with TransferProgress(show=hashes and not as_json) as watcher:
        checked = check_model(place, known_files(place), hashes=hashes, kind=kind or "model", watcher=watcher)
    if as_json:
        print_json(_check_json(checked))
    else:
        _show(checked, hashes=hashes)
    return 0 if checked.ok else 1


def _show(checked: Checked, *, hashes: bool) -> None:
    counted = f"{checked.files} files, {sized(checked.bytes)}"
    if checked.tensors:
        counted += f", {checked.tensors:,} tensors, {checked.parameters:,} parameters"
    if hashes:
        counted += f"; {checked.hashed} compared with their hashes"
    click.echo(f"{checked.place.folder}: {counted}\n")
    show_findings(checked.findings, "nothing is wrong with these files")
    if checked.command:
        click.echo(f"\nfetch again: {checked.command}")


def _check_json(checked: Checked) -> dict[str, object]:
    """The shape that others rely on (docs/json.md)."""
    return {
        "folder": str(checked.place.folder),
        "repository": checked.place.repository or None,
        "hub": checked.place.hub,
        "revision": checked.place.revision or None,
        "files": checked.files,
        "bytes": checked.bytes,
        "tensors": checked.tensors,
        "parameters": checked.parameters,
        "hashed": checked.hashed,
        "findings": findings_as_json(checked.findings),
        "ok": checked.ok,
        "again": list(checked.again),
        "command": checked.command or None,
    }
