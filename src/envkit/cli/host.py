"""`envkit host`: what this machine is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from envkit.cli.console import json_option, matrix_option, print_json
from envkit.cli.mirror import best_mirror, chosen_mirror, measure_all, mirror_option, told
from envkit.host.home import providers
from envkit.host.probes import EVERYTHING, probe_host
from envkit.matrix.load import load_matrix
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.host.facts import Engine, Gpu, HostFacts, MigDevice, System
    from envkit.host.probes.mirrors import Measured
    from envkit.matrix.schema import Mirror

_UNKNOWN = "not known"
_PURPOSES = {
    "engine": "Docker's images",
    "podman": "podman's images",
    "home": "ENVKIT_HOME",
    "cache": "uv's cache",
    "shm": "shared memory",
    "data": "the provider's data disk",
}


@click.command("host")
@mirror_option
@json_option
@matrix_option
def host_command(mirror: str | None, as_json: bool, overlay: Path | None) -> None:
    """Show the facts of this machine that plans are made from.

    With --json, another machine's `envkit plan FRAMEWORK --facts FILE` takes them. With --mirror, shows what would be
    downloaded from where; `auto` asks every address that is known.
    """
    lines: list[tuple[str, str]] = []
    extra: dict[str, object] = {}
    if mirror:
        matrix = load_matrix(overlay)
        measured = measure_all(matrix) if mirror == "auto" else {}
        chosen = best_mirror(measured, matrix) if mirror == "auto" else chosen_mirror(matrix, mirror)
        lines = [("mirror", f"{mirror}: {told(chosen)}"), *_measured_lines(measured)]
        extra = {"mirror": _shown(chosen), "measured": {kind: [*map(_shown, each)] for kind, each in measured.items()}}
    facts = probe_host(EVERYTHING)
    if as_json:
        print_json({**msgspec.to_builtins(facts), **extra})
        return
    last = ""
    for label, text in [*_lines(facts), *lines]:
        click.echo(f"{label if label != last else '':<10}{text}")
        last = label


def _shown(found: Mirror | Measured | None) -> dict[str, object] | None:
    """Its fields, without passwords in addresses."""
    fields = msgspec.to_builtins(found) if found else None
    return fields and {name: redact(each) if isinstance(each, str) else each for name, each in fields.items()}


def _measured_lines(measured: dict[str, list[Measured]]) -> Iterator[tuple[str, str]]:
    for kind, each in measured.items():
        for one in each:
            where = redact(one.address) or "the usual one"
            yield "asked", f"{kind.replace('_', ' ')} {where}: {one.problem or f'{one.seconds:.1f} s'}"


def _lines(facts: HostFacts) -> Iterator[tuple[str, str]]:
    yield from _gpu_lines(facts)
    yield from _driver_lines(facts)
    yield "Docker", _engine(facts.engine)
    yield "podman", _engine(facts.podman)
    yield "system", _system(facts.system)
    known = providers().get(facts.provider or "")
    if container := known.title if known else facts.provider or (facts.system and facts.system.container):
        yield "container", container
    for disk in facts.disks or ():
        room = (
            f"{_gib(disk.free_mib)} of {_gib(disk.total_mib)} free" if disk.free_mib is not None else "room not known"
        )
        yield "disk", f"{room} for {_PURPOSES[disk.purpose]}: {disk.path} (file system {disk.filesystem or _UNKNOWN})"
    if facts.pythons is not None:
        yield "Python", ", ".join(each.version for each in facts.pythons) or "none"
    if facts.compilers is not None:
        yield "compiler", ", ".join(facts.compilers) or "none"
    for folder in facts.cuda_folders or ():
        yield "CUDA", f"{folder.path} on LD_LIBRARY_PATH has {', '.join(folder.libraries)}"
    if settings := facts.settings:
        yield "index", settings.index or "uv's default"
        yield "models", settings.huggingface or ("ModelScope" if settings.modelscope else "Hugging Face")
        for name, address in settings.proxies.items():
            yield "proxy", f"{name}={address}"
    for name, reason in facts.unknown.items():
        yield "not known", f"{name}: {reason}"


def _gpu_lines(facts: HostFacts) -> Iterator[tuple[str, str]]:
    for gpu in facts.gpus or ():
        label, capability = f"GPU {gpu.index}", f"compute capability {gpu.compute_capability or _UNKNOWN}"
        yield label, ", ".join(filter(None, [gpu.name, _memory(gpu), capability, gpu.uuid]))
        if gpu.mig and not gpu.mig_devices:
            yield label, "in MIG mode, without slices"
        for each in gpu.mig_devices:
            yield label, f"slice {each.index}: {', '.join(filter(None, [each.name, _memory(each), each.uuid]))}"
        if gpu.fabric and gpu.fabric != "not supported":
            yield label, f"NVSwitch fabric {gpu.fabric}"
    if not facts.gpus:
        problem = f"there is one, but {facts.gpu_problem}" if facts.gpu_problem else None
        yield "GPU", problem or ("none from NVIDIA" if facts.gpus is not None else _UNKNOWN)


def _driver_lines(facts: HostFacts) -> Iterator[tuple[str, str]]:
    if facts.driver:
        yield "driver", f"{facts.driver}, for CUDA up to {facts.cuda_driver or _UNKNOWN}"
    kernel = facts.kernel_driver
    if kernel and kernel.version:
        kind = "open" if kernel.open else "proprietary"
        modules = _UNKNOWN if kernel.modules is None else ", ".join(kernel.modules) or "none"
        yield "driver", f"kernel module {kernel.version} ({kind}), loaded: {modules}"
    if facts.nvswitches:
        yield "driver", f"{facts.nvswitches} NVSwitches, fabric manager {facts.fabric_manager or _UNKNOWN}"
    if toolkit := facts.toolkit:
        if path := toolkit.path or toolkit.hook:
            yield "toolkit", path
        for spec in toolkit.cdi_specs:
            driver = f", made for driver {spec.driver}" if spec.driver else ""
            yield "toolkit", f"{spec.path}: {len(spec.devices)} CDI devices{driver}"


def _engine(engine: Engine | None) -> str:
    if engine is None:
        return _UNKNOWN
    if engine.state != "usable":
        return engine.problem
    parts = [engine.version or f"version {_UNKNOWN}"]
    parts += [f"at {engine.endpoint}"] if engine.endpoint else []
    parts += [f"buildx {engine.buildx}"] if engine.buildx else []
    marks = {
        "rootless": engine.rootless,
        "remote": engine.remote,
        "Docker Desktop": engine.desktop,
        "snap": engine.snap,
    }
    parts += [word for word, true in marks.items() if true]
    parts += [f"cgroups by {engine.cgroup_driver}"] if engine.cgroup_driver else []
    if "nvidia" in (engine.runtimes or ()):
        parts.append("nvidia runtime")
    if engine.cdi_devices:
        parts.append(f"CDI: {', '.join(engine.cdi_devices)}")
    if engine.mirrors:
        parts.append(f"mirrors {', '.join(engine.mirrors)}")
    return ", ".join(parts)


def _system(system: System | None) -> str:
    if system is None:
        return _UNKNOWN
    memory = "memory not known" if system.memory_mib is None else f"{_gib(system.memory_mib)} of memory"
    limit = f" (limited to {_gib(system.memory_limit_mib)})" if system.memory_limit_mib is not None else ""
    wsl = ", WSL" if system.wsl else ""
    return (
        f"{system.os_name or f'system {_UNKNOWN}'}, {system.architecture or f'architecture {_UNKNOWN}'}, "
        f"kernel {system.kernel or _UNKNOWN}, glibc {system.glibc or _UNKNOWN}{wsl}; "
        f"{f'CPUs {_UNKNOWN}' if system.cpus is None else f'{system.cpus} CPUs'}, {memory}{limit}"
    )


def _memory(device: Gpu | MigDevice) -> str:
    return f"memory {_UNKNOWN}" if device.memory_mib is None else f"{device.memory_mib} MiB"


def _gib(mib: int | None) -> str:
    return _UNKNOWN if mib is None else f"{mib / 1024:.1f} GiB"
