"""`envkit model`: the files of models and data sets."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit.cli.console import agreed, asked_secret, json_option, print_json, say, style
from envkit.cli.findings import findings_as_json, show_findings
from envkit.cli.transfer import TransferProgress, sized
from envkit.errors import UsageError
from envkit.hub.check import check_model, walk
from envkit.hub.connect import connect, install, is_installed, token_of
from envkit.hub.known import Known, known_files
from envkit.hub.places import NAME, find_place
from envkit.hub.pull import Wanted, ask_listing, pull
from envkit.hub.push import pack, send
from envkit.hub.sources import caches, choose_sources, read_sources

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envkit.hub.check import Checked
    from envkit.hub.places import Place
    from envkit.hub.pull import Pulled
    from envkit.hub.push import Parcel
    from envkit.hub.sources import HubFacts, Kind, Sources


@click.group("model")
def model_command() -> None:
    """Pull, push and check models and data sets."""


kind_option = click.option("--dataset", "kind", flag_value="dataset", help="It is a data set, not a model.")


@model_command.command("check")
@click.argument("name", metavar="DIR|OWNER/NAME")
@click.option("--hashes", is_flag=True, help="Read every file, and compare its hash with the hub's.")
@click.option(
    "--as", "repository", metavar="OWNER/NAME", help="What the folder is a copy of, where its place does not tell."
)
@kind_option
@json_option
def check_command(name: str, hashes: bool, repository: str | None, kind: Kind | None, as_json: bool) -> int:
    """Find what is wrong with the files of a model, without loading it.

    Looks at the header and the length of every safetensors file, the index, the configuration, the tokenizer, and at what
    downloads and Git LFS leave. Ends with 1 when something is an error.

    --hashes compares with what the cache remembers of the hub; what it does not remember, the hub is asked for.
    """
    sources = read_sources()
    place = find_place(name, caches(sources.hubs), kind or "model")
    if repository:
        _check_name(repository)
        place = replace(place, repository=repository)
    known = known_files(place)
    if hashes:
        known |= _asked(place, kind or "model", sources, known)
    with TransferProgress(show=hashes) as watcher:
        checked = check_model(place, known, hashes=hashes, kind=kind or "model", watcher=watcher)
    if as_json:
        print_json(_check_json(checked))
    else:
        _show(checked, hashes=hashes)
    return 0 if checked.ok else 1


def _asked(place: Place, kind: Kind, sources: Sources, known: Mapping[str, Known]) -> dict[str, Known]:
    """What the hub lists of the files whose content is not known, where there are any and the name is known."""
    files = {each.relative_to(place.folder).as_posix() for each in walk(place.folder)}
    unknown = {each for each in files if not known.get(each, Known()).tells_content}
    if not unknown:
        return {}
    if not place.repository:
        say("  what the hub lists is not known: name the repository with `--as OWNER/NAME`")
        return {}
    remotes = [
        partial(connect, source, sources.hubs[source.hub], named=False)
        for source in sources.sources.values()
        if place.hub in (None, source.hub)
    ]
    listing, reason = ask_listing(place.repository, kind, place.revision, remotes)
    if listing is None:
        say(f"  the hub was not asked for hashes: {reason}")
    return {name: each for name, each in listing.files.items() if name in unknown} if listing else {}


def _show(checked: Checked, *, hashes: bool) -> None:
    counted = f"{checked.files:,} file{'s' if checked.files != 1 else ''}, {sized(checked.bytes)}"
    if checked.tensors:
        tensors = f"{checked.tensors:,} tensor{'s' if checked.tensors != 1 else ''}"
        counted += f", {tensors}, {checked.parameters:,} parameters"
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


@model_command.command("pull")
@click.argument("name", metavar="OWNER/NAME")
@click.option(
    "--from",
    "origin",
    default="auto",
    show_default=True,
    metavar="SOURCE",
    help="hf, hf-mirror, modelscope, or one of your own; auto takes the first that gives it.",
)
@click.option("--revision", default="", metavar="REVISION", help="A branch, a tag or a commit [default: the hub's].")
@click.option(
    "--include", multiple=True, metavar="PATTERN", help="These files alone, such as '*.safetensors'; repeatable."
)
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files; repeatable.")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="A folder of its own, instead of the cache that frameworks share.",
)
@click.option("--force", is_flag=True, help="Fetch files again that are there.")
@click.option("--dry-run", is_flag=True, help="Show what would come, and fetch nothing.")
@kind_option
@json_option
def pull_command(
    name: str,
    *,
    origin: str,
    revision: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    folder: Path | None,
    force: bool,
    dry_run: bool,
    kind: Kind | None,
    as_json: bool,
) -> None:
    """Download a model, or a data set, to where frameworks find it.

    Goes on where it stopped, compares what came with what is listed, and tries the next source where one does not give
    it. Prints the folder. HF_TOKEN or MODELSCOPE_API_TOKEN opens what is not public.
    """
    _check_name(name)
    known = read_sources()
    wanted = Wanted(
        name, kind or "model", revision, include, exclude, folder.expanduser().absolute() if folder else None, force
    )
    sources = choose_sources(origin, known.sources)
    for hub in {known.hubs[each.hub].package: known.hubs[each.hub] for each in sources.values()}.values():
        _need_library(hub)
    with TransferProgress() as watcher:
        pulled = pull(
            wanted,
            sources,
            lambda _, source: connect(source, known.hubs[source.hub], named=origin != "auto"),
            caches(known.hubs),
            watcher,
            dry_run=dry_run,
        )
    if as_json:
        print_json(_pull_json(pulled, dry_run=dry_run))
        return
    plan = pulled.plan
    what = f"{len(plan.missing)} of {len(plan.names)} files, {sized(plan.missing_bytes)}"
    if dry_run:
        room = "" if plan.free_bytes is None else f"; {sized(plan.free_bytes)} are free there"
        say(f"{plan.source} would bring {what}, of {name} at {plan.listing.commit}{room}")
    else:
        say(f"{what} from {plan.source} in {pulled.seconds:.0f} s: {name} at {plan.listing.commit}")
    click.echo(plan.folder)


def _pull_json(pulled: Pulled, *, dry_run: bool) -> dict[str, object]:
    """The shape that others rely on (docs/json.md)."""
    plan = pulled.plan
    return {
        "repository": plan.listing.repository,
        "kind": plan.listing.kind,
        "source": plan.source,
        "commit": plan.listing.commit,
        "folder": str(plan.folder),
        "files": len(plan.names),
        "bytes": plan.bytes,
        "fetched": list(plan.missing),
        "fetched_bytes": plan.missing_bytes,
        "free_bytes": plan.free_bytes,
        "tried": [{"source": source, "reason": reason} for source, reason in pulled.tried],
        "seconds": round(pulled.seconds, 1),
        "dry_run": dry_run,
    }


@model_command.command("push")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.argument("name", metavar="OWNER/NAME")
@click.option("--to", "target", required=True, metavar="SOURCE", help="hf, modelscope, or one of your own.")
@click.option("--include", multiple=True, metavar="PATTERN", help="These files alone; repeatable.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Not these files; repeatable.")
@click.option("--public", is_flag=True, help="A new repository is for everybody; without it, for you alone.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@kind_option
@json_option
def push_command(
    folder: Path,
    name: str,
    *,
    target: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    public: bool,
    yes: bool,
    dry_run: bool,
    kind: Kind | None,
    as_json: bool,
) -> None:
    """Send a model, or a data set, to a hub.

    Shows what would go, and asks. The token comes from HF_TOKEN or MODELSCOPE_API_TOKEN, or is asked for; it is never
    an argument, and is not kept. A repository that is not there yet is made, and private.
    """
    _check_name(name)
    known = read_sources()
    source = choose_sources(target, known.sources)[target] if target != "auto" else None
    if source is None or source.mirror:
        raise UsageError(f"{target} takes no uploads", hint="`--to hf`, or `--to modelscope`")
    parcel = pack(folder.absolute(), name, kind or "model", include, exclude, private=not public)
    _show_parcel(parcel, source.address)
    address = None
    if not dry_run:
        if not yes and not agreed(f"send {sized(parcel.bytes)} to {source.address}/{name}?"):
            raise UsageError("nothing was sent", hint="--dry-run shows what would be")
        hub = known.hubs[source.hub]
        _need_library(hub)
        token = token_of(hub) or asked_secret(f"token for {source.address}", f"set {hub.token[0]}")
        address = send(parcel, connect(source, hub, named=True, token=token), target)
    if as_json:
        print_json(
            {
                "repository": name,
                "kind": parcel.kind,
                "source": target,
                "private": parcel.private,
                "files": [{"path": path, "bytes": size} for path, size in parcel.files.items()],
                "bytes": parcel.bytes,
                "left": list(parcel.left),
                "findings": findings_as_json(parcel.findings),
                "address": address,
                "dry_run": dry_run,
            }
        )
    elif address:
        click.echo(address)


def _show_parcel(parcel: Parcel, endpoint: str) -> None:
    for path, size in parcel.files.items():
        say(f"  {sized(size):>9}  {path}")
    for path in parcel.left:
        say(f"  {'stays':>9}  {path}: its name is that of a secret, or of half a file")
    for finding in parcel.findings:
        say(f"  {style('warning:', fg='yellow')} {finding.title}: {finding.evidence}")
    who = "private" if parcel.private else "public"
    files = f"{len(parcel.files)} file{'s' if len(parcel.files) != 1 else ''}"
    say(f"{files}, {sized(parcel.bytes)}, to {endpoint}/{parcel.repository}; {who}, if it is new")


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise UsageError(
            f"not the name of a model: {name}", hint="write owner and name, such as `Qwen/Qwen2.5-7B-Instruct`"
        )


def _need_library(hub: HubFacts) -> None:
    """Offers to install what is missing, where somebody is there to be asked."""
    if (
        not is_installed(hub)
        and sys.stdin.isatty()
        and agreed(f"{hub.package} is not installed: install it beside envkit?")
    ):
        install()
