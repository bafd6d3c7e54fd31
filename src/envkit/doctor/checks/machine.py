"""Limits, memory and file systems."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from envkit.doctor.checks import Machine, check
from envkit.doctor.checks.gpu import driver_is_silent
from envkit.matrix.fit import listed
from envkit.matrix.warn import space_needed

if TYPE_CHECKING:
    from envkit.doctor.checks import Seen

FULL_MIB = 1024
LEAST_SHM_MIB = 1024
"""Containers get 64 MiB unless somebody asks for more; one DataLoader worker of a training run wants more than that."""
LEAST_NOFILE = 4096
"""Debian's and Docker 29's soft limit is 1024; tokenizers and DataLoaders keep thousands of files open."""
LEAST_MEMLOCK_KIB = 2**20
"""RDMA pins its buffers."""


@check("probe-silent")
def probe_silent(machine: Machine) -> Seen:
    """What was not found out cannot be judged."""
    for name, reason in machine.facts.unknown.items():
        if name != "nvml" or not driver_is_silent(machine):
            yield {"name": name, "reason": reason}


@check("architecture-unsupported")
def architecture_unsupported(machine: Machine) -> Seen:
    """Locks are made for one kind of processor."""
    base, here = machine.matrix.file.base_image, machine.system.architecture
    if base and here and here != base.architecture:
        yield {"architecture": here, "supported": base.architecture}


@check("memory-small")
def memory_small(machine: Machine) -> Seen:
    """Models pass through the machine's memory on their way to the GPU."""
    known = [each for each in (machine.system.memory_mib, machine.system.memory_limit_mib) if each]
    floors = {each: machine.matrix.framework(each).floors.memory for each in machine.frameworks}
    short = {each: floor for each, floor in floors.items() if floor and known and min(known) < floor.least_mib}
    if short:
        highest = max(short.values(), key=lambda floor: floor.least_mib)
        yield {
            "frameworks": listed(short),
            "memory": str(min(known)),
            "least": str(highest.least_mib),
            "reason": highest.reason,
        }


@check("disk-full")
def disk_full(machine: Machine) -> Seen:
    """Nothing can be made, and what runs stops."""
    full = {}
    for purpose in ("engine", "home", "data"):
        disk = machine.facts.disk(purpose)
        if (
            disk and disk.free_mib is not None and disk.free_mib < FULL_MIB and disk.total_mib != 0
        ):  # 0: it does not say
            full[disk.filesystem or disk.path] = {"path": disk.path, "free": str(disk.free_mib)}
    yield from full.values()


@check("engine-disk-small", after={"disk-full"})
def engine_disk_small(machine: Machine) -> Seen:
    """A build is gigabytes, and stops at its last step."""
    if machine.docker and not machine.docker.remote:
        yield from _too_small(machine, "engine")


@check("home-disk-small", after={"disk-full"})
def home_disk_small(machine: Machine) -> Seen:
    """So is a venv, which is how environments run where no engine is."""
    if machine.runs_venvs:
        yield from _too_small(machine, "home")


def _too_small(machine: Machine, purpose: Literal["engine", "home"]) -> Seen:
    disk = machine.facts.disk(purpose)
    if not disk or disk.free_mib is None or disk.total_mib == 0:
        return
    needs = {plan.environment.name: space_needed(plan.environment, purpose) or 0 for plan in machine.planned}
    large = {name: needed for name, needed in needs.items() if needed > disk.free_mib}
    if large:
        yield {
            "environments": listed(large),
            "path": disk.path,
            "free": f"{disk.free_mib / 1024:.1f}",
            "needed": f"{max(large.values()) / 1024:.1f}",
        }


@check("cache-elsewhere")
def cache_elsewhere(machine: Machine) -> Seen:
    """uv links files from its cache into environments, unless another file system is between them."""
    home, cache = machine.facts.disk("home"), machine.facts.disk("cache")
    if home and cache and home.filesystem and cache.filesystem and home.filesystem != cache.filesystem:
        yield {"home": home.path, "cache": cache.path}


@check("home-off-data-disk")
def home_off_data_disk(machine: Machine) -> Seen:
    """A rented container's system disk is small, and is lost."""
    home, data = machine.facts.disk("home"), machine.facts.disk("data")
    if home and data and home.filesystem and data.filesystem and home.filesystem != data.filesystem:
        yield {"home": home.path, "data": data.path, "free": str((home.free_mib or 0) // 1024)}


@check("shm-small")
def shm_small(machine: Machine) -> Seen:
    """What shares this machine's /dev/shm are the environments that run as venvs."""
    shm = machine.facts.disk("shm")
    if machine.runs_venvs and shm and shm.total_mib is not None and shm.total_mib < LEAST_SHM_MIB:
        yield {"size": str(shm.total_mib), "path": shm.path}


@check("nofile-low")
def nofile_low(machine: Machine) -> Seen:
    """The soft limit of open files; containers that envkit starts have one of their own."""
    limit = machine.system.nofile
    if machine.runs_venvs and limit is not None and 0 <= limit < LEAST_NOFILE:
        yield {"limit": str(limit)}


@check("memlock-low")
def memlock_low(machine: Machine) -> Seen:
    """The limit of locked memory, where GPUs talk over InfiniBand."""
    limit = machine.system.memlock_kib
    if machine.facts.gpus and machine.system.infiniband and limit is not None and 0 <= limit < LEAST_MEMLOCK_KIB:
        yield {"limit": str(limit)}
