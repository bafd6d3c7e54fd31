"""Pythons and compilers that environments could use, and CUDA libraries that would get in their way."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

from envkit.host.facts import CudaFolder, Python

_COMPILERS = ("gcc", "clang")
"""What Triton looks for where CC is not set (triton/runtime/build.py)."""
_CUDA = re.compile(r"lib(cudart|cublas|cublasLt|cudnn|nccl|nvrtc|cusparse|cusolver|cufft|curand|nvJitLink)\.so")


def probe_pythons() -> dict[str, Any]:
    """The interpreters on the PATH, of uv and of pyenv; read off their names, none is started."""
    data = _folder("XDG_DATA_HOME", "~/.local/share")
    uv, pyenv = _folder("UV_PYTHON_INSTALL_DIR", str(data / "uv" / "python")), _folder("PYENV_ROOT", "~/.pyenv")
    folders = [*_path(), *_glob(uv, "cpython-*/bin"), *_glob(pyenv, "versions/*/bin")]
    found: dict[str, Python] = {}
    for folder in folders:
        for path in _glob(folder, "python3.[0-9]*"):
            version = re.fullmatch(r"python(3\.[0-9]+)", path.name)
            if version and version[1] not in found and _is_program(path):
                found[version[1]] = Python(version=version[1], path=str(path))
    return {"pythons": tuple(sorted(found.values(), key=lambda each: int(each.version.split(".")[1])))}


def probe_compilers() -> dict[str, Any]:
    """The C compilers that Triton would find: CC alone where it is set, else those that it knows."""
    named = os.environ.get("CC")
    found: dict[str, str] = {}
    for name in [named] if named else _COMPILERS:
        if path := shutil.which(name):
            found.setdefault(os.path.realpath(path), path)
    return {"compilers": tuple(found.values())}


def probe_cuda_folders() -> dict[str, Any]:
    """The folders of LD_LIBRARY_PATH that bring CUDA libraries of their own."""
    found = []
    for text in dict.fromkeys(filter(None, re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", "")))):
        try:
            names = sorted(each.name for each in Path(text).iterdir() if _CUDA.match(each.name))
        except OSError:
            continue
        if names:
            found.append(CudaFolder(path=text, libraries=tuple(names)))
    return {"cuda_folders": tuple(found)}


def _path() -> list[Path]:
    return [Path(each) for each in dict.fromkeys(os.environ.get("PATH", "").split(":")) if each]


def _folder(variable: str, default: str) -> Path:
    return Path(os.path.expanduser(os.environ.get(variable) or default))  # noqa: PTH111  # raises for nobody's home


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:  # a dead disk on the PATH
        return []


def _is_program(path: Path) -> bool:
    """Whether it is an interpreter and not pyenv's script, which may lead nowhere."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
