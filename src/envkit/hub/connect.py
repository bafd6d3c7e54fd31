"""The remote of a source: its library, imported when it is needed, and whose token it gets."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.requirements import Requirement

from envkit.errors import BackendError

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


def connect(source: Source, hub: HubFacts, *, named: bool) -> Remote:
    """The source, ready to be asked; raises `BackendError` where its library is not installed.

    A mirror gets the user's token only where the user `named` it.
    """
    if not importlib.util.find_spec(hub.package):
        raise BackendError(f"{hub.package} is not installed beside envkit", hint=f"`{install_command()}`")
    prepare()
    token: str | Literal[False] | None = token_of(hub) if named or not source.mirror else False
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


def install_command() -> str:
    """What installs the libraries beside envkit: the locked ones, where this is a checkout."""
    uv = f"{Path(sys.executable).parent / 'uv'} pip install --python {sys.executable}"
    locked = Path(__file__).resolve().parents[3] / "requirements" / "hub.txt"
    if locked.is_file():
        return f"{uv} --require-hashes -r {locked}"
    try:
        wanted = [Requirement(each) for each in requires("envkit") or ()]
    except PackageNotFoundError:
        wanted = []
    return " ".join([uv, *(f"'{each.name}{each.specifier}'" for each in wanted if "hub" in str(each.marker))])
