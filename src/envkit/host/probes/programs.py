"""Pythons and compilers that environments could use, and CUDA libraries that would get in their way."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from envkit.host.facts import CudaFolder, Python

_COMPILERS = ("cc", "gcc", "clang")
"""What Triton looks for, after CC (triton/runtime/build.py)."""
_CUDA = re.compile(r"lib(cudart|cublas|cublasLt|cudnn|nccl|nvrtc|cusparse|cusolver|cufft|curand|nvJitLink)\.so")


def probe_pythons() -> dict[str, Any]:
    """The interpreters on the PATH, of uv and of pyenv; read off their names, none is started."""
    data = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser()
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    folders = [*_path(), *sorted(uv.glob("cpython-*/bin")), *sorted(pyenv.glob("versions/*/bin"))]
    found = {}
    for folder in folders:
        for path in folder.glob("python3.[0-9]*"):
            version = re.fullmatch(r"python(3\.[0-9]+)", path.name)
            if version and version[1] not in found and _is_program(path):
                found[version[1]] = Python(version=version[1], path=str(path))
    return {"pythons": tuple(sorted(found.values(), key=lambda each: int(each.version.split(".")[1])))}


def probe_compilers() -> dict[str, Any]:
    """The C compilers that Triton would find."""
    names = [*filter(None, [os.environ.get("CC")]), *_COMPILERS]
    places = [folder / name for name in names for folder in _path() if os.access(folder / name, os.X_OK)]
    return {"compilers": tuple({os.path.realpath(each): str(each) for each in reversed(places)}.values())[::-1]}


def probe_cuda_folders() -> dict[str, Any]:
    """The folders of LD_LIBRARY_PATH that bring CUDA libraries of their own."""
    found = []
    for text in dict.fromkeys(filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(":"))):
        try:
            names = sorted(each.name for each in Path(text).iterdir() if _CUDA.match(each.name))
        except OSError:
            continue
        if names:
            found.append(CudaFolder(path=text, libraries=tuple(names)))
    return {"cuda_folders": tuple(found)}


def _path() -> list[Path]:
    return [Path(each) for each in dict.fromkeys(os.environ.get("PATH", "").split(":")) if each]


def _is_program(path: Path) -> bool:
    """Whether it is an interpreter and not pyenv's script, which may lead nowhere."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False
