"""Where things are kept: the user's word, else the provider's data disk, else the user's data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.host.home import Provider, envkit_home, find_provider, providers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The folders that this machine is made to have; no provider's variable is set."""
    there: set[str] = set()
    monkeypatch.setattr("envkit.host.home.Path.is_dir", lambda self: str(self) in there)
    for name in (each for provider in providers().values() for each in provider.variables):
        monkeypatch.delenv(name, raising=False)
    return there


def test_a_machine_of_nobody(folders: set[str]) -> None:
    assert find_provider() is None


@pytest.mark.parametrize(
    ("variable", "provider", "disk"),
    [
        ("AutoDLContainerUUID", "autodl", "/root/autodl-tmp"),
        ("RUNPOD_POD_ID", "runpod", "/workspace"),
        ("VAST_CONTAINERLABEL", "vast", "/workspace"),
    ],
)
def test_a_provider_is_known_by_its_variable(
    folders: set[str], monkeypatch: pytest.MonkeyPatch, variable: str, provider: str, disk: str
) -> None:
    monkeypatch.setenv(variable, "1")

    found = find_provider()

    assert found is not None
    assert (found[0], found[1].data_disk) == (provider, disk)


def test_a_provider_is_known_by_its_folder(folders: set[str]) -> None:
    folders.add("/root/autodl-tmp")

    found = find_provider()

    assert found is not None
    assert found[0] == "autodl"


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data disk of the provider that this machine is made to have; it does not exist yet."""
    disk = tmp_path / "disk"
    provider = Provider(title="Someone", variables=[], paths=[], data_disk=str(disk), advice="none", source="invented")
    monkeypatch.setattr("envkit.host.home.find_provider", lambda: ("someone", provider))
    return disk


def test_the_user_s_word_comes_first(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.mkdir()
    monkeypatch.setenv("ENVKIT_HOME", "~/here")

    assert envkit_home() == tmp_path / "home" / "here"


def test_a_relative_envkit_home_does_not_move_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVKIT_HOME", "here")

    assert envkit_home() == tmp_path / "here"


def test_the_data_disk_comes_next(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.mkdir()
    monkeypatch.setenv("ENVKIT_HOME", "")

    assert envkit_home() == disk / "envkit"


def test_a_data_disk_that_is_not_there_is_passed_over(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ENVKIT_HOME")

    assert envkit_home() == tmp_path / "home/.local/share/envkit"


def test_the_user_s_data_folder_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.host.home.find_provider", lambda: None)
    monkeypatch.delenv("ENVKIT_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert envkit_home() == tmp_path / "data" / "envkit"

    monkeypatch.delenv("XDG_DATA_HOME")
    assert envkit_home() == tmp_path / "home/.local/share/envkit"
