"""What is known of a cached file's length and content without asking its hub again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from envkit.host.files import is_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envkit.hub.places import Place

_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT = re.compile(r"[0-9a-f]{40}")
BLOCK = 8 << 20
"""Bytes that are read at once."""


@dataclass(frozen=True)
class Known:
    """What a hub says of a file; None and empty: it says nothing."""

    size: int | None = None
    sha256: str = ""
    git: str = ""
    """Git's id of a small file: SHA-1 of its length and its content."""

    @property
    def tells_content(self) -> bool:
        """Whether there is a hash."""
        return bool(self.sha256 or self.git)


class _Entry(msgspec.Struct):
    """A file in huggingface_hub's own copy of a repository's listing (`_tree_cache.py`)."""

    size: int | None = None
    blob_id: str | None = None
    lfs_sha256: str | None = None


class _Listing(msgspec.Struct):
    """The file that it keeps."""

    files: dict[str, _Entry]


def known_files(place: Place) -> dict[str, Known]:
    """By path: what the cache itself remembers, from its copy of the listing or by the names of its files."""
    if place.hub == "modelscope":
        return {}
    store = place.store if place.hub else place.folder / ".cache" / "huggingface"
    listed: dict[str, Known] = {}
    trees = store / "trees"
    found = sorted(trees.glob(f"{place.revision or '*'}.json")) if is_folder(trees) else []
    if len(found) == 1:
        listed = _listed(found[0])
    for path in place.folder.rglob("*") if place.hub else ():
        if path.is_symlink() and (blob := path.readlink().name):
            name = str(path.relative_to(place.folder))
            listed.setdefault(
                name,
                Known(sha256=blob if _SHA256.fullmatch(blob) else "", git=blob if _GIT.fullmatch(blob) else ""),
            )
    return listed


def _listed(path: Path) -> dict[str, Known]:
    try:
        files = msgspec.json.decode(path.read_bytes(), type=_Listing).files
    except (OSError, msgspec.MsgspecError):
        return {}  # another version of the library wrote it
    return {
        name: Known(each.size, each.lfs_sha256 or "", "" if each.lfs_sha256 else each.blob_id or "")
        for name, each in files.items()
    }


def digest(path: Path, known: Known, advance: Callable[[int], None]) -> tuple[str, str, str]:
    """Algorithm, hash, and what it should be."""
    if known.sha256:
        counted, name, wanted = hashlib.sha256(), "SHA-256", known.sha256
    else:
        counted, name, wanted = hashlib.sha1(usedforsecurity=False), "SHA-1 in Git", known.git
        counted.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            counted.update(block)
            advance(len(block))
    return name, counted.hexdigest(), wanted
