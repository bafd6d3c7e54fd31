"""A machine's facts without what tells whose machine it is: so a bug report becomes a test."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from envkit.host.facts import HostFacts
from envkit.host.index import is_loopback
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

HOST = "host.invalid"
"""Stands for every host that not everybody knows (RFC 2606)."""
_UUID = re.compile(r"\b(GPU|MIG)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F]*(?![\w:])")
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s\"'<>,`]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w")
_HOME = re.compile(r"/(home|Users)/[^/\s:\"']+")
_TOKEN = re.compile(
    r"\b(?:hf_|sk-|ghp_|gho_|github_pat_|glpat-|pypi-|xox[abp]-|AKIA|eyJ)[\w.-]{8,}"
    r"|(?i:(?<=token=)|(?<=password=)|(?<=secret=)|(?<=key=)|(?<=bearer ))[^\s&\"']+"
)
"""Of Hugging Face, OpenAI and those who write alike, GitHub, GitLab, PyPI, Slack, AWS; web tokens; whatever says so."""
_KERNEL = re.compile(
    r"\d+(?:[.-]\d+)*"
    r"(?:-(?:64k|amd64|arm64|aws|azure|cloud|gcp|generic|gke|kvm|lowlatency|microsoft-standard-WSL2|nvidia|oracle|pve|tegra)\b"
    r"|\.(?:el\d+(?:_\d+)?|fc\d+|amzn\d+|x86_64|aarch64)\b)*\+?"
)
"""The release of a distribution's kernel; a suffix of one's own tells who built it."""
_PLAIN = {"architecture", "buildx", "cdi_devices", "cgroup_driver", "cgroup_version", "compute_capability", "container",
          "cuda_driver", "devices", "driver", "fabric", "fabric_manager", "glibc", "hardware", "libraries", "modules", "name",
          "nodes", "nvml", "os", "pci_devices", "os_name", "os_version", "provider", "purpose", "runtimes", "state", "storage_driver",
          "uuid", "version"}  # fmt: skip
"""Fields with technical words and numbers, where a name or an address of the owner's has no place, and its look-alike
(a user `nvidia`, a version of four numbers) must stay."""
_KNOWN_TO_ALL = {"admin", "azureuser", "centos", "colab", "debian", "docker", "ec2-user", "envkit", "fedora", "gpu", "host",
                 "jovyan", "localhost", "localhost.localdomain", "nobody", "nvidia", "opc", "podman", "rocky", "root",
                 "runner", "ubuntu", "user", "vagrant", "workspace", "app", "bin", "boot", "cache", "data", "dev", "etc",
                 "home", "lib", "mnt", "opt", "proc", "run", "share", "snap", "srv", "sys", "tmp", "usr", "var", "work"}  # fmt: skip
"""Names of accounts and machines that tell nothing, and those of folders on every machine."""


def anonymise(
    facts: HostFacts, *, users: Collection[str], host: str, home: str, public: Collection[str] = ()
) -> HostFacts:
    """The facts with names, addresses, tokens and serial numbers replaced, each always by the same stand-in.

    `public` are hosts that everybody may know, such as the mirrors of the matrix; loopback stays, since findings hang
    on it.
    """
    plain = msgspec.to_builtins(facts)
    named = dict.fromkeys(_hosts(plain) - {*public}, HOST)
    named |= {host: "host", host.split(".")[0]: "host", **dict.fromkeys(users, "user")}
    named = {name: each for name, each in named.items() if len(name) > 1 and name.lower() not in _KNOWN_TO_ALL}
    if home.count("/") > 1:
        named[home] = "/home/user"  # wherever that is
    cleaner = _Cleaner(named, frozenset(public))
    return msgspec.convert(_walk(plain, cleaner.clean), HostFacts)


@dataclass
class _Cleaner:
    named: dict[str, str]
    """What is told of the owner, and its stand-ins."""
    public: frozenset[str]
    uuids: dict[str, str] = field(default_factory=dict)

    def clean(self, text: str, where: str) -> str:
        """The text as anybody may read it; `where` is the field that it stands in."""
        text = _UUID.sub(self._uuid, text)
        if where == "kernel":
            release = _KERNEL.match(text)
            return text if release and release[0] == text else f"{release[0] if release else ''}-custom".lstrip("-")
        if where in _PLAIN:
            return text
        if where.upper() == "NO_PROXY":
            kept = [each for each in re.split(r"[,\s]+", text) if is_loopback(each)]
            return ",".join(kept) or HOST
        text = _TOKEN.sub("***", _URL.sub(self._address, text))
        text = _EMAIL.sub(f"somebody@{HOST}", text)
        text = _IPV6.sub(_ipv6, _IPV4.sub(_ipv4, text))
        for name in sorted(self.named, key=len, reverse=True):  # the home has the user's name in it
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", self.named[name], text, flags=re.IGNORECASE)
        return _HOME.sub(r"/\1/user", text)

    def _uuid(self, match: re.Match[str]) -> str:
        stand_in = f"{match[1]}-00000000-0000-0000-0000-{len(self.uuids):012x}"
        return self.uuids.setdefault(match[0], stand_in)

    def _address(self, match: re.Match[str]) -> str:
        text = redact(match[0])
        scheme, _, rest = text.partition("://")
        if is_loopback(text) or scheme in ("unix", "http+unix", "npipe", "fd"):
            return re.split(r"[?#]", text)[0]
        host, port = _host_of(text)
        return f"{scheme}://{host}{port}{_path(rest)}" if host in self.public else f"{scheme}://{HOST}{port}"


def _path(rest: str) -> str:
    return re.split(r"[?#]", "/".join(["", *rest.split("/")[1:]]))[0]


def _host_of(address: str) -> tuple[str, str]:
    """The host in an address, with or without a scheme, and `:port`; empty where there is none."""
    try:
        parts = urlsplit(redact(address if "://" in address else f"//{address}"))
        return parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "", ""


def _hosts(plain: dict[str, Any]) -> set[str]:
    """Every host that an address names: in URLs wherever they stand, of proxies, and of the base image's registry."""
    found = {_host_of(each)[0] for text in _strings(plain) for each in _URL.findall(text) if not is_loopback(each)}
    proxies = (plain["settings"] or {}).get("proxies", {})
    found |= {_host_of(address)[0] for name, address in proxies.items() if name.upper() != "NO_PROXY"}
    for endpoint in plain["endpoints"] or ():
        registry, slash, _ = endpoint["address"].partition("/")
        if endpoint["purpose"] == "registry" and slash and re.search(r"[.:]", registry):
            found.add(_host_of(registry)[0])
    return {each for each in found if each and not is_loopback(each)}


def _ipv4(match: re.Match[str]) -> str:
    try:
        address = ipaddress.IPv4Address(match[0])
    except ValueError:
        return match[0]
    return match[0] if address.is_loopback or address.is_unspecified else "192.0.2.1"


def _ipv6(match: re.Match[str]) -> str:
    try:
        address = ipaddress.IPv6Address(match[0])
    except ValueError:
        return match[0]
    return match[0] if address.is_loopback or address.is_unspecified else "2001:db8::1"


def _walk(value: Any, clean: Callable[[str, str], str], where: str = "") -> Any:
    match value:
        case str():
            return clean(value, where)
        case dict():
            inner = {key: "unknown" if where == "unknown" else key for key in value}  # its keys are probes, not fields
            return {key: _walk(each, clean, inner[key]) for key, each in value.items()}
        case list() | tuple():
            return [_walk(each, clean, where) for each in value]
        case _:
            return value


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list() | tuple():
            for each in value:
                yield from _strings(each)
