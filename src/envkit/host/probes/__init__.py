"""Looks at this machine: small probes, all at once, each with a time limit of its own, and none of which raises."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from envkit.host.facts import Endpoint, HostFacts
from envkit.host.home import providers
from envkit.host.probes.disks import probe_disks
from envkit.host.probes.engines import probe_docker, probe_podman
from envkit.host.probes.gpus import judge_gpus, probe_kernel_driver, probe_nvml, probe_pci, probe_toolkit
from envkit.host.probes.programs import probe_compilers, probe_cuda_folders, probe_pythons
from envkit.host.probes.settings import probe_provider, probe_settings
from envkit.host.probes.system import probe_system
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Probe = Callable[[], Mapping[str, Any]]
    """Looks at one thing; the fields of `HostFacts` that it can tell."""

Name = TypeVar("Name", bound=str)

_PROBES: dict[str, tuple[Probe, float]] = {
    "nvml": (probe_nvml, 5),  # a driver without persistence mode wakes eight GPUs up in seconds
    "pci": (probe_pci, 3),
    "kernel driver": (probe_kernel_driver, 3),
    "toolkit": (probe_toolkit, 3),
    "docker": (probe_docker, 3),
    "podman": (probe_podman, 3),
    "disks": (probe_disks, 3),  # a dead network file system answers never
    "system": (probe_system, 3),
    "provider": (probe_provider, 3),
    "pythons": (probe_pythons, 3),
    "compilers": (probe_compilers, 3),
    "CUDA folders": (probe_cuda_folders, 3),
    "settings": (probe_settings, 3),
}
"""By name, with the seconds that each may take."""
PLAN = ("nvml", "pci", "docker", "disks", "system")
"""What a plan is made from."""
EVERYTHING = tuple(_PROBES)
"""All that takes no network."""


def probe_host(parts: Collection[str] = PLAN) -> HostFacts:
    """The facts of this machine, as far as the named probes tell."""
    # msgspec makes a type's decoder at its first use, and two threads that do so at once crash the interpreter (0.22.0,
    # 5 of 60 starts of a stress test): nothing is decoded in a probe, and what probes need decoded is decoded before.
    providers()
    told, unknown = gather({name: _PROBES[name] for name in parts})
    found: dict[str, Any] = {}
    for name, answer in told.items():
        try:
            facts = _as_facts(answer)
        except (msgspec.MsgspecError, TypeError) as error:
            unknown[name] = _reason(error)
            continue
        for field, value in facts.items():
            found[field] = (found.get(field) or ()) + value if field == "disks" else value
    if "nvml" in parts:
        found |= judge_gpus(found, unknown.get("nvml"))
    return msgspec.structs.replace(HostFacts(), **found, unknown=unknown)


def _as_facts(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a probe told, as facts that can be printed and read again, whatever an engine or a variable holds."""
    facts = msgspec.convert(printable(msgspec.to_builtins(told)), HostFacts)
    return {field: getattr(facts, field) for field in told}


def printable(value: Any) -> Any:
    """The same without what is not text: a variable or a file's name may hold any bytes."""
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {printable(key): printable(each) for key, each in value.items()}
        case list() | tuple():
            return [printable(each) for each in value]
        case _:
            return value


def probe_network(image: str) -> tuple[Endpoint, ...]:
    """Which of the addresses that an environment is made from answer; `image` is the base image. Takes seconds."""
    from envkit.host.probes.network import endpoint_probes  # TLS and HTTP, which nobody else needs

    probes = endpoint_probes(image)
    answers, unknown = gather(probes)
    return tuple(
        answers[name]["endpoint"] if name in answers else Endpoint(purpose=name, address="", problem=unknown[name])
        for name in probes
    )


def gather(probes: Mapping[Name, tuple[Probe, float]]) -> tuple[dict[Name, Mapping[str, Any]], dict[Name, str]]:
    """What the probes told, and the reasons of those that told nothing; takes as long as the slowest of them.

    A probe that hangs (in a driver, on a dead disk) is left behind: its thread ends with the process.
    """
    told: dict[Name, Mapping[str, Any] | str] = {}

    def look(name: Name, probe: Probe) -> None:
        try:
            told[name] = probe()
        except Exception as error:  # noqa: BLE001  # one probe's bug must not take the others with it
            told[name] = _reason(error)

    began = time.monotonic()
    threads = {}
    for name, (probe, _) in probes.items():
        thread = threading.Thread(target=look, args=(name, probe), daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine lets this user start no more threads
            told[name] = _reason(error)
        else:
            threads[name] = thread
    for name, thread in threads.items():
        thread.join(max(0.0, began + probes[name][1] - time.monotonic()))
    in_time = told.copy()  # who comes later is not heard
    answers: dict[Name, Mapping[str, Any]] = {}
    unknown: dict[Name, str] = {}
    for name, (_, limit) in probes.items():
        answer = in_time.get(name, f"no answer within {limit:g} s")
        if isinstance(answer, str):
            unknown[name] = answer
        else:
            answers[name] = answer
    return answers, unknown


def _reason(error: Exception) -> str:
    return printable(redact(f"{type(error).__name__}: {error}"))  # type: ignore[no-any-return]  # text stays text
