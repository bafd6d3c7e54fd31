"""Files that cannot be looked at are not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from envkit.host.files import is_file, is_folder, is_there, read


def test_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xc3\xa9 \xff\n")

    assert read(tmp_path / "file") == "é \ufffd\n"
    assert (is_there(tmp_path / "file"), is_file(tmp_path / "file"), is_folder(tmp_path / "file")) == (
        True,
        True,
        False,
    )
    assert (is_there(tmp_path), is_file(tmp_path), is_folder(tmp_path)) == (True, False, True)


@pytest.mark.parametrize("name", ["missing", "x" * 300, "file/below", "loop"])
def test_what_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name

    assert (read(path), is_there(path), is_file(path), is_folder(path)) == (None, False, False, False)


def test_a_closed_folder_raises_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("stat", "is_dir", "is_file"):
        monkeypatch.setattr(Path, name, refuse)

    assert (is_there(tmp_path), is_file(tmp_path), is_folder(tmp_path)) == (False, False, False)
