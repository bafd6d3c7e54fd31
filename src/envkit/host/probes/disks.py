"""The file systems that envkit, an engine and the apps use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from envkit.host.facts import Disk, Purpose
from envkit.host.files import is_folder
from envkit.host.home import envkit_home, find_provider
from envkit.host.index import uv_cache


def probe_disks() -> dict[str, Any]:
    """Room and file system of ENVKIT_HOME, uv's cache, /dev/shm and the data disk; engines tell of their own folders."""
    provider = find_provider()
    folders: dict[Purpose, Path] = {
        "home": envkit_home(),
        "cache": uv_cache(),
        "shm": Path("/dev/shm"),  # noqa: S108  # its size is what matters
    }
    if provider and provider[1].data_disk and is_folder(Path(provider[1].data_disk)):
        folders["data"] = Path(provider[1].data_disk)
    return {"disks": tuple(look_at(purpose, folder) for purpose, folder in folders.items())}


def look_at(purpose: Purpose, path: Path) -> Disk:
    """The file system that the folder is on, or will be on; nothing of it where that does not show."""
    for each in (path, *path.parents):
        try:
            room, device = os.statvfs(each), each.stat().st_dev
        except (FileNotFoundError, NotADirectoryError):
            continue  # it will be made
        except OSError:
            break  # closed to this user, or broken: the folder above may be on another one
        return Disk(
            purpose=purpose,
            path=str(path),
            total_mib=room.f_blocks * room.f_frsize // 2**20,
            free_mib=room.f_bavail * room.f_frsize // 2**20,
            filesystem=f"{os.major(device)}:{os.minor(device)}",
        )
    return Disk(purpose=purpose, path=str(path))
