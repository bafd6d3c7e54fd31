"""What the tests share: the guard around the fast ones, an invented matrix, skips by name, and pytest's options."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envkit.lock.resolver import write_lock
from envkit.matrix.load import Matrix, load_matrix
from tests.fakes import demo_lock

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent
_FAST = [TESTS / "unit", TESTS / "knowledge", TESTS / "golden"]


# Options and skips ----------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--update-golden` and `--record-evidence`."""
    parser.addoption(
        "--update-golden", action="store_true", help="write what envkit makes today into tests/golden and tests/hosts"
    )
    parser.addoption(
        "--record-evidence", action="store_true", help="write what the tests in tests/e2e saw into evidence.json"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs an engine where there is none, by name; with ENVKIT_TESTS_NO_SKIP=1 that is a failure."""
    refuse = pytest.fail if os.environ.get("ENVKIT_TESTS_NO_SKIP") == "1" else pytest.skip
    if item.get_closest_marker("docker") and (problem := docker_problem()):
        refuse(f"needs a Docker engine: {problem}")
    if item.get_closest_marker("podman") and (problem := podman_problem()):
        refuse(f"needs podman: {problem}")


def docker_problem() -> str | None:
    """Why no Docker engine can be used, in its command line's words, or None."""
    return _problem("docker", "version")


def podman_problem() -> str | None:
    """Why podman cannot be used, in its own words, or None."""
    return _problem("podman", "info")


@cache
def _problem(*argv: str) -> str | None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (done.stderr.strip() or f"`{' '.join(argv)}` ended with {done.returncode}") if done.returncode else None


# The guard ------------------------------------------------------------------------------------------------------------

_CONNECTIONS = {"socket.connect", "socket.getaddrinfo"}
_PROCESSES = {"subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn"}
_FILES = {"open", "os.listdir", "os.scandir", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink"}
_HOMES = {Path(pwd.getpwuid(os.getuid()).pw_dir), Path.home()} - {Path("/")}
_forbidden: set[str] = set()
"""Audit events that the running test may not cause."""
_own: set[Path] = set()
"""Folders that are the tests' own, even where they lie in the developer's home."""


def _audit(event: str, args: tuple[Any, ...]) -> None:
    """Sees every connection, process and file of this interpreter (PEP 578), whoever asks for it."""
    if event not in _forbidden:
        return
    if event in _CONNECTIONS:
        address = args[1] if event == "socket.connect" else args
        host = address[0] if isinstance(address, tuple) else "a path"
        if not str(host or "localhost").startswith(("127.", "::1", "localhost")):
            _refuse(f"a connection to {address!r}")
    elif event in _PROCESSES:
        _refuse(f"a process: {args[:2]!r}; a test that needs one asks for the fixture `processes`")
    elif isinstance(args[0], (str, bytes, os.PathLike)):
        path = Path(os.fsdecode(args[0])).absolute()
        if any(map(path.is_relative_to, _HOMES)) and not any(map(path.is_relative_to, _own)):
            _refuse(f"a file in the real home: {path}")


def _refuse(what: str) -> None:
    pytest.fail(f"a fast test may not touch the world outside, and this one asked for {what}")


sys.addaudithook(_audit)


@pytest.fixture(autouse=True)
def guard(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keeps fast tests off the network, other programs and the user's files, and gives them a home of their own."""
    if not any(folder in request.path.parents for folder in _FAST):
        yield
        return
    tmp_path: Path = request.getfixturevalue("tmp_path")
    for name in [
        each for each in os.environ if each.startswith(("ENVKIT_", "XDG_", "DOCKER_", "UV_", "PIP_", "CUDA_"))
    ]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("ENVKIT_HOME", str(home / "envkit"))
    for folder in (REPOSITORY, tmp_path.parent, *map(Path, [sys.prefix, sys.base_prefix, *filter(None, sys.path)])):
        _own.update({folder.absolute(), folder.resolve()})
    _forbidden.update(_CONNECTIONS, _PROCESSES, _FILES)
    yield
    _forbidden.clear()


@pytest.fixture
def processes(guard: None) -> None:
    """Lets a fast test start other programs."""
    _forbidden.difference_update(_PROCESSES)


# The invented matrix --------------------------------------------------------------------------------------------------


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of an invented tree (tests/share, with the real templates) that envkit takes for its own."""
    root = tmp_path / "share"
    shutil.copytree(TESTS / "share", root)
    for template in (REPOSITORY / "images").glob("*.j2"):
        shutil.copy(template, root / "images")
    monkeypatch.setattr("envkit.share._CHECKOUT", root)
    return root


@pytest.fixture
def matrix(share: Path) -> Matrix:
    """The invented matrix, with a fresh lock for each of its environments."""
    found = load_matrix()
    for environment in found.environments():
        write_lock(environment, demo_lock(environment))
    return found
