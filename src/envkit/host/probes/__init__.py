"""Looks at this machine: small probes, all at once, each with a time limit of its own, and none of which raises."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from envkit.host.facts import Endpoint, HostFacts
from envkit.host.probes.disks import probe_disks
from envkit.host.probes.engines import probe_docker, probe_podman
from envkit.host.probes.gpus import gpu_problem, probe_kernel_driver, probe_nvml, probe_pci, probe_toolkit
from envkit.host.probes.network import endpoint_probes
from envkit.host.probes.programs import probe_compilers, probe_cuda_folders, probe_pythons
from envkit.host.probes.settings import probe_provider, probe_settings
from envkit.host.probes.system import probe_system

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    Probe = Callable[[], Mapping[str, Any]]
    """Looks at one thing; the fields of `HostFacts` that it can tell."""

Name = TypeVar("Name", bound=str)

_PROBES: dict[str, tuple[Probe, float]] = {
    "nvml": (probe_nvml, 5),  # a driver without persistence mode wakes eight GPUs up in seconds
    "pci": (probe_pci, 1),
    "kernel driver": (probe_kernel_driver, 1),
    "toolkit": (probe_toolkit, 2),
    "docker": (probe_docker, 3),
    "podman": (probe_podman, 3),
    "disks": (probe_disks, 2),  # a dead network file system answers never
    "system": (probe_system, 1),
    "provider": (probe_provider, 1),
    "pythons": (probe_pythons, 2),
    "compilers": (probe_compilers, 2),
    "CUDA folders": (probe_cuda_folders, 2),
    "settings": (probe_settings, 2),
}
"""By name, with the seconds that each may take."""
PLAN = ("nvml", "pci", "docker", "disks", "system")
"""What a plan is made from."""
EVERYTHING = tuple(_PROBES)
"""All that takes no network."""


def probe_host(parts: Collection[str] = PLAN) -> HostFacts:
    """The facts of this machine, as far as the named probes tell."""
    answers, unknown = gather({name: _PROBES[name] for name in parts})
    nvml_silent = unknown.get("nvml")
    found: dict[str, Any] = {}
    for name in parts:
        for field, value in answers.get(name, {}).items():
            found[field] = found.get(field, ()) + value if field == "disks" else value
    problem = gpu_problem(found.pop("nvml_says", None) or nvml_silent, found.get("hardware"), found.get("gpus"))
    if problem is None and found.get("gpus") is None and "nvml" in parts:
        found["gpus"] = ()
    return msgspec.structs.replace(HostFacts(), **found, gpu_problem=problem, unknown=unknown)


def probe_network(image: str) -> tuple[Endpoint, ...]:
    """Which of the addresses that an environment is made from answer; `image` is the base image. Takes seconds."""
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
    answers: dict[Name, Mapping[str, Any]] = {}
    unknown: dict[Name, str] = {}

    def look(name: Name, probe: Probe) -> None:
        try:
            answers[name] = probe()
        except Exception as error:  # noqa: BLE001  # one probe's bug must not take the others with it
            unknown[name] = f"{type(error).__name__}: {error}"

    began = time.monotonic()
    threads = {
        name: threading.Thread(target=look, args=(name, probe), daemon=True) for name, (probe, _) in probes.items()
    }
    for thread in threads.values():
        thread.start()
    for name, (_, limit) in probes.items():
        threads[name].join(max(0.0, began + limit - time.monotonic()))
    for name, (_, limit) in probes.items():
        if name not in answers and name not in unknown:
            unknown[name] = f"no answer within {limit:g} s"
    return dict(answers), dict(unknown)
