"""Every file that envkit writes for a small invented matrix; `--update-golden` writes what it makes today.

A folder is a case: `request.yaml` says what is asked for, everything beside it is what must come.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from envkit.lock.resolver import write_lock
from envkit.matrix.load import Matrix, load_matrix
from envkit.render.templates import outputs
from tests.fakes import demo_lock

CASES = sorted(each.parent for each in Path(__file__).parent.glob("*/request.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_file_is_what_was_reviewed(
    case: Path, matrix: Matrix, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    request = yaml.safe_load((case / "request.yaml").read_text(encoding="utf-8"))
    made = files_for(request["framework"], request.get("files", {}), matrix, tmp_path / "mine")

    if pytestconfig.getoption("--update-golden"):
        replace_files(case, made)
    assert read_files(case) == made


def files_for(framework: str, own: dict[str, str], matrix: Matrix, home: Path) -> dict[str, str]:
    """What envkit writes for the framework, by path; `own` are the user's files, of which one is an overlay."""
    for name, text in own.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    if own:
        matrix = load_matrix(home / "envmatrix.yaml")
    for environment in matrix.environments():
        write_lock(environment, demo_lock(environment))  # inputs differ: the base image is part of them
    home = matrix.homes[framework]
    texts = {path.relative_to(home): text for path, text in outputs(matrix).items() if path.is_relative_to(home)}
    return {str(path): text for path, text in texts.items() if framework in (path.stem, *path.parts)}


def read_files(case: Path) -> dict[str, str]:
    """What must come, by path."""
    files = [each for each in case.rglob("*") if each.is_file() and each.name != "request.yaml"]
    return {str(each.relative_to(case)): each.read_text(encoding="utf-8") for each in files}


def replace_files(case: Path, made: dict[str, str]) -> None:
    """Leaves the request and these files alone in the case's folder."""
    for each in case.iterdir():
        if each.is_dir():
            shutil.rmtree(each)
    for name, text in made.items():
        (case / name).parent.mkdir(parents=True, exist_ok=True)
        (case / name).write_text(text, encoding="utf-8")


def test_there_are_cases() -> None:
    assert [each.name for each in CASES] == ["job", "overlay", "servers", "toolkit"]
