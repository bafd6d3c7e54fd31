"""What envkit knows is found, and files are written whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from envkit.share import overlay_file, share_root, write_file
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def test_in_a_checkout_the_checkout_is_used() -> None:
    assert share_root() == REPOSITORY


def test_without_a_checkout_the_package_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.share._CHECKOUT", tmp_path)

    assert share_root() == REPOSITORY / "src/envkit/share"


def test_where_the_user_s_overlay_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert overlay_file() == tmp_path / "envkit/envmatrix.yaml"

    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    assert overlay_file() == tmp_path / "home/.config/envkit/envmatrix.yaml"


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    file = tmp_path / "a/b/file"
    write_file(file, "一\n")
    write_file(file, "二\n")

    assert file.read_text(encoding="utf-8") == "二\n"
    assert [each.name for each in file.parent.iterdir()] == ["file"]


def test_what_is_no_file_of_its_own_stays_what_it_is(tmp_path: Path) -> None:
    """As root, a report to /dev/stdout took its place, and a script to /dev/null that of /dev/null."""
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "file")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    write_file(pipe, "piped")
    write_file(link, "linked")

    assert os.read(reader, 99) == b"piped"
    os.close(reader)
    assert pipe.is_fifo()
    assert (link.is_symlink(), (tmp_path / "file").read_text()) == (True, "linked")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_file(file, "new \udcff")

    assert file.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "home"]
