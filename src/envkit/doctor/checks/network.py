"""What an environment is downloaded through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.doctor.checks import Machine, check
from envkit.host.index import is_loopback

if TYPE_CHECKING:
    from envkit.doctor.checks import Seen
    from envkit.host.facts import Endpoint


@check("proxy-loopback")
def proxy_loopback(machine: Machine) -> Seen:
    """127.0.0.1 inside a container is the container."""
    settings = machine.facts.settings
    loopback = {
        name: address
        for name, address in (settings.proxies if settings else {}).items()
        if name.upper() != "NO_PROXY" and is_loopback(address)
    }
    if machine.docker and loopback:
        yield {"proxies": ", ".join(f"{name}={address}" for name, address in loopback.items())}


@check("index-unreachable")
def index_unreachable(machine: Machine) -> Seen:
    """No packages, no environment."""
    for endpoint in _silent(machine, "index"):
        address = endpoint.address or "it"
        yield {"address": address, "problem": endpoint.problem, "mirrors": _mirrors(machine)}


@check("registry-unreachable")
def registry_unreachable(machine: Machine) -> Seen:
    """The base image is not here, and cannot be pulled."""
    for endpoint in _silent(machine, "registry"):
        base = machine.matrix.file.base_image
        image = endpoint.address or (base.name if base else "the base image")
        yield {"image": image, "problem": endpoint.problem, "mirrors": _mirrors(machine)}


@check("huggingface-unreachable")
def huggingface_unreachable(machine: Machine) -> Seen:
    """No models from Hugging Face."""
    if machine.facts.settings and machine.facts.settings.modelscope:
        return
    for endpoint in _silent(machine, "huggingface"):
        mirrors = (each.huggingface for each in machine.matrix.file.mirrors.values())
        mirror = next((each for each in mirrors if each and each != endpoint.address), endpoint.address)
        yield {"address": endpoint.address or "it", "problem": endpoint.problem, "mirror": mirror}


def _silent(machine: Machine, purpose: str) -> list[Endpoint]:
    return [each for each in machine.facts.endpoints or () if each.purpose == purpose and each.problem]


def _mirrors(machine: Machine) -> str:
    return " or ".join(f"`--mirror {name}`" for name in machine.matrix.file.mirrors)
