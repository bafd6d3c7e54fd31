"""What the variables say, without anybody's password."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from envkit.host import home
from envkit.host.facts import Settings
from envkit.host.index import PROXIES
from envkit.host.probes import settings
from envkit.host.probes.settings import probe_provider, probe_settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable is set, and no file of the machine's own is found."""
    for name in (*PROXIES, *map(str.lower, PROXIES), "HF_ENDPOINT", "USE_MODELSCOPE_HUB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("envkit.host.index._PIP_CONFIGS", ("~/.pip/pip.conf",))
    monkeypatch.setattr(settings, "ca_bundle", lambda: None)


def test_a_machine_with_no_settings() -> None:
    assert probe_settings() == {"settings": Settings()}


def test_addresses_are_told_without_passwords(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("http_proxy", "me:secret@proxy:3128")
    monkeypatch.setenv("ALL_PROXY", "socks5h://me:se/cr@t@127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "localhost,10.0.0.0/8")
    monkeypatch.setenv("HTTP_PROXY", "")
    monkeypatch.setenv("UV_INDEX_URL", "https://me:secret@mirror.example/simple")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    monkeypatch.setattr(settings, "ca_bundle", lambda: tmp_path / "bundle.pem")

    assert probe_settings() == {
        "settings": Settings(
            proxies={
                "http_proxy": "***@proxy:3128",
                "HTTPS_PROXY": "http://***@proxy:3128",
                "NO_PROXY": "localhost,10.0.0.0/8",
                "ALL_PROXY": "socks5h://***@127.0.0.1:1080",
            },
            index="https://***@mirror.example/simple",
            huggingface="https://***@hub.example",
            certificates=f"{tmp_path}/bundle.pem",
        )
    }


@pytest.mark.parametrize(
    ("value", "chosen"), [("1", True), ("True", True), ("YES", True), ("0", False), ("", False), ("no", False)]
)
def test_modelscope(monkeypatch: pytest.MonkeyPatch, value: str, chosen: bool) -> None:
    monkeypatch.setenv("USE_MODELSCOPE_HUB", value)

    assert probe_settings()["settings"].modelscope is chosen


def test_a_broken_configuration_of_pip_hides_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("no section\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")

    assert probe_settings() == {"settings": Settings(huggingface="https://hub.example")}


# Providers ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One that a variable tells, and one that a folder does."""
    known = {
        "one": SimpleNamespace(variables=["ONE_RENTS_IT"], paths=[f"{tmp_path}/{'x' * 300}"], data_disk=""),
        "two": SimpleNamespace(variables=[], paths=[f"{tmp_path}/two"], data_disk=""),
    }
    monkeypatch.setattr(home, "providers", lambda: known)
    monkeypatch.delenv("ONE_RENTS_IT", raising=False)
    return tmp_path


def test_nobody_rents_it_out(providers: Path) -> None:
    assert probe_provider() == {"provider": ""}


def test_a_provider_by_its_variable(providers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_RENTS_IT", "")

    assert probe_provider() == {"provider": "one"}


def test_a_provider_by_its_folder(providers: Path) -> None:
    (providers / "two").mkdir()

    assert probe_provider() == {"provider": "two"}


def test_a_folder_in_somebody_else_s_home_is_no_provider(providers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_dir(path: Path) -> bool:  # as `Path.is_dir` does before Python 3.14
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_dir", is_dir)

    assert probe_provider() == {"provider": ""}
