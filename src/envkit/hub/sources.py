"""Where models come from: hubs, their mirrors and their caches, from sources.yaml and a user's own file."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from envkit.apps.workspace import cache_folder
from envkit.errors import MatrixError, UsageError
from envkit.matrix.schema import Cache  # noqa: TC001  # msgspec reads it
from envkit.matrix.source import Source as Reader
from envkit.share import overlay_file

if TYPE_CHECKING:
    from collections.abc import Mapping

Hub = Literal["huggingface", "modelscope"]
Kind = Literal["model", "dataset"]


class HubFacts(Struct, frozen=True, forbid_unknown_fields=True):
    """A hub: whatever endpoint it is reached at, its library and its cache are the same."""

    cache: Cache
    """As frameworks have it."""
    token: list[str]
    """Variables that may hold the user's, the first that is set counts."""
    package: str
    """Its library, as Python imports it."""


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint of a hub."""

    hub: Hub
    about: str
    endpoint: str
    source: str
    variable: str = ""
    """Holds another endpoint, where it is set."""
    xet: bool = True
    """Whether it serves Hugging Face's chunked storage too."""
    mirror: bool = False
    """Whether it is somebody else's copy: it takes no uploads, and gets a token only where the user names it."""

    @property
    def address(self) -> str:
        """Without a slash at its end, which makes addresses with two of them (transformers #17611)."""
        return (os.environ.get(self.variable) or self.endpoint).rstrip("/")


class Sources(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of sources."""

    sources: dict[str, Source] = field(default_factory=dict)
    hubs: dict[Hub, HubFacts] = field(default_factory=dict)


def read_sources() -> Sources:
    """envkit's sources with the user's; raises `MatrixError` with every fault of that file."""
    reader = Reader()
    own = reader.read(Path(__file__).with_name("sources.yaml"), Sources)
    path = overlay_file().with_name("sources.yaml")
    more = reader.read(path, Sources) if path.is_file() else Sources()
    if own is None or more is None:
        raise MatrixError(reader.faults, subject="the sources of models have", again="envkit model pull --help")
    return Sources({**own.sources, **more.sources}, {**own.hubs, **more.hubs})


def caches(hubs: Mapping[Hub, HubFacts]) -> dict[Hub, Path]:
    """The folders of the hubs' caches, as every app here sees them; they need not exist."""
    return {hub: cache_folder(hub, facts.cache) for hub, facts in hubs.items()}


def choose_sources(wish: str, sources: Mapping[str, Source]) -> dict[str, Source]:
    """The sources to try, in order; raises `UsageError` for a name that is not known."""
    if wish == "auto":
        first = "modelscope" if os.environ.get("USE_MODELSCOPE_HUB", "0").lower() in ("1", "true") else ""
        return dict(sorted(sources.items(), key=lambda each: each[1].hub != first))
    if wish not in sources:
        near = [f"`{each}`" for each in get_close_matches(wish, ["auto", *sources])]
        there = f"there are: auto, {', '.join(sources)}"
        raise UsageError(f"unknown source: {wish}", hint=f"did you mean {' or '.join(near)}?" if near else there)
    return {wish: sources[wish]}
