"""The operating system, the processors, the memory and the limits of this process."""

from __future__ import annotations

import os
import platform
import re
import resource
from pathlib import Path
from typing import Any

from envkit.host.facts import System
from envkit.host.files import is_folder, is_there, read

_ROOT = Path("/")
_CAP_SYS_ADMIN = 21
"""linux/capability.h"""
_NO_LIMIT = 2**60
"""cgroup v1 has no word for "none", and says a number near 2**63."""


def probe_system(root: Path = _ROOT) -> dict[str, Any]:
    """What can be read without asking anybody."""
    release = _os_release(root)
    kernel = platform.release()
    return {
        "system": System(
            os=release.get("ID"),
            os_version=release.get("VERSION_ID"),
            os_name=release.get("PRETTY_NAME"),
            kernel=kernel,
            architecture=platform.machine() or None,
            glibc=_glibc(),
            wsl="microsoft" in kernel.lower(),
            systemd=is_folder(root / "run/systemd/system"),
            container=find_container(root),
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


def _glibc() -> str | None:
    """From the library itself; `platform.libc_ver` guesses from the bytes of the interpreter where that is musl's."""
    try:
        words = (os.confstr("CS_GNU_LIBC_VERSION") or "").split(" ")  # `glibc 2.36`
    except (OSError, ValueError):  # no such name here
        return None
    match = re.match(r"[0-9]+(\.[0-9]+)*", words[-1])
    return match[0] if match and words[0] == "glibc" else None


def _os_release(root: Path) -> dict[str, str]:
    """https://www.freedesktop.org/software/systemd/man/latest/os-release.html"""
    text = read(root / "etc/os-release") or ""
    return {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in text.splitlines())}


def find_container(root: Path = _ROOT) -> str:
    """What kind of container this is, by the marks that they leave; empty where there is none."""
    if is_there(root / ".dockerenv"):
        return "docker"
    if is_there(root / "run/.containerenv"):
        return "podman"
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    named = os.environ.get("container") or read(root / "run/systemd/container")  # noqa: SIM112  # systemd's name for it
    if named:
        return named.strip()
    mounts = read(root / "proc/self/mounts") or ""
    # The root of a machine of its own is a disk; of a container, most often a stack of image layers.
    return "container" if re.search(r"^overlay / overlay ", mounts, re.MULTILINE) else ""


def _sys_admin(root: Path) -> bool | None:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", read(root / "proc/self/status") or "", re.MULTILINE)
    return bool(int(match[1], 16) >> _CAP_SYS_ADMIN & 1) if match else None


def _memory_limit(root: Path) -> int | None:
    """The least limit on the way from this process's cgroup up to the root, v1 and v2, in MiB."""
    limits = []
    for line in (read(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "memory" not in controllers.split(","):
            continue
        base, name = (
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes") if controllers else ("sys/fs/cgroup", "memory.max")
        )
        folder = Path(path.lstrip("/"))
        # Inside a container the path is often that of the host, and its own group is what is mounted at the base.
        for each in (folder, *folder.parents):
            text = (read(root / base / each / name) or "").strip()
            if text.isdigit() and int(text) < _NO_LIMIT:
                limits.append(int(text) // 2**20)
    return min(limits, default=None)


def _soft_limit(kind: int, unit: int = 1) -> int:
    soft = resource.getrlimit(kind)[0]
    return -1 if soft == resource.RLIM_INFINITY else soft // unit
