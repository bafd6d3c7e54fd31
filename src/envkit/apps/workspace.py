"""The user's folder that an app works in: made and seeded once, and nothing in it is ever overwritten."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.errors import UsageError
from envkit.host.home import envkit_home

if TYPE_CHECKING:
    from envkit.backends.base import Launch
    from envkit.matrix.load import MatrixEnvironment
    from envkit.matrix.schema import Cache


def open_workspace(launch: Launch, environment: MatrixEnvironment) -> list[Path]:
    """The files that were put into the workspace: demo data, into folders that were missing or empty.

    A folder that holds anything is the user's, and is left as it is. Cache folders are made too, and locks that nobody
    holds go from them.
    """
    workspace = launch.mounts[0].source
    framework = environment.framework
    seeds = environment.framework_home / "images" / framework.name / "workspace"
    new: list[Path] = []
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        owner = workspace.stat()
        for mount in launch.mounts:
            _make_folder(mount.source, workspace)
        for lock in launch.stale_locks:
            lock.unlink(missing_ok=True)
        for name in framework.workspace:
            folder = workspace / name
            if (seeds / name).is_dir() and not (folder.exists() and any(folder.iterdir())):
                new += _seed(seeds / name, folder, owner)
            else:
                _make_folder(folder, workspace)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"not a folder: {error.filename}", hint="choose another place with `--workspace DIR`"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UsageError(
            f"a folder cannot be made or written to: {error.filename}: {error.strerror}",
            hint="choose another place with `--workspace DIR`; caches are under ENVKIT_HOME",
        ) from error
    return new


def cache_folder(name: str, cache: Cache, owner: Path | None = None) -> Path:
    """The host's folder for a cache: where its variable points, else where it already is, else under ENVKIT_HOME.

    An app that runs as the owner of the workspace `owner` gets a cache in there where it may not write to that one.
    """
    usual = Path(cache.default).expanduser()
    if os.environ.get(cache.env):
        return Path(os.environ[cache.env]).expanduser().absolute()
    shared = usual if usual.is_dir() else envkit_home() / "cache" / name
    if owner and shared.is_dir():
        user = owner.stat().st_uid if owner.is_dir() else os.geteuid()
        found = shared.stat()
        if found.st_uid != user and not found.st_mode & stat.S_IWOTH:
            return owner / ".cache" / name
    return shared


def _seed(seeds: Path, folder: Path, owner: os.stat_result) -> list[Path]:
    """The files of `seeds`, now in `folder`."""
    staging = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.copytree(seeds, staging)
    if folder.exists():  # empty; a link or a mount point perhaps, which stays what it is
        for path in staging.iterdir():
            shutil.move(path, folder / path.name)
        staging.rmdir()
    else:
        staging.rename(folder)
        _give(folder, owner)
    for path in folder.rglob("*"):
        _give(path, owner)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _make_folder(folder: Path, workspace: Path) -> None:
    """Makes the folder where it is missing, for the workspace's owner: apps run as that user."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        if path == folder or workspace in path.parents:
            _give(path, workspace.stat())


def _give(path: Path, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(path, owner.st_uid, owner.st_gid)
