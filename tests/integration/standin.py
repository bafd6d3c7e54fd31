"""A stand-in for the NVIDIA driver's library, below the real nvidia-ml-py: it plays the machine that a text describes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.integration.conftest import skip

SOURCE = Path(__file__).parent.parent / "standin" / "nvml.c"


def build_nvml(folder: Path) -> Path:
    """The folder, with a `libnvidia-ml.so.1` in it."""
    compiler = shutil.which("cc")
    if not compiler:
        skip("needs a C compiler: cc not found")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler or "", "-shared", "-fPIC", "-Wall", "-o", library, SOURCE], check=True, timeout=60)
    return folder


def play(nvml: Path, machine: Path) -> dict[str, str]:
    """The variables with which programs find the library, and it the machine."""
    others = os.environ.get("LD_LIBRARY_PATH")
    return {"LD_LIBRARY_PATH": f"{nvml}:{others}" if others else str(nvml), "STANDIN_NVML": str(machine)}
