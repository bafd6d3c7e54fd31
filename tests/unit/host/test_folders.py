"""How much room folders take, and how they go."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from envkit.errors import BackendError
from envkit.host.folders import ABANDONED, discard, measure

KILOBYTE = b"x" * 1024
FILE = 4096
"""What one takes on the disk: a block."""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two environments and the cache that they are linked from: one file is in all, one in the cache and the second."""
    cache, first, second = (tmp_path / name for name in ("cache", "first", "second"))
    for folder in (cache, first, second):
        (folder / "below").mkdir(parents=True)
    (cache / "both").write_bytes(KILOBYTE)
    (cache / "one").write_bytes(KILOBYTE)
    for folder in (first, second):
        os.link(cache / "both", folder / "below/both")
        (folder / "own").write_bytes(KILOBYTE)
    os.link(cache / "one", second / "one")
    os.link(second / "own", second / "below/own")
    (second / "link").symlink_to(cache)
    return cache, first, second


def sizes(*folders: Path) -> tuple[list[int], list[int], int]:
    """In blocks of a file, without what folders and links take themselves."""

    def files(folder: Path, size: int) -> int:
        own = sum(each.lstat().st_blocks * 512 for each in folder.rglob("*") if each.is_dir() or each.is_symlink())
        return (size - own - folder.stat().st_blocks * 512) // FILE

    room = measure(folders)
    held = [files(each, room.held[each]) for each in folders]
    freed = [files(each, room.freed[each]) for each in folders]
    everything = room.freed_together - sum(
        room.freed[each] - freed[number] * FILE for number, each in enumerate(folders)
    )
    return held, freed, everything // FILE


def test_a_file_that_is_elsewhere_too_frees_nothing(folders: tuple[Path, Path, Path]) -> None:
    cache, first, second = folders

    assert sizes(first) == ([2], [1], 1)
    assert sizes(first, second) == ([2, 3], [1, 1], 2)
    assert sizes(cache, second) == ([2, 3], [0, 1], 2)
    assert sizes(cache, first, second) == ([2, 2, 3], [0, 1, 1], 4)


def test_a_file_in_two_folders_counts_once(folders: tuple[Path, Path, Path]) -> None:
    cache, first, second = folders

    room = measure([cache, first, second])

    assert sum(room.held.values()) - room.held_together == 3 * FILE
    assert room.freed_together == room.held_together


def test_what_is_not_there_has_no_size(tmp_path: Path) -> None:
    room = measure([tmp_path / "nothing"])

    assert (list(room.held.values()), list(room.freed.values()), room.freed_together) == ([0], [0], 0)


def test_a_folder_goes_with_all_that_is_in_it(folders: tuple[Path, Path, Path]) -> None:
    cache, _first, second = folders

    discard(second)
    discard(second)

    assert sorted(each.name for each in second.parent.iterdir() if each.name != "home") == ["cache", "first"]
    assert (cache / "both").read_bytes() == KILOBYTE


def test_a_folder_loses_its_name_before_anything_in_it(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _second = folders
    deleted: list[str] = []

    def rmtree(folder: Path, **_: Any) -> None:
        deleted.append(folder.name)
        assert (folder / "own").exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", rmtree)
        with pytest.raises(KeyboardInterrupt):
            discard(first)

    assert not first.exists()
    (left,) = deleted
    match = ABANDONED.fullmatch(left)
    assert match is not None
    assert match["name"] == "first"

    discard(first.with_name(left))

    assert not first.with_name(left).exists()


def test_what_may_not_be_removed_is_an_error(folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    _, first, second = folders

    def refused(self: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refused)
        with pytest.raises(BackendError) as caught:
            discard(first)
    assert caught.value.message == f"{first} cannot be removed: Permission denied"

    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(BackendError, match=r"^not all of .*/\.second\.staging-.* could be removed$"):
        discard(second)
