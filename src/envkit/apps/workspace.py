"""The user's folder that an app works in: made and seeded once, and nothing in it is ever overwritten."""

from __future__ import annotations

import os
import shutil
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

    A folder that holds anything is the user's, and is left as it is. Cache folders are made too.
    """
    workspace = launch.mounts[0].source
    framework = environment.framework
    seeds = environment.home / "images" / framework.name / "workspace"
    try:
        for mount in launch.mounts:
            mount.source.mkdir(parents=True, exist_ok=True)
        empty = []
        for name in framework.workspace:
            folder = workspace / name
            folder.mkdir(exist_ok=True)
            if not any(folder.iterdir()) and (seeds / name).is_dir():
                empty.append(name)
        return [_copy(source, workspace / name) for name in empty for source in sorted((seeds / name).iterdir())]
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(
            f"not a folder: {error.filename}", hint="choose another place with `--workspace DIR`"
        ) from error
    except PermissionError as error:
        raise UsageError(
            f"the workspace cannot be written to: {error.filename}",
            hint="choose another place with `--workspace DIR`",
        ) from error


def cache_folder(name: str, cache: Cache) -> Path:
    """The host's folder for a cache: where its variable points, else where it already is, else under ENVKIT_HOME."""
    usual = Path(cache.default).expanduser()
    if os.environ.get(cache.env):
        return Path(os.environ[cache.env]).expanduser().absolute()
    return usual if usual.is_dir() else envkit_home() / "cache" / name


def _copy(source: Path, folder: Path) -> Path:
    staging = folder / f".{source.name}.new"
    shutil.copyfile(source, staging)
    return staging.replace(folder / source.name)
