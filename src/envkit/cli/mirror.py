"""`--mirror NAME`: addresses in place of the usual ones; what commands that download share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from envkit.cli.console import say
from envkit.matrix.mirrors import addresses, compose_mirror, read_mirror
from envkit.process import redact

if TYPE_CHECKING:
    from envkit.host.probes.mirrors import Measured
    from envkit.matrix.load import Matrix
    from envkit.matrix.schema import Mirror

mirror_option = click.option(
    "--mirror",
    metavar="NAME",
    envvar="ENVKIT_MIRROR",
    help="Use mirrors: a set of envmatrix.yaml (`cn`), a FILE, `auto` by measurement, `none`; none of it stays in images or locks.",
)
_HUB = "modelscope"
"""It is not mirrored."""
_PREFIXED = {"docker_hub": "https://"}
"""What has to stand before an address that is written without a scheme."""
_APT = "apt"
"""Where a base image takes Debian's packages from by itself, only the image knows."""
_USUAL = {
    "index": "",
    "docker_hub": "registry-1.docker.io",
    "huggingface": "https://huggingface.co",
    "modelscope": "https://modelscope.cn",
}
"""Where programs go by themselves; empty: uv knows."""


def chosen_mirror(matrix: Matrix, wish: str | None) -> Mirror | None:
    """The mirrors that were asked for; None for the usual addresses."""
    match wish:
        case None | "" | "none":
            return None
        case "auto":
            chosen = best_mirror(measure_all(matrix), matrix)
            say(f"mirrors by measurement: {told(chosen)}")
            return chosen
    if wish not in matrix.file.mirrors and ("/" in wish or wish.endswith((".yaml", ".yml"))):
        return read_mirror(Path(wish))
    return matrix.mirror(wish)


def told(mirror: Mirror | None) -> str:
    """The addresses of a set, in one line, without passwords."""
    if mirror is None:
        return "none, the usual addresses do"
    kinds = ("index", "apt", "docker_hub", "huggingface", "docker_packages", "toolkit_packages")
    named = [f"{kind.replace('_', ' ')} {address}" for kind in kinds if (address := getattr(mirror, kind))]
    return redact(", ".join([*named, *(["models from ModelScope"] if mirror.modelscope else [])]))


def measure_all(matrix: Matrix) -> dict[str, list[Measured]]:
    """What became of every address, by purpose; the usual one comes first, where it is known."""
    from envkit.host.mirrors import questions
    from envkit.host.probes.mirrors import Measured, measure

    asked, sets = questions(), matrix.file.mirrors.values()
    candidates = {kind: [usual, *addresses(sets, kind)] for kind, usual in _USUAL.items() if kind != _HUB}
    candidates |= {_HUB: [_USUAL[_HUB]], _APT: addresses(sets, _APT)}
    pairs = [
        (_PREFIXED.get(kind, "") + address if address else "", getattr(asked, kind))
        for kind, named in candidates.items()
        for address in named
    ]
    answers = iter(measure(pairs))
    return {
        kind: [Measured(address, answer.seconds, answer.problem) for address in named for answer in [next(answers)]]
        for kind, named in candidates.items()
    }


def best_mirror(measured: dict[str, list[Measured]], matrix: Matrix) -> Mirror | None:
    """The best of all sets and the usual addresses, by what they answered."""
    from envkit.host.probes.mirrors import best

    chosen = {kind: found.address for kind, each in measured.items() if (found := best(each)) and kind != _APT}
    modelscope = "huggingface" not in chosen and _HUB in chosen
    plain = {kind: address for kind, address in chosen.items() if address != _USUAL[kind]}
    apt = {each.address for each in measured[_APT] if not each.problem}
    return compose_mirror(
        plain, [each for each in matrix.file.mirrors.values() if each.apt in apt], modelscope=modelscope
    )
