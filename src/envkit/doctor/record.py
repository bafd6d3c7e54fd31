"""A machine's facts without what tells whose machine it is: so a bug report becomes a test."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from envkit.host.facts import HostFacts
from envkit.host.index import is_loopback
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_UUID = re.compile(r"\b(GPU|MIG)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_IPV4 = re.compile(r"\b(?!127\.)(?!0\.0\.0\.0)\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b")
_IPV6 = re.compile(r"(?<![\w:])(?!::1\b)[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){3,7}(?![\w:])")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>,]+")
_EMAIL = re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b")
_HOME = re.compile(r"(?<![\w.])/(home|Users)/[^/\s:\"']+")
_DRIVER_FIELDS = ("driver", "version", "cuda_driver", "glibc", "kernel", "os_version", "os_name", "client", "buildx")
"""Numbers with dots that are no addresses."""
_NOBODY = ("", "/", "root", "/root", "user", "host", "localhost")
"""Names that tell nothing."""


def anonymise(facts: HostFacts, *, user: str, host: str, home: str, public: Collection[str] = ()) -> HostFacts:
    """The facts with names, addresses, tokens and serial numbers replaced, each always by the same stand-in.

    `public` are hosts that everybody may know, such as the mirrors of the matrix; loopback stays, since findings hang
    on it.
    """
    plain = msgspec.to_builtins(facts)
    addresses = [address for text in _strings(plain) for address in _URL.findall(text)]
    hosts = {urlsplit(redact(each)).hostname or "" for each in addresses if not is_loopback(each)}
    # The longest first: the home has the user's name in it, and a host the domain.
    named = {home: "/home/user", host: "host", user: "user", **dict.fromkeys(hosts - {*public, ""}, "host.invalid")}
    cleaner = _Cleaner({name: each for name, each in named.items() if name not in _NOBODY}, frozenset(public))
    return msgspec.convert(_walk(plain, cleaner.clean), HostFacts)


@dataclass
class _Cleaner:
    named: dict[str, str]
    """What is told of the owner, and its stand-ins."""
    public: frozenset[str]
    uuids: dict[str, str] = dataclasses.field(default_factory=dict)

    def clean(self, text: str, field: str) -> str:
        """The text as anybody may read it; `field` is where it stands."""
        text = _UUID.sub(self._uuid, text)
        text = _URL.sub(self._address, text)
        text = _EMAIL.sub("somebody@host.invalid", text)
        if field not in _DRIVER_FIELDS:
            text = _IPV4.sub("192.0.2.1", text)
            text = _IPV6.sub("2001:db8::1", text)
        for name in sorted(self.named, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", self.named[name], text)
        return _HOME.sub("/home/user", text)

    def _uuid(self, match: re.Match[str]) -> str:
        stand_in = f"{match[1]}-00000000-0000-0000-0000-{len(self.uuids):012x}"
        return self.uuids.setdefault(match[0], stand_in)

    def _address(self, match: re.Match[str]) -> str:
        text = redact(match[0])
        if is_loopback(text) or text.startswith(("unix://", "npipe://")):
            return text.split("?")[0]
        parts = urlsplit(text)
        known = parts.hostname in self.public
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname if known else 'host.invalid'}{port}{parts.path if known else ''}"


def _walk(value: Any, clean: Callable[[str, str], str], field: str = "") -> Any:
    if isinstance(value, str):
        return clean(value, field)
    if isinstance(value, dict):
        return {key: _walk(each, clean, key) for key, each in value.items()}
    return [_walk(each, clean, field) for each in value] if isinstance(value, list | tuple) else value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        yield from _strings(each)
