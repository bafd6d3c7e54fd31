"""Looks at files that may be missing, unreadable or on a dead disk: such a file is not there, and nothing is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path) -> str | None:
    """What the file says; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def is_there(path: Path) -> bool:
    """Whether the path exists; `Path.exists` raises in folders that are closed to this user (Python < 3.14)."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether the path is a folder, or leads to one."""
    try:
        return path.is_dir()
    except OSError:
        return False


def is_file(path: Path) -> bool:
    """Whether the path is a regular file, or leads to one."""
    try:
        return path.is_file()
    except OSError:
        return False
