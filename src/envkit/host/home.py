"""Where envkit keeps environments, instances and caches on this machine."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import yaml
from msgspec import Struct, convert

from envkit.host.files import is_folder


class Provider(Struct, frozen=True, forbid_unknown_fields=True):
    """Someone who rents out machines that are containers themselves."""

    title: str
    """As it calls itself."""
    variables: list[str]
    paths: list[str]
    advice: str
    """What is peculiar to its machines."""
    source: str
    data_disk: str = ""
    """Large, and kept when the machine is stopped."""
    ports: list[int] = []
    """The only ones that can be reached from outside; empty: the user chooses them."""


@cache
def providers() -> dict[str, Provider]:
    """The providers that are known, by their names in host facts."""
    text = (Path(__file__).parent / "providers.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), dict[str, Provider])


def find_provider() -> tuple[str, Provider] | None:
    """The provider of this machine, as far as its variables and folders tell."""
    for name, provider in providers().items():
        if any(each in os.environ for each in provider.variables) or any(
            is_folder(Path(each)) for each in provider.paths
        ):
            return name, provider
    return None


def envkit_home() -> Path:
    """ENVKIT_HOME, else a folder on the provider's data disk, else in the user's data folder; it need not exist yet.

    The system disk of a rented container is small (30 GB on AutoDL), and one environment takes 6 GB.
    """
    if os.environ.get("ENVKIT_HOME"):
        return Path(os.environ["ENVKIT_HOME"]).expanduser().absolute()
    found = find_provider()
    if found and found[1].data_disk and os.access(found[1].data_disk, os.W_OK):
        return Path(found[1].data_disk) / "envkit"
    return Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "envkit"
