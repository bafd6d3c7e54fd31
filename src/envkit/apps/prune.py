"""What envkit made and nothing uses any more: environments of every backend, compiled code, uv's downloads."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from envkit.apps.workspace import cache_folder
from envkit.backends.base import Recipe
from envkit.backends.venv import prune_downloads
from envkit.errors import BackendError, StaleLockError, UsageError
from envkit.host.files import is_folder
from envkit.host.folders import ABANDONED, discard, measure
from envkit.host.index import uv_cache
from envkit.lock.lockfile import Lock, load_lock
from envkit.matrix.load import named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from envkit.backends.base import Backend, BackendName, Made
    from envkit.matrix.load import Matrix

Kind = Literal["venv", "image", "compiled", "downloads"]
_COMPILED = re.compile(r"(?P<key>(?P<environment>[A-Za-z0-9].*)-[0-9a-f]{12})-(image|venv)")
"""A folder that render.context.cache_part names."""


@dataclass(frozen=True)
class Wish:
    """What the user wants to be rid of."""

    names: tuple[str, ...] = ()
    """Environments, wholly; empty: what no environment of the matrix needs."""
    everything: bool = False
    """Whatever nothing uses at this moment, though environments need it."""
    downloads: bool = False
    """uv's cache too."""


@dataclass(frozen=True)
class Item:
    """One thing that can go."""

    kind: Kind
    name: str
    environment: str
    """As the matrix named it when it was made; empty for uv's cache."""
    backend: BackendName | None
    """None of what belongs to no backend, or to one of two."""
    size: int | None
    """In bytes; None where it is not known before."""
    frees: int | None
    """What the disk gets back when it alone goes: files and layers that others have too stay."""
    remove: Callable[[], None]
    """Raises `BackendError` where it may not, or something uses it by now."""


@dataclass(frozen=True)
class Kept:
    """One thing that would go, but is used."""

    name: str
    environment: str
    used_by: tuple[str, ...]


@dataclass(frozen=True)
class Unused:
    """What was found."""

    items: tuple[Item, ...]
    kept: tuple[Kept, ...] = ()
    notes: tuple[str, ...] = ()
    """What was not looked at, and why: one sentence each."""
    size: int = 0
    """Of all whose size is known, in bytes; a file that is in two of them counts once."""
    frees: int = 0
    """What disks get back at least when all of it goes."""


@dataclass(frozen=True)
class _Found:
    """Something that was made, before it was weighed."""

    kind: Kind
    backend: BackendName | None
    name: str
    environment: str
    useless: bool
    """Whether no environment of the matrix needs it."""
    remove: Callable[[], None]
    used_by: tuple[str, ...] = ()
    folder: Path | None = None
    size: int | None = None
    frees: int | None = None


def find_unused(matrix: Matrix, backends: Sequence[Backend], wish: Wish) -> Unused:
    """All that goes by the wish, with its size; changes nothing.

    `backends` are those that answer. Raises `UsageError` where a name is unknown, or its environment is used.
    """
    locks, notes = _locks(matrix)
    made = [(backend, each) for backend in backends for each in backend.environments()]
    needed = {each.name: _needed(matrix, each, locks) for each in backends if any(each is one for one, _ in made)}
    found = [
        *(_environment(each, backend, needed[backend.name], locks) for backend, each in made),
        *_compiled(matrix, _users(backends, made), locks),
    ]
    _check(wish, matrix, found)
    chosen = [each for each in found if _goes(each, wish)]
    kept = tuple(Kept(each.name, each.environment, each.used_by) for each in chosen if each.used_by)
    if wish.names and kept:
        users = dict.fromkeys(user for each in kept for user in each.used_by)
        raise UsageError(
            f"{' and '.join(dict.fromkeys(each.environment for each in kept))} is used by {', '.join(users)}",
            hint="`envkit ps` lists the instances, `envkit stop` ends them",
        )
    free = [each for each in chosen if not each.used_by]
    if wish.downloads:
        cache, note = _downloads(everything=wish.everything)
        free, notes = [*free, *cache], [*notes, *note]
    return _weighed(free, kept, tuple(notes))


def _goes(found: _Found, wish: Wish) -> bool:
    if wish.names:
        return found.environment in wish.names
    return found.useless or (wish.everything and found.kind != "compiled")


def _check(wish: Wish, matrix: Matrix, found: Sequence[_Found]) -> None:
    """Names may be those of environments that the matrix had once."""
    known = {**dict.fromkeys(matrix.file.environments), **dict.fromkeys(each.environment for each in found)}
    for name in wish.names:
        named(name, known, "environment")


