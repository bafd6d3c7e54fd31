"""`envkit estimate`: how much GPU memory a model takes, and what would fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from envkit.cli.console import json_option, print_json, style
from envkit.cli.facts import facts_option, read_facts
from envkit.errors import UsageError
from envkit.estimate.advice import would_fit
from envkit.estimate.catalogue import find_model, known_models, model_of_count
from envkit.estimate.gpus import gpus_of, read_gpus
from envkit.estimate.memory import METHODS, THUMB, Wish, estimate
from envkit.estimate.stored import read_config, read_folder
from envkit.host.probes import probe_host
from envkit.hub.check import SHARD
from envkit.hub.places import NAME, find_cached
from envkit.hub.sources import caches, read_sources
from envkit.hub.tensors import BrokenHeaderError, read_header

if TYPE_CHECKING:
    from envkit.estimate.advice import Change
    from envkit.estimate.gpus import Gpus
    from envkit.estimate.memory import Estimate, Method, Model

_NUMBER = click.IntRange(1, 1 << 30)


@click.command("estimate")
@click.argument("model")
@click.option("--method", type=click.Choice(METHODS), default="lora", show_default=True, help="What to do with it.")
@click.option("--batch", type=_NUMBER, default=1, show_default=True, help="Sequences at a time, on each GPU.")
@click.option("--length", type=_NUMBER, default=2048, show_default=True, help="Tokens of a sequence.")
@click.option("--gpus", type=click.IntRange(1, 1 << 20), help="How many GPUs [default: all].")
@click.option("--gpu", metavar="GPUS", help="Other GPUs than this machine's: `H100x8`, `24GB x 2`.")
@click.option("--zero", type=click.IntRange(0, 3), default=0, show_default=True, help="DeepSpeed's ZeRO stage.")
@click.option("--rank", type=_NUMBER, default=8, show_default=True, help="Of LoRA.")
@click.option("--targets", metavar="NAMES", default="", help="Matrices that LoRA adapts: q_proj,v_proj [default: all].")
@click.option(
    "--checkpointing/--no-checkpointing",
    default=True,
    show_default=True,
    help="Compute activations again, or keep them.",
)
@facts_option
@json_option
def estimate_command(
    model: str,
    *,
    method: Method,
    batch: int,
    length: int,
    gpus: int | None,
    gpu: str | None,
    zero: int,
    rank: int,
    targets: str,
    checkpointing: bool,
    described: Path | None,
    as_json: bool,
) -> int:
    """Estimate the GPU memory that MODEL takes, part by part.

    MODEL is a config.json, a folder with a model, a count of parameters (`7B`), or the name of a well-known or downloaded
    model. Ends with 1 where it does not fit. Formulas and sources are in docs/estimate.md; no GPU was asked how true
    they are.
    """
    there = read_gpus(gpu) if gpu else gpus_of(read_facts(described) if described else probe_host())
    count = gpus or (there.count if there else 1)
    names = tuple(each.strip() for each in targets.split(",") if each.strip())
    wish = Wish(method, batch, length, count, zero, rank, names, checkpointing)
    found = _model(model)
    needed = estimate(found, wish)
    fits = needed.total <= there.memory_mib << 20 if there else None
    changes = would_fit(found, wish, there) if there and not fits else []
    if as_json:
        print_json(_estimate_json(found, wish, needed, there, fits, changes))
    else:
        _show(found, wish, needed, there, fits, changes)
    return 1 if fits is False else 0


def _model(text: str) -> Model:
    """What the user named; raises `UsageError` for anything else."""
    path = Path(text).expanduser()
    if path.is_file():
        return read_config(path)
    if path.is_dir():
        return _folder(path, str(path))
    if found := model_of_count(text) or find_model(text):
        return found
    if NAME.fullmatch(text):
        if place := find_cached(text, caches(read_sources().hubs)):
            return _folder(place.folder, text)
        raise UsageError(
            f"{text} is not known, and not downloaded",
            hint=f"`envkit model pull {text} --include config.json`, then the same command again",
        )
    near = ", ".join(f"`{each}`" for each in list(known_models())[3:6])
    raise UsageError(
        f"no such model: {text}", hint=f"name a config.json, a folder, a count such as `7B`, or one of {near}, …"
    )


def _folder(folder: Path, name: str) -> Model:
    every = sorted(folder.glob("*.safetensors"))
    files = [each for each in every if each.name.startswith("model")] or every  # others are copies: `consolidated`
    there = [each for each in files if each.is_file()]  # and no link to nowhere
    count = max((int(found["count"]) for each in files if (found := SHARD.fullmatch(each.name))), default=len(files))
    if len(there) < count:
        raise UsageError(
            f"{len(there)} of {count} safetensors files are in {folder}",
            hint=f"`envkit model check {folder}` says what is missing; of its config.json alone an estimate can be made, too",
        )
    try:
        headers = [read_header(each) for each in there]
    except BrokenHeaderError as error:
        raise UsageError(
            f"a safetensors file in {folder} is broken: {error.why}", hint=f"`envkit model check {folder}` says which"
        ) from error
    tensors = [(each.dtype, each.numbers, each.bytes) for header in headers for each in header.tensors.values()]
    return read_folder(folder, name, tensors)


def _show(
    model: Model, wish: Wish, needed: Estimate, gpus: Gpus | None, fits: bool | None, changes: list[Change]
) -> None:
    click.echo(f"{model.name}: {model.parameters:,} parameters")
    click.echo(f"{_described(wish, needed)}\n")
    for part, number in needed.parts.items():
        if number:
            click.echo(f"  {part:<12} {_gibibytes(number):>11}")
    total = f"{'total':<12} {_gibibytes(needed.total):>11}"
    click.echo(f"  {style(total, bold=True)}{' on each GPU' if wish.gpus > 1 else ''}")
    thumb = THUMB[wish.method]
    click.echo(
        f"\nrule of thumb: {thumb:g} bytes for a parameter, {_gibibytes(int(thumb * model.parameters))}{' on all GPUs together' if wish.gpus > 1 else ''}"
    )
    for note in _notes(model, wish):
        click.echo(f"  {style('note:', fg='cyan')} {note}")
    if gpus is None:
        click.echo("there is no GPU here to compare with: name one, such as `--gpu H100x8`")
        return
    room = (gpus.memory_mib << 20) - needed.total
    name = f"{wish.gpus} × {gpus.name}" if wish.gpus > 1 else gpus.name
    click.echo(
        f"{style('✓', fg='green')} fits {name} ({_gibibytes(gpus.memory_mib << 20)}): {_gibibytes(room)} are left"
        if fits
        else f"{style('✗', fg='red')} does not fit {name} ({_gibibytes(gpus.memory_mib << 20)}): {_gibibytes(-room)} too much"
    )
    for each in changes:
        click.echo(f"  would fit: {each.options}  ({_gibibytes(each.estimate.total)})")
    if fits is False and not changes:
        click.echo("  nothing here makes it fit: take a larger GPU, or a smaller model")


def _described(wish: Wish, needed: Estimate) -> str:
    words: list[str] = [wish.method]
    if wish.method in ("lora", "qlora"):
        words.append(f"rank {wish.rank}, {needed.trained:,} trained")
    words.append(f"batch {wish.batch} × {wish.length} tokens")
    words.append(f"{wish.gpus} GPU{'s' if wish.gpus > 1 else ''}")
    if wish.zero:
        words.append(f"ZeRO {wish.zero}")
    if wish.method != "inference" and not wish.checkpointing:
        words.append("no checkpointing")
    return ", ".join(words)


def _notes(model: Model, wish: Wish) -> list[str]:
    """What the reader should know of the numbers."""
    notes = ["an estimate: its error was not measured on a GPU"]
    if not model.exact:
        notes.append("the shape is that of a model of about its size; a config.json tells more")
    elif not model.architecture.known:
        notes.append(
            f"the model type `{model.architecture.family}` is not known here: it was taken for a plain decoder"
        )
    if wish.method == "qlora" and model.architecture.has_experts:
        notes.append(
            "experts stay in 16 bits: transformers 5 keeps them in one parameter, and bitsandbytes takes Linear alone"
        )
    if wish.method in ("lora", "qlora") and model.architecture.has_experts:
        notes.append("adapters on attention and shared MLPs alone, not on the experts")
    return notes


def _estimate_json(
    model: Model, wish: Wish, needed: Estimate, gpus: Gpus | None, fits: bool | None, changes: list[Change]
) -> dict[str, Any]:
    """The shape that others rely on (docs/json.md)."""
    return {
        "model": model.name,
        "parameters": model.parameters,
        "exact": model.exact and model.architecture.known,
        "trained": needed.trained,
        "wish": msgspec.to_builtins(wish),
        "parts": [{"part": part, "bytes": number} for part, number in needed.parts.items()],
        "total_bytes": needed.total,
        "rule_of_thumb_bytes": int(THUMB[wish.method] * model.parameters),
        "gpu": {"name": gpus.name, "count": gpus.count, "memory_mib": gpus.memory_mib} if gpus else None,
        "fits": fits,
        "would_fit": [{"options": each.options, "total_bytes": each.estimate.total} for each in changes],
        "notes": _notes(model, wish),
    }


def _gibibytes(number: int) -> str:
    return f"{number / 2**30:.2f} GiB"
