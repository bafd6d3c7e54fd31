"""Where a model lies on this machine: its folder in the caches of both hubs, and the name behind a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.errors import UsageError
from envkit.host.files import is_folder, read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.hub.sources import Hub, Kind

NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,128}")
"""`owner/name`, on either hub."""
_HUGGINGFACE = re.compile(r"(?P<kind>model|dataset)s--(?P<owner>[^/]+?)--(?P<name>[^/]+)")
_MODELSCOPE = re.compile(r"(?P<owner>[^/]+?)--(?P<name>[^/]+)")


@dataclass(frozen=True)
class Place:
    """A folder with a model or a data set."""

    folder: Path
    repository: str = ""
    """`owner/name`; empty: not known."""
    hub: Hub | None = None
    """In whose cache it is; None: in nobody's."""
    revision: str = ""
    """The commit or branch of a cached one."""

    @property
    def store(self) -> Path:
        """The repository's folder in the cache, above all revisions."""
        return self.folder.parent.parent if self.folder.parent.name == "snapshots" else self.folder


def huggingface_hub_cache(home: Path) -> Path:
    """Where the library keeps repositories below HF_HOME, unless HF_HUB_CACHE says otherwise."""
    named = os.environ.get("HF_HUB_CACHE")
    return Path(named).expanduser().absolute() if named else home / "hub"


def find_place(text: str, caches: Mapping[Hub, Path], kind: Kind = "model") -> Place:
    """The folder, or the cached copy of the `owner/name`; raises `UsageError` where there is neither."""
    folder = Path(text).expanduser()
    if is_folder(folder):
        return _place_of(folder.absolute())
    cached = find_cached(text, caches, kind) if NAME.fullmatch(text) else None
    if cached:
        return cached
    if NAME.fullmatch(text):
        looked = f"{huggingface_hub_cache(caches['huggingface'])} and {caches['modelscope']}"
        raise UsageError(f"{text} is no folder, and not in the caches: {looked}", hint=f"`envkit model pull {text}`")
    raise UsageError(f"no such folder: {text}", hint="name a folder, or a model as `owner/name`")


def find_cached(name: str, caches: Mapping[Hub, Path], kind: Kind = "model") -> Place | None:
    """The newest cached copy of it; None: there is none."""
    found = [*_in_huggingface(name, huggingface_hub_cache(caches["huggingface"]), kind)]
    found += _in_modelscope(name, caches["modelscope"], kind)
    return max(found, key=lambda each: each.folder.stat().st_mtime, default=None)


def _in_huggingface(name: str, cache: Path, kind: Kind) -> Iterator[Place]:
    store = cache / f"{kind}s--{name.replace('/', '--')}"
    newest = sorted(_folders(store / "snapshots"), key=lambda each: each.stat().st_mtime, reverse=True)
    for commit in ((read(store / "refs" / "main") or "").strip(), *(each.name for each in newest)):
        if commit and is_folder(store / "snapshots" / commit):
            yield Place(store / "snapshots" / commit, name, "huggingface", commit)
            return


def _in_modelscope(name: str, cache: Path, kind: Kind) -> Iterator[Place]:
    """In the layout of today, and in that of modelscope before 1.38, which spells dots as `___`."""
    owner, _, last = name.partition("/")
    for root in (cache, cache / "hub"):
        old = root / f"{kind}s" / owner / last.replace(".", "___")
        if is_folder(old):
            yield Place(old, name, "modelscope")
    snapshots = {each.name: each for each in _folders(cache / f"{kind}s" / f"{owner}--{last}" / "snapshots")}
    for revision in ("master", "main", *snapshots):
        if revision in snapshots:
            yield Place(snapshots[revision], name, "modelscope", revision)
            return


def _place_of(folder: Path) -> Place:
    """What the names of the folders above tell."""
    if folder.parent.name != "snapshots":
        if _HUGGINGFACE.fullmatch(folder.name) and (inside := _folders(folder / "snapshots")):
            return _place_of(max(inside, key=lambda each: each.stat().st_mtime))
        return Place(folder)
    store = folder.parent.parent.name
    if found := _HUGGINGFACE.fullmatch(store):
        return Place(folder, f"{found['owner']}/{found['name']}", "huggingface", folder.name)
    if found := _MODELSCOPE.fullmatch(store):
        return Place(folder, f"{found['owner']}/{found['name']}", "modelscope", folder.name)
    return Place(folder)


def _folders(path: Path) -> list[Path]:
    return [each for each in path.iterdir() if each.is_dir()] if is_folder(path) else []
