"""The operating system, the processors, the memory and the limits of this process."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path
from typing import Any

from envkit.host.facts import System

_ROOT = Path("/")
_CAP_SYS_ADMIN = 21
"""linux/capability.h"""
_NO_LIMIT = 2**60
"""cgroup v1 has no word for "none", and says a number near 2**63."""


def probe_system(root: Path = _ROOT) -> dict[str, Any]:
    """What can be read without asking anybody."""
    release = _os_release(root)
    kernel = platform.release()
    libc, glibc = platform.libc_ver()
    return {
        "system": System(
            os=release.get("ID"),
            os_version=release.get("VERSION_ID"),
            os_name=release.get("PRETTY_NAME"),
            kernel=kernel,
            architecture=platform.machine() or None,
            glibc=glibc if libc == "glibc" else None,
            wsl="microsoft" in kernel.lower(),
            systemd=(root / "run/systemd/system").is_dir(),
            container=_container(root),
            sys_admin=_sys_admin(root),
            root=os.geteuid() == 0,
            cpus=len(os.sched_getaffinity(0)),
            memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
            memory_limit_mib=_memory_limit(root),
            nofile=_soft_limit(resource.RLIMIT_NOFILE),
            memlock_kib=_soft_limit(resource.RLIMIT_MEMLOCK, unit=1024),
            infiniband=any((root / "sys/class/infiniband").glob("*")),
        )
    }


def _os_release(root: Path) -> dict[str, str]:
    """https://www.freedesktop.org/software/systemd/man/latest/os-release.html"""
    text = _read(root / "etc/os-release") or ""
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines())}


def _container(root: Path) -> str:
    """What kind of container this is, by the marks that they leave; empty where there is none."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    named = os.environ.get("container") or _read(root / "run/systemd/container")  # noqa: SIM112  # systemd's name for it
    if named:
        return named.strip()
    mounts = _read(root / "proc/self/mounts") or ""
    # The root of a machine of its own is a disk; of a container, most often a stack of image layers.
    return "container" if re.search(r"^overlay / overlay ", mounts, re.MULTILINE) else ""


def _sys_admin(root: Path) -> bool | None:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", _read(root / "proc/self/status") or "", re.MULTILINE)
    return bool(int(match[1], 16) >> _CAP_SYS_ADMIN & 1) if match else None


def _memory_limit(root: Path) -> int | None:
    """The least limit on the way from this process's cgroup up to the root, v1 and v2, in MiB."""
    limits = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        base, name = (
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes") if controllers else ("sys/fs/cgroup", "memory.max")
        )
        folder = Path(path.lstrip("/"))
        # Inside a container the path is often that of the host, and its own group is what is mounted at the base.
        for each in (folder, *folder.parents):
            text = (_read(root / base / each / name) or "").strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                limits.append(int(text) // 2**20)
    return min(limits, default=None)


def _soft_limit(kind: int, unit: int = 1) -> int:
    soft = resource.getrlimit(kind)[0]
    return -1 if soft == resource.RLIM_INFINITY else soft // unit


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None
