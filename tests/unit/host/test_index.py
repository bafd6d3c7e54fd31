"""The package index, certificates and proxies that this machine is set up with, in their order of precedence."""

from __future__ import annotations

from pathlib import Path

import pytest

from envkit.errors import BackendError
from envkit.host.index import ca_bundle, is_loopback, package_index, split_proxies, uv_command, uv_environ


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without settings, whose /etc is a folder of the test."""
    etc = tmp_path / "etc"
    etc.mkdir()
    monkeypatch.setattr(
        "envkit.host.index._PIP_CONFIGS", (str(etc / "pip.conf"), "~/.pip/pip.conf", "~/.config/pip/pip.conf")
    )
    monkeypatch.setattr("envkit.host.index._BUNDLES", (str(etc / "debian.crt"), str(etc / "rhel.crt")))
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return etc


def pip_config(path: Path, index: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[global]\nindex-url = {index}\ntimeout = 5\n")
    return path


# The index ------------------------------------------------------------------------------------------------------------


def test_nobody_chose_an_index() -> None:
    assert package_index() is None
    assert "UV_DEFAULT_INDEX" not in uv_environ()


def test_the_index_of_pip_s_files_the_nearest_to_the_user_wins(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for path in (bare_machine / "pip.conf", tmp_path / "home/.pip/pip.conf", tmp_path / "home/.config/pip/pip.conf"):
        pip_config(path, f"https://{path.parent.name.strip('.')}.example/simple")
        found.append(package_index())
    monkeypatch.setenv("PIP_CONFIG_FILE", str(pip_config(tmp_path / "own.conf", "https://own.example/%20/simple")))
    found.append(package_index())

    assert found == [
        "https://etc.example/simple",
        "https://pip.example/simple",
        "https://pip.example/simple",
        "https://own.example/%20/simple",
    ]


def test_the_index_of_a_variable_wins_over_files_and_uv_s_over_pip_s(
    bare_machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip_config(bare_machine / "pip.conf", "https://file.example/simple")
    found = []
    for name in ("PIP_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, f"https://{name}.example/simple")
        found.append(package_index())
    monkeypatch.setenv("UV_DEFAULT_INDEX", "")
    found.append(package_index())

    assert found == [
        "https://PIP_INDEX_URL.example/simple",
        "https://UV_INDEX_URL.example/simple",
        "https://UV_DEFAULT_INDEX.example/simple",
        "https://UV_INDEX_URL.example/simple",
    ]


def test_a_pip_file_without_an_index(bare_machine: Path) -> None:
    (bare_machine / "pip.conf").write_text("[install]\nno-warn-script-location = true\n")

    assert package_index() is None


def test_a_broken_pip_file_is_one_clear_error(bare_machine: Path) -> None:
    (bare_machine / "pip.conf").write_text("index-url = https://index.example/simple\n")

    with pytest.raises(BackendError):
        package_index()


# uv -------------------------------------------------------------------------------------------------------------------


def test_uv_is_the_one_that_envkit_was_installed_with() -> None:
    [program] = uv_command()

    assert Path(program).is_absolute()
    assert Path(program).is_file()


def test_uv_gets_the_index_and_the_certificates_of_the_machine(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare_machine / "rhel.crt").touch()
    monkeypatch.setenv("UV_INDEX_URL", "https://old.example/simple")

    environ = uv_environ()

    assert environ["UV_DEFAULT_INDEX"] == "https://old.example/simple"
    assert "UV_INDEX_URL" not in environ
    assert environ["SSL_CERT_FILE"] == str(bare_machine / "rhel.crt")
    assert environ["UV_CACHE_DIR"] == str(tmp_path / "home/envkit/cache/uv")


def test_a_mirror_wins_over_the_machine_s_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://machine.example/simple")

    assert uv_environ("https://mirror.example/simple")["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"


@pytest.mark.parametrize("name", ["UV_CACHE_DIR", "UV_HTTP_TIMEOUT", "UV_PYTHON_INSTALL_MIRROR", "EDITOR"])
def test_uv_keeps_the_user_s_settings(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "mine")

    assert uv_environ()[name] == "mine"


@pytest.mark.parametrize(
    "name", ["UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER", "UV_PRERELEASE", "UV_RESOLUTION", "UV_PYTHON",
             "UV_NO_BINARY", "UV_ONLY_BINARY", "UV_TORCH_BACKEND", "VIRTUAL_ENV"]
)  # fmt: skip
def test_uv_does_not_get_what_would_bend_a_lock(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "mine")

    assert name not in uv_environ()


# Certificates ---------------------------------------------------------------------------------------------------------


def test_certificates_the_first_that_is_there(
    bare_machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ca_bundle() is None

    found = []
    for name in ("rhel.crt", "debian.crt"):
        (bare_machine / name).touch()
        found.append(ca_bundle())
    for variable in ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        (tmp_path / variable).touch()
        monkeypatch.setenv(variable, str(tmp_path / variable))
        found.append(ca_bundle())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone"))
    found.append(ca_bundle())

    assert [each and each.name for each in found] == [
        "rhel.crt",
        "debian.crt",
        "CURL_CA_BUNDLE",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "REQUESTS_CA_BUNDLE",
    ]


# Proxies --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "loops"),
    [
        ("http://127.0.0.1:7897", True),
        ("http://127.9.9.9", True),
        ("socks5h://localhost:1080", True),
        ("http://me:secret@localhost/", True),
        ("http://[::1]:8080", True),
        ("http://proxy.example:8080", False),
        ("http://localhost.example:8080", False),
        ("http://10.127.0.0:1", False),
        ("localhost,127.0.0.1,.example", False),  # NO_PROXY
    ],
)
def test_an_address_that_leads_back_to_its_user(address: str, loops: bool) -> None:
    assert is_loopback(address) is loops


def test_a_loopback_proxy_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "127.0.0.1:7897")

    assert split_proxies() == ({}, ["HTTP_PROXY"])


def test_proxies_of_the_host_alone_are_told_from_those_that_a_container_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:7897")
    monkeypatch.setenv("https_proxy", "http://proxy.example:8080")
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setenv("ALL_PROXY", "")

    assert split_proxies() == (
        {"https_proxy": "http://proxy.example:8080", "NO_PROXY": "localhost,127.0.0.1"},
        ["HTTP_PROXY"],
    )
