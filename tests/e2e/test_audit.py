"""Real environments broken on purpose with real wheels: what doctor foretells is what the import then says.

Each copy shares its files with the environment that it is made from, so it costs links; whatever breaks a file replaces it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv

from envkit.backends.base import Recipe
from envkit.backends.venv import VenvBackend
from envkit.cli.console import ConsoleProgress
from envkit.host.home import envkit_home
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tests.integration.command import Cli

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.index]
ON_A_GPU = """
from unittest.mock import MagicMock
import torch
torch.cuda = MagicMock(**{"is_available.return_value": True, "get_device_capability.return_value": (9, 0)})
torch.cuda.device_count.return_value = 1
import bitsandbytes
"""
WITH_A_DRIVER = """
from unittest.mock import MagicMock
import torch, triton
from triton.runtime import driver
active = MagicMock()
active.get_current_target.return_value = triton.backends.compiler.GPUTarget("cuda", 90, 32)
driver.set_active(active)
import bitsandbytes
"""


@dataclass(frozen=True)
class Break:
    """One fault, and how a program meets it."""

    id: str
    """Of the finding."""
    program: str
    diagnosis: str
    """What `envkit diagnose` says first of the program's words."""


@dataclass(frozen=True)
class Case:
    """An environment with faults that do not hide each other, and nearly always with one."""

    name: str
    environment: str
    breaks: tuple[Break, ...]
    install: tuple[str, ...] = ()
    uninstall: tuple[str, ...] = ()
    remove: str = ""
    """A folder of a package."""
    cut: str = ""
    """A library of which half is left."""


CASES = [
    Case(
        "a-torchaudio-of-another-cuda",
        "toolbox-cu132",
        (Break("companion-of-another-cuda", "import torchaudio", "torchaudio-cuda-mismatch"),),
        install=("torchaudio==2.11.0",),
    ),
    Case(
        "a-torchvision-of-another-torch",
        "toolbox-cu132",
        (Break("built-for-another-torch", "import torchvision", "torchvision-nms-missing"),),
        install=("torchvision==0.26.0",),
    ),
    Case(
        "cublas-is-gone",
        "llamafactory-cu130",
        (Break("library-missing", "import torch", "torch-cuda-library-missing"),),
        uninstall=("nvidia-cublas",),
    ),
    Case(
        "a-pandas-for-another-numpy",
        "llamafactory-cu130",
        (Break("built-for-numpy-1", "import pandas", "numpy2-abi"),),
        install=("pandas==2.1.4", "pytz==2025.2"),
    ),
    Case(
        "a-bitsandbytes-for-an-older-triton",
        "llamafactory-cu130",
        (Break("do-not-go-together", WITH_A_DRIVER, "bnb-triton-ops-missing"),),
        install=("bitsandbytes==0.45.0",),
    ),
    Case(
        "a-bitsandbytes-without-this-cuda",
        "llamafactory-cu130",
        (Break("no-library-for-this-cuda", ON_A_GPU, "bnb-configured-cuda-binary-not-found"),),
        install=("bitsandbytes==0.47.0",),
    ),
    Case(
        "an-xformers-of-another-cuda",
        "llamafactory-cu130",
        (Break("built-for-another-cuda", "import xformers.ops", "libcudart-so-12-missing"),),
        install=("xformers==0.0.32.post2",),
    ),
    Case(
        "a-library-is-cut-short",
        "llamafactory-cu130",
        (Break("library-cut-short", "import safetensors", "bus-error"),),
        cut="safetensors/_safetensors_rust.abi3.so",
    ),
    Case(
        "a-package-is-hollow",
        "llamafactory-cu130",
        (Break("package-hollow", "import datasets", "package-not-installed"),),
        remove="datasets",
    ),
    Case(
        "a-transformers-too-new",
        "llamafactory-cu130",
        (
            Break(
                "requirement-refused",
                "from llamafactory.extras.misc import check_dependencies as check; check()",
                "llamafactory-transformers-range",
            ),
        ),
        install=("transformers==5.23.0", "tokenizers==0.23.1"),
    ),
    Case(
        "tokenizers-that-transformers-refuses",
        "llamafactory-cu130",
        (Break("requirement-refused", "import transformers", "tokenizers-range"),),
        install=("tokenizers==0.20.3",),
    ),
]


@pytest.fixture
def folder() -> Iterator[Path]:
    """On the file system of the environments, so that a copy is made of links."""
    found = envkit_home() / f"broken-{os.getpid()}"
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.mark.parametrize("name", ["llamafactory-cu130", "toolbox-cu132"])
def test_a_sound_environment_has_no_error(name: str, tmp_path: Path) -> None:
    found = doctor(made(name), tmp_path, status=0)

    assert [each["id"] for each in found if each["severity"] != "note"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_doctor_foretells_is_what_programs_say(case: Case, folder: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "--archive", "--link", made(case.environment), folder], check=True)
    spoil(case, folder)

    found = doctor(folder, tmp_path, status=1)

    errors = {each["id"]: each for each in found if each["severity"] == "error"}
    assert {each.id for each in case.breaks} <= set(errors)
    for each in case.breaks:
        words = said(folder, each.program, tmp_path)
        assert errors[each.id]["evidence"]
        assert errors[each.id]["otherwise"] in " ".join(words.split()), each.id
        told = command(tmp_path)("diagnose", "-", "--json", stdin=words).json
        assert [one["id"] for one in told["diagnoses"]][:1] == [each.diagnosis]


def made(name: str) -> Path:
    """The folder of the environment, which is made where it is not there."""
    environment = load_matrix().environment(name)
    recipe = Recipe(environment, read_lock(environment))
    backend = VenvBackend()
    if not backend.has(recipe):
        backend.make(recipe, ConsoleProgress())
    return backend.folder(environment, recipe.lock.sha256)


def spoil(case: Case, folder: Path) -> None:
    pip = [uv.find_uv_bin(), "pip"]
    python = ["--quiet", "--python", str(folder / "bin/python")]
    if case.uninstall:
        subprocess.run([*pip, "uninstall", *python, *case.uninstall], check=True)
    if case.install:
        subprocess.run([*pip, "install", "--no-deps", *python, *case.install], check=True)
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    if case.remove:
        shutil.rmtree(site / case.remove)
    if case.cut:
        whole = (site / case.cut).read_bytes()
        (site / case.cut).unlink()  # not in place: it is a link into the cache
        (site / case.cut).write_bytes(whole[: len(whole) // 2])


def command(cwd: Path) -> Cli:
    return Cli(home=envkit_home(), matrix=None, cwd=cwd)


def doctor(folder: Path, cwd: Path, *, status: int) -> list[dict[str, Any]]:
    """What is found in it."""
    report = command(cwd)("doctor", "--venv", folder, "--json", status=status).json
    assert report["ok"] is (status == 0)
    assert report["environment"]["seconds"] < 120
    findings: list[dict[str, Any]] = report["findings"]
    return findings


def said(folder: Path, program: str, cwd: Path) -> str:
    """The words of a program that fails, as a shell shows them."""
    argv = [folder / "bin/python", "-c", program]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=cwd, env=offline, timeout=300)
    assert done.returncode
    crashed = "Bus error (core dumped)" if done.returncode == -7 else ""
    return f"{done.stdout}{done.stderr}{crashed}"
