"""The tiny framework, locked with the real uv; skips where there is no package index; and nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv
from filelock import FileLock

from tests.conftest import docker_problem, podman_problem
from tests.integration.command import Cli, containers, docker, engine, processes

if TYPE_CHECKING:
    from collections.abc import Iterator

TINY = Path(__file__).parent / "tiny"
ENGINES = [
    pytest.param("docker", marks=pytest.mark.docker),
    pytest.param("podman", marks=pytest.mark.podman),
]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs a package index where none answers, by name; with ENVKIT_TESTS_NO_SKIP=1 that is a failure."""
    if item.get_closest_marker("index") and (problem := index_problem()):
        skip(f"needs a package index: {problem}")


def skip(reason: str) -> None:
    """Skips the running test, or fails it where nothing may be skipped."""
    refuse = pytest.fail if os.environ.get("ENVKIT_TESTS_NO_SKIP") == "1" else pytest.skip
    refuse(reason)


@cache
def index_problem() -> str | None:
    """Why no package index can be used, in uv's words, or None; asked of uv alone, so that our faults do not hide."""
    done = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "-", "--quiet", "--no-cache", "--no-header"],
        input="iniconfig\n",
        capture_output=True,
        text=True,
        cwd="/",
        timeout=120,
        check=False,
    )
    return done.stderr.strip() if done.returncode else None


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """The command line with the tiny framework, locked, and one home for all tests that do not make their own."""
    root = tmp_path_factory.mktemp("tiny")
    shutil.copytree(TINY, root / "matrix")
    cli = Cli(home=root / "home", matrix=root / "matrix" / "envmatrix.yaml", cwd=root)
    # One engine's containers are everybody's: two runs of these tests on one machine go one after the other.
    with FileLock(Path(tempfile.gettempdir()) / "envkit-tests-tiny.lock"):
        cli("lock", "tiny-cpu")
        yield cli
        for program in engines():
            if images := engine(program, "images", "--quiet", "envkit/tiny").split():
                engine(program, "image", "rm", "--force", *set(images))


@pytest.fixture
def cli(session: Cli, tmp_path: Path) -> Iterator[Cli]:
    """The command line in a folder of the test's own; afterwards nothing of the tiny framework may run or exist."""
    yield replace(session, cwd=tmp_path)
    left = leftovers(session.home)
    assert not left


@pytest.fixture
def stand_in_gpus() -> Iterator[Path]:
    """A CDI spec of GPUs that are not there: who gets one has STAND_IN_GPU set."""
    info = json.loads(docker("info", "--format", "{{json .}}"))
    folder = Path("/etc/cdi")
    if not info.get("CDISpecDirs"):
        skip("needs an engine with CDI: Docker 28.2, or 25 with `features.cdi`")
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK):
        skip(f"needs root: {folder} is not this user's to write to")
    folder.mkdir(exist_ok=True)
    spec = folder / "envkit-tests.json"
    devices = [
        {
            "name": name,
            "containerEdits": {
                "env": [f"STAND_IN_GPU={name}"],
                "deviceNodes": [{"path": "/dev/nvidia-stand-in", "hostPath": "/dev/null"}],
            },
        }
        for name in ("0", "GPU-aaaa", "GPU-bbbb", "1:0", "MIG-cccc", "all")
    ]
    spec.write_text(json.dumps({"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": devices}))
    yield spec
    spec.unlink()


def leftovers(home: Path, framework: str = "tiny") -> list[str]:
    """What instances left behind in this home and in the engines, in words; it is removed."""
    left = []
    for process in processes(home):
        left.append(f"process {process.pid}: {process.cmdline()}")
        process.kill()
    for folder in (home / "instances").glob("*"):
        left.append(f"folder {folder}")
        shutil.rmtree(folder)
    for program in engines():
        for name in containers(program, framework):
            left.append(f"container {name}")
            engine(program, "rm", "--force", name)
    return left


def engines() -> list[str]:
    """The engines that work here, by their command line."""
    problems = {"docker": docker_problem(), "podman": podman_problem()}
    return [program for program, problem in problems.items() if problem is None]


@pytest.fixture(params=[*ENGINES, "venv"])
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a real backend."""
    return str(request.param)
