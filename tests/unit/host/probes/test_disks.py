"""What is told of the file systems that envkit uses."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from envkit.host.facts import Disk
from envkit.host.probes.disks import look_at, probe_disks

ROOM = SimpleNamespace(f_blocks=1000, f_bavail=400, f_frsize=2**20)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system has 1000 MiB, of which 400 are free to the user."""

    def statvfs(path: Path) -> Any:
        Path(path).stat()
        return ROOM

    monkeypatch.setattr(os, "statvfs", statvfs)


def device(path: Path) -> str:
    number = path.stat().st_dev
    return f"{os.major(number)}:{os.minor(number)}"


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("name", ["", "to/be/made"])
def test_a_folder_that_is_there_or_will_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    assert look_at("home", path) == Disk("home", str(path), 1000, 400, device(tmp_path))


@pytest.mark.usefixtures("room")
def test_a_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert look_at("home", tmp_path / "file/folder").free_mib == 400


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(107, "not connected")])
def test_a_folder_that_cannot_be_looked_at_is_not_taken_for_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    def statvfs(path: Path) -> Any:
        if path == tmp_path / "closed/inner":
            raise error
        return ROOM

    monkeypatch.setattr(os, "statvfs", statvfs)

    assert look_at("home", tmp_path / "closed/inner") == Disk("home", f"{tmp_path}/closed/inner")


@pytest.mark.usefixtures("room")
def test_home_cache_and_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.host.probes.disks.find_provider", lambda: None)
    monkeypatch.setenv("ENVKIT_HOME", str(tmp_path / "envkit"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))

    disks = probe_disks()["disks"]

    assert [(each.purpose, each.path) for each in disks] == [
        ("home", f"{tmp_path}/envkit"),
        ("cache", f"{tmp_path}/cache"),
        ("shm", "/dev/shm"),  # noqa: S108  # its size is what matters
    ]
    assert {disks[0].filesystem, disks[1].filesystem} == {device(tmp_path)}


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize(("name", "there"), [("data", True), ("missing", False), ("x" * 300, False), ("", False)])
def test_a_provider_s_data_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, there: bool) -> None:
    (tmp_path / "data").mkdir()
    provider = SimpleNamespace(data_disk=str(tmp_path / name) if name else "")
    monkeypatch.setattr("envkit.host.probes.disks.find_provider", lambda: ("autodl", provider))

    found = [each for each in probe_disks()["disks"] if each.purpose == "data"]

    assert [each.path for each in found] == ([f"{tmp_path}/data"] if there else [])
