"""Folders that go: how much they hold, how much of it their disk gets back, and how they go without being half there."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_BLOCK = 512
"""Bytes; what `st_blocks` counts, on every file system (stat(2))."""
ABANDONED = re.compile(r"\.(?P<name>.+)\.staging-[^/]+")
"""The names of folders that are half made or half removed: nothing that has one counts as made."""


@dataclass(frozen=True)
class Room:
    """What folders take on their disks, in bytes."""

    held: dict[Path, int]
    """By folder: what is in it."""
    freed: dict[Path, int]
    """By folder: what its disk gets back when it alone goes. A file with another name elsewhere stays."""
    held_together: int
    """In all of them: a file that is in two counts once."""
    freed_together: int
    """What comes back when all of them go."""


def measure(folders: Iterable[Path]) -> Room:
    """The room that the folders take; what vanishes meanwhile, or may not be read, counts nothing."""
    held: dict[Path, int] = {}
    freed: dict[Path, int] = {}
    everywhere: Counter[tuple[int, int]] = Counter()
    links: dict[tuple[int, int], tuple[int, int]] = {}
    alone = 0
    for folder in folders:
        here: Counter[tuple[int, int]] = Counter()
        held[folder] = freed[folder] = 0
        for entry in _entries(str(folder)):
            size = entry.st_blocks * _BLOCK
            if entry.st_nlink == 1 or stat.S_ISDIR(entry.st_mode):
                held[folder] += size
                freed[folder] += size
                continue
            file = (entry.st_dev, entry.st_ino)
            if not here[file]:
                held[folder] += size
            here[file] += 1
            links[file] = (entry.st_nlink, size)
        alone += freed[folder]
        freed[folder] += sum(links[file][1] for file, seen in here.items() if seen == links[file][0])
        everywhere.update(here)
    linked = sum(links[file][1] for file in everywhere)
    freed_links = sum(links[file][1] for file, seen in everywhere.items() if seen == links[file][0])
    return Room(held, freed, alone + linked, alone + freed_links)


def discard(folder: Path) -> None:
    """Removes a folder, at once for everybody who looks for its name: it is renamed first, then deleted.

    Interrupted, it leaves a folder whose name is `ABANDONED`. Raises `BackendError` where not all of it may be removed.
    """
    if ABANDONED.fullmatch(folder.name):
        doomed = folder
    else:
        doomed = folder.with_name(f".{folder.name}.staging-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            folder.rename(doomed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise BackendError(
                f"{folder} cannot be removed: {error.strerror}", hint="`ls -ld` tells whose it is"
            ) from error
    shutil.rmtree(doomed, ignore_errors=True)
    if doomed.exists():
        raise BackendError(f"not all of {doomed} could be removed", hint="`find` with `-ls` tells whose the rest is")


def _entries(folder: str) -> Iterator[os.stat_result]:
    """Everything below the folder and itself, links not followed."""
    try:
        yield os.lstat(folder)
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path)
            else:
                yield entry.stat(follow_symlinks=False)
        except OSError:
            continue
