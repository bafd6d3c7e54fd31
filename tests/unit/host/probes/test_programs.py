"""Interpreters, compilers and CUDA libraries that lie about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envkit.host.facts import CudaFolder, Python
from envkit.host.probes.programs import probe_compilers, probe_cuda_folders, probe_pythons

if TYPE_CHECKING:
    from tests.unit.host.probes.conftest import Tree

ELF = "\x7fELF and more"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on the PATH."""
    monkeypatch.setenv("PATH", "")
    for name in ("CC", "LD_LIBRARY_PATH", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)


def test_interpreters_of_the_path_of_uv_and_of_pyenv(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(
        {
            "bin/python3.11": ELF,
            "bin/python3.9": ELF,
            "bin/python3": ELF,
            "bin/python3.11-config": ELF,
            "bin/python3.13t": ELF,
            "other/python3.11": ELF,
            "shims/python3.12": "#!/usr/bin/env bash\n",  # pyenv's: it may lead nowhere
            "uv/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12": ELF,
            "uv/pypy-3.10/bin/python3.10": ELF,
            "pyenv/versions/3.8.18/bin/python3.8": ELF,
        }
    )
    monkeypatch.setenv("PATH", f"{root}/missing:{root}/shims::{root}/bin:{root}/other:{root}/bin")
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", f"{root}/uv")
    monkeypatch.setenv("PYENV_ROOT", f"{root}/pyenv")

    assert probe_pythons() == {
        "pythons": (
            Python("3.8", f"{root}/pyenv/versions/3.8.18/bin/python3.8"),
            Python("3.9", f"{root}/bin/python3.9"),
            Python("3.11", f"{root}/bin/python3.11"),
            Python("3.12", f"{root}/uv/cpython-3.12.4-linux-x86_64-gnu/bin/python3.12"),
        )
    }


def test_interpreters_in_the_usual_places(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".local/share/uv/python/cpython-3.10.1-x/bin/python3.10", ".pyenv/versions/3.9.1/bin/python3.9"):
        path = Path.home() / name
        path.parent.mkdir(parents=True)
        path.write_text(ELF)

    assert [each.version for each in probe_pythons()["pythons"]] == ["3.9", "3.10"]


def test_a_folder_of_the_path_that_is_broken_hides_no_other(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"dead": None, "bin/python3.11": ELF})
    monkeypatch.setenv("PATH", f"{root}/dead:{root}/bin")
    glob = Path.glob

    def fail(path: Path, pattern: str) -> object:
        if path.name == "dead":
            raise OSError(107, "Transport endpoint is not connected")
        return glob(path, pattern)

    monkeypatch.setattr(Path, "glob", fail)

    assert [each.version for each in probe_pythons()["pythons"]] == ["3.11"]


def test_no_interpreter() -> None:
    assert probe_pythons() == {"pythons": ()}


# Compilers ------------------------------------------------------------------------------------------------------------


def programs(root: Path, *names: str) -> None:
    for name in names:
        (root / name).chmod(0o755)


def test_the_compilers_that_triton_finds(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"gcc": "", "clang": "", "cc": "", "tcc": ""})
    programs(root, "gcc", "clang", "cc", "tcc")
    monkeypatch.setenv("PATH", str(root))

    assert probe_compilers() == {"compilers": (f"{root}/gcc", f"{root}/clang")}


def test_two_names_of_one_compiler(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"gcc-12": ""})
    programs(root, "gcc-12")
    (root / "gcc").symlink_to("gcc-12")
    (root / "clang").symlink_to("gcc-12")
    monkeypatch.setenv("PATH", str(root))

    assert probe_compilers() == {"compilers": (f"{root}/gcc",)}


@pytest.mark.parametrize("name", ["my-cc", "{root}/my-cc"])
def test_the_compiler_that_cc_names_goes_before_all(tree: Tree, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    root = tree({"gcc": "", "my-cc": ""})
    programs(root, "gcc", "my-cc")
    monkeypatch.setenv("PATH", str(root))
    monkeypatch.setenv("CC", name.format(root=root))

    assert probe_compilers() == {"compilers": (f"{root}/my-cc",)}


def test_what_is_not_a_program_is_no_compiler(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"gcc": "", "clang": None})
    (root / "gcc").chmod(0o644)
    monkeypatch.setenv("PATH", str(root))

    assert probe_compilers() == {"compilers": ()}


def test_a_compiler_that_is_named_and_missing_is_none(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree({"gcc": ""})
    programs(root, "gcc")
    monkeypatch.setenv("PATH", str(root))
    monkeypatch.setenv("CC", "gcc-99")

    assert probe_compilers() == {"compilers": ()}


# CUDA -----------------------------------------------------------------------------------------------------------------


def test_folders_with_cuda_libraries(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(
        {
            "cuda/libcudart.so.12": "",
            "cuda/libcublasLt.so.12": "",
            "cuda/libcudart_static.a": "",
            "cuda/libcupti.so": "",
            "nccl/libnccl.so.2": "",
            "other/libz.so": "",
            "file": "",
        }
    )
    folders = ("cuda", "missing", "other", "file", "cuda")
    monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(f"{root}/{each}" for each in folders) + f":;{root}/nccl")

    assert probe_cuda_folders() == {
        "cuda_folders": (
            CudaFolder(f"{root}/cuda", ("libcublasLt.so.12", "libcudart.so.12")),
            CudaFolder(f"{root}/nccl", ("libnccl.so.2",)),
        )
    }


def test_no_library_path() -> None:
    assert probe_cuda_folders() == {"cuda_folders": ()}
