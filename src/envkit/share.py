"""Finds what envkit knows (`envmatrix.yaml`, `images/`, `compose/`): in a checkout, else inside the installed package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parent.parent


def share_root() -> Path:
    """The folder that holds `envmatrix.yaml`, `images/` and `compose/`."""
    return _CHECKOUT if (_CHECKOUT / "envmatrix.yaml").is_file() else _PACKAGE / "share"


def overlay_file() -> Path:
    """Where a user's own additions to the matrix are looked for; the file need not exist."""
    config = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(config).expanduser() / "envkit" / "envmatrix.yaml"


def write_file(path: Path, text: str, *, private: bool = False) -> None:
    """Leaves `text` at `path`, whole or not at all: a staging file beside it, then a rename.

    What is `private` nobody else may read. A device, a pipe or a link takes the text and stays what it is.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.touch(0o600 if private else 0o666)
        staging.write_text(text, encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
