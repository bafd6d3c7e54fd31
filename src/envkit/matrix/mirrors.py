"""Which mirrors are used: a set from the matrix, a user's file, or the best of what was measured; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.errors import MatrixError
from envkit.matrix.schema import Mirror
from envkit.matrix.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


def read_mirror(path: Path) -> Mirror:
    """The set of mirrors that a user wrote down; raises `MatrixError` with every fault of the file."""
    source = Source()
    mirror = source.read(path, Mirror)
    if mirror is None:
        raise MatrixError(source.faults, subject="the mirrors have", again=f"envkit host --mirror {path}")
    return mirror


def addresses(mirrors: Iterable[Mirror], kind: str) -> list[str]:
    """What the sets name for one purpose, each address once."""
    return [*dict.fromkeys(address for each in mirrors if (address := getattr(each, kind)))]


def compose_mirror(chosen: Mapping[str, str], mirrors: Iterable[Mirror], *, modelscope: bool) -> Mirror | None:
    """The set of the addresses that were chosen in place of the usual ones, by purpose; None where none was.

    Debian's packages are taken from where the package index is: only the base image knows where they come from
    otherwise.
    """
    if not chosen and not modelscope:
        return None
    near = next((each for each in mirrors if each.apt and each.index == chosen.get("index", "")), None)
    return Mirror(
        about="chosen by measurement",
        index=chosen.get("index"),
        apt=near.apt if near else None,
        docker_hub=chosen.get("docker_hub"),
        huggingface=chosen.get("huggingface"),
        modelscope=modelscope,
    )