def _locks(matrix: Matrix) -> tuple[dict[str, Lock | None], list[str]]:
    """By environment its lock, fresh or not; None where it cannot be told which it is, so that all of its are kept."""
    locks: dict[str, Lock | None] = {}
    notes = []
    for environment in matrix.environments():
        try:
            if lock := load_lock(environment):
                locks[environment.name] = lock
        except StaleLockError as error:
            locks[environment.name] = None
            notes.append(f"nothing of {environment.name} is taken for unused: {error.message}")
    return locks, notes


def _needed(matrix: Matrix, backend: Backend, locks: Mapping[str, Lock | None]) -> dict[str, str]:
    """What the environments of the matrix are made from, by `Backend.key`: their names."""
    recipes = [Recipe(matrix.environment(name), lock) for name, lock in locks.items() if lock]
    return {backend.key(recipe): recipe.environment.name for recipe in recipes}


def _environment(made: Made, backend: Backend, needed: Mapping[str, str], locks: Mapping[str, Lock | None]) -> _Found:
    unknown = made.environment in locks and locks[made.environment] is None
    return _Found(
        kind="image" if backend.isolated else "venv",
        backend=backend.name,
        name=made.name,
        environment=made.environment or needed.get(made.key, ""),
        useless=not (unknown and made.key) and made.key not in needed,
        remove=partial(backend.discard, made),
        used_by=made.used_by,
        folder=made.folder,
        size=made.size,
        frees=made.frees,
    )


def _users(backends: Sequence[Backend], made: Sequence[tuple[Backend, Made]]) -> dict[str, list[str]]:
    """What runs with a lock, by the name of its folders."""
    users: dict[str, list[str]] = {}
    for backend in backends:
        for each in backend.instances():
            if each.status == "running":
                users.setdefault(f"{each.environment}-{each.lock[:12]}", []).append(each.name)
    for backend, one in made:
        if not backend.isolated:
            users.setdefault(one.name, []).extend(one.used_by)
    return users


def _compiled(matrix: Matrix, users: Mapping[str, Sequence[str]], locks: Mapping[str, Lock | None]) -> Iterator[_Found]:
    """Folders of compiled code, in the caches that have one for each lock."""
    needed = {f"{name}-{lock.sha256[:12]}" for name, lock in locks.items() if lock}
    unknown = {name for name, lock in locks.items() if lock is None}
    for parent in _compiled_parents(matrix):
        for folder in sorted(parent.iterdir()) if is_folder(parent) else ():
            left = ABANDONED.fullmatch(folder.name)
            match = _COMPILED.fullmatch(left["name"] if left else folder.name)
            if not match or folder.is_symlink() or not folder.is_dir():
                continue
            current = match["key"] in needed or match["environment"] in unknown
            yield _Found(
                kind="compiled",
                backend="venv" if match[0].endswith("-venv") else None,
                name=f"{parent.name}/{folder.name}",
                environment=match["environment"],
                useless=bool(left) or not current,
                remove=partial(discard, folder),
                used_by=() if left else tuple(dict.fromkeys(users.get(match["key"], ()))),
                folder=folder,
            )


def _compiled_parents(matrix: Matrix) -> list[Path]:
    caches = {
        (name, cache.env, cache.default): cache
        for environment in matrix.environments()
        for name, cache in environment.framework.caches.items()
        if cache.per_lock
    }
    return list(dict.fromkeys(cache_folder(name, cache) for (name, *_), cache in caches.items()))


def _downloads(*, everything: bool) -> tuple[list[_Found], list[str]]:
    cache = uv_cache()
    if os.environ.get("UV_CACHE_DIR"):
        command = f"`uv cache {'clean' if everything else 'prune'}`"
        return [], [f"uv's cache is yours, by UV_CACHE_DIR: {command} makes room in {cache}"]
    if not is_folder(cache):
        return [], []

    def remove() -> None:
        if status := prune_downloads(everything=everything):
            raise BackendError(
                f"uv could not make room in its cache: it ended with {status}", hint="its words are above"
            )

    name = str(cache) if everything else f"{cache}: what uv cannot use any more"
    return [_Found("downloads", None, name, "", True, remove, folder=cache if everything else None)], []


def _weighed(found: Sequence[_Found], kept: tuple[Kept, ...], notes: tuple[str, ...]) -> Unused:
    room = measure(each.folder for each in found if each.folder)
    items = tuple(
        Item(
            kind=each.kind,
            name=each.name,
            environment=each.environment,
            backend=each.backend,
            size=room.held[each.folder] if each.folder else each.size,
            frees=room.freed[each.folder] if each.folder else each.frees,
            remove=each.remove,
        )
        for each in found
    )
    images = [each for each in found if not each.folder]
    return Unused(
        items,
        kept,
        notes,
        size=room.held_together + sum(each.size or 0 for each in images),
        frees=room.freed_together + sum(each.frees or 0 for each in images),
    )
