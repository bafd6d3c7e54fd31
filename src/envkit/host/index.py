"""Which package index, certificates and uv this machine is set up with; nothing here invents an address."""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

from envkit.errors import BackendError
from envkit.host.files import is_file
from envkit.host.home import envkit_home
from envkit.process import redact

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # RHEL, Rocky
)
_PIP_CONFIGS = ("/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_LOOPBACK = re.compile(r"(^|//)([^/@]*@)?(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:|/|$)")
_FOREIGN_SETTINGS = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE_NEWER", "UV_BUILD_CONSTRAINT", "UV_PRERELEASE", "UV_RESOLUTION",
                     "UV_PYTHON", "UV_PROJECT", "UV_NO_BINARY", "UV_ONLY_BINARY", "UV_TORCH_BACKEND", "VIRTUAL_ENV", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")  # fmt: skip
"""A user's settings for uv that would change what a lock means."""


def uv_command() -> list[str]:
    """The uv that envkit was installed with."""
    import uv

    try:
        return [os.fsdecode(uv.find_uv_bin())]
    except FileNotFoundError as error:
        raise BackendError(
            "uv is not installed beside envkit", hint="reinstall envkit: `pip install --force-reinstall uv`"
        ) from error


def package_index() -> str | None:
    """The address of the index that the user chose for uv or pip; None: uv's default."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        if os.environ.get(name):
            return os.environ[name]
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read(
            [Path(each).expanduser() for each in (*_PIP_CONFIGS, os.environ.get("PIP_CONFIG_FILE", os.devnull))]
        )
    except (configparser.Error, UnicodeDecodeError) as error:
        raise BackendError(
            f"pip's configuration cannot be read: {error}", hint="`pip config debug` shows where it is"
        ) from error
    return config.get("global", "index-url", fallback=None)


def serving(index: str | None) -> str:
    """What to call the index of an install: its address, without a password."""
    return redact(index) if index else "the package index"


def ca_bundle() -> Path | None:
    """The certificates that this machine trusts, as one file; company networks add their own there."""
    named = (os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
    return next((Path(each) for each in (*named, *_BUNDLES) if each and is_file(Path(each))), None)


def split_proxies() -> tuple[dict[str, str], list[str]]:
    """The host's proxy variables that mean the same inside a container, and the names of those that cannot.

    `http://127.0.0.1:7897` inside a container is the container itself.
    """
    names = (spelling for name in PROXIES for spelling in (name, name.lower()) if os.environ.get(spelling))
    found = {name: os.environ[name] for name in names}
    dropped = [name for name, value in found.items() if name.upper() != "NO_PROXY" and is_loopback(value)]
    return {name: value for name, value in found.items() if name not in dropped}, dropped


def is_loopback(address: str) -> bool:
    """Whether the address leads to the machine that uses it."""
    return bool(_LOOPBACK.search(address))


def uv_cache() -> Path:
    """Where uv keeps downloads: on the same file system as the environments, so that these cost links, not copies."""
    named = os.environ.get("UV_CACHE_DIR")
    return Path(named).expanduser().absolute() if named else envkit_home() / "cache" / "uv"


def uv_environ(index: str | None = None) -> dict[str, str]:
    """The environment for uv: the user's, with their index and certificates, without what would bend a lock.

    `index` overrides the index that the machine is set up with.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _FOREIGN_SETTINGS}
    environ.setdefault("UV_CACHE_DIR", str(uv_cache()))
    environ.setdefault("UV_HTTP_TIMEOUT", "120")
    address, bundle = index or package_index(), ca_bundle()
    if address:
        environ["UV_DEFAULT_INDEX"] = address
        environ.pop("UV_INDEX_URL", None)
    if bundle:
        environ["SSL_CERT_FILE"] = str(bundle)
    return environ
