"""The remote of a source: its library, imported when it is needed, and whose token it gets."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from importlib.metadata import requires
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

from envkit import process
from envkit.errors import BackendError
from envkit.host.index import uv_command, uv_environ
from envkit.share import share_root

if TYPE_CHECKING:
    from envkit.hub.remote import Remote
    from envkit.hub.sources import HubFacts, Source


_SETTINGS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TQDM_DISABLE": "1",  # progress is told by us
    "MODELSCOPE_DOWNLOAD_MAX_RETRIES": "2",  # each waits longer; another source may be quicker
}
"""What the libraries read when they are imported, where the user has not set it."""


def prepare() -> None:
    """Sets up this process before a library is imported."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


def connect(source: Source, hub: HubFacts, *, named: bool, token: str | Literal[False] | None = None) -> Remote:
    """The source, ready to be asked; raises `BackendError` where its library is not installed.

    A mirror gets the user's token only where the user `named` it. `token` is another one than the environment's.
    """
    if not is_installed(hub):
        raise BackendError(f"{hub.package} is not installed beside envkit", hint=f"`{install_command()}`")
    prepare()
    token = token or (token_of(hub) if named or not source.mirror else False)
    match source.hub:
        case "huggingface":
            from envkit.hub.huggingface import HuggingFace

            return HuggingFace(source, token)
        case "modelscope":
            from envkit.hub.modelscope import ModelScope

            return ModelScope(source, token)


def token_of(hub: HubFacts) -> str | None:
    """The user's token in the environment; None: the library may know of one."""
    return next((os.environ[each] for each in hub.token if os.environ.get(each)), None)


def is_installed(hub: HubFacts) -> bool:
    """Whether its library is there."""
    return importlib.util.find_spec(hub.package) is not None


def install() -> None:
    """Installs the libraries beside envkit; raises `BackendError` where that fails."""
    if status := process.attend(_installation(), env=uv_environ()):
        raise BackendError(f"the libraries could not be installed: uv ended with {status}", hint="its words are above")
    importlib.invalidate_caches()


def install_command() -> str:
    """What a user may type instead."""
    return shlex.join(_installation())


def _installation() -> list[str]:
    """The locked ones where this is a checkout; else what the package names."""
    install = [*uv_command(), "pip", "install", "--python", sys.executable]
    locked = share_root() / "requirements" / "hub.txt"
    if locked.is_file():
        return [*install, "--require-hashes", "-r", str(locked)]
    wanted = [Requirement(each) for each in requires("envkit") or ()]
    return [*install, *(f"{each.name}{each.specifier}" for each in wanted if "hub" in str(each.marker))]
