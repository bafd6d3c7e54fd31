"""`./envkit` on a fresh machine: a copy of this checkout, a home of its own, and the first command of a newcomer."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uv

import envkit
from tests.conftest import REPOSITORY
from tests.integration.command import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.index
VERSION = f"envkit {envkit.__version__}\n"
NOWHERE = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""
NO_INDEX = {
    name: NOWHERE
    for each in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL", "HTTP_PROXY", "HTTPS_PROXY")
    for name in (each, each.lower())
}
_OURS = ("ENVKIT_", "VIRTUAL_ENV", "PYTHON")


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A new checkout."""
    yield clone(tmp_path / "a checkout")
    shutil.rmtree(tmp_path / "a checkout")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[tuple[int, str, str]]]]:
    """A checkout that two first starts at once have set up, with the plain Python of this machine; and what they said."""
    root = clone(tmp_path_factory.mktemp("launcher") / "a checkout")
    starts = [
        subprocess.Popen(
            [root / "envkit", "--version"], cwd=root, env=environ(root),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [each.communicate(timeout=300) for each in starts]
    yield root, [(each.returncode, *words) for each, words in zip(starts, said, strict=True)]
    shutil.rmtree(root)


def clone(root: Path) -> Path:
    """What git would clone, with what is not committed yet, and nothing that was set up."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, root / name)
    return root


def environ(checkout: Path, **more: str) -> dict[str, str]:
    """A newcomer's environment: their own home, and none of the tests' tools on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    tools = Path(sys.prefix)
    path = [each for each in kept["PATH"].split(os.pathsep) if not Path(each).is_relative_to(tools)]
    home = checkout.parent / "home"
    home.mkdir(exist_ok=True)
    return {**kept, "PATH": os.pathsep.join(path), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", **more}


def with_uv(checkout: Path) -> dict[str, str]:
    """A newcomer who has uv, which sets up faster than pip."""
    tools = checkout.parent / "tools"
    tools.mkdir(exist_ok=True)
    (tools / "uv").unlink(missing_ok=True)
    (tools / "uv").symlink_to(uv.find_uv_bin())
    return {"PATH": f"{tools}{os.pathsep}{environ(checkout)['PATH']}"}


def run(checkout: Path, *argv: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """The ended command, by default `./envkit --version`."""
    return subprocess.run(
        argv or [checkout / "envkit", "--version"],
        cwd=cwd or checkout, env=environ(checkout, **more), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def without_network() -> list[str]:
    """What to put before a command so that it has no network at all, where this user may do that."""
    for prefix in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return []


# Set up once ----------------------------------------------------------------------------------------------------------


def test_two_first_starts_at_once_set_up_once(ready: tuple[Path, list[tuple[int, str, str]]]) -> None:
    checkout, starts = ready

    assert [status for status, _, _ in starts] == [0, 0], starts
    assert [out for _, out, _ in starts] == [VERSION, VERSION]
    said, nothing = sorted((err for _, _, err in starts), reverse=True)
    assert said.startswith(f"setting up envkit in {checkout}/.envkit with Python 3.")
    assert said.splitlines()[-1].startswith("set up in ")
    assert nothing == ""
    assert [each.name for each in (checkout.parent / "home").glob(".local/share/*")] == []


@pytest.mark.parametrize(
    "argv", ["--version", "--help", "list", "plan llamafactory --device cpu", "lock --check", "ps"]
)
def test_later_starts_need_no_network(ready: tuple[Path, object], argv: str) -> None:
    checkout, _ = ready

    done = run(checkout, *without_network(), checkout / "envkit", *argv.split(), **NO_INDEX)

    assert done.returncode == 0, done.stderr
    assert "setting up" not in done.stderr


def test_it_works_through_a_link_from_another_folder(ready: tuple[Path, object], tmp_path: Path) -> None:
    checkout, _ = ready
    link, elsewhere = tmp_path / "bin/envkit", tmp_path / "else where"
    link.parent.mkdir()
    elsewhere.mkdir()
    link.symlink_to(os.path.relpath(checkout / "envkit", link.parent))

    by_name = {"PATH": f"{link.parent}{os.pathsep}{environ(checkout)['PATH']}"}
    for argv, more in (([link, "--version"], {}), ((["envkit", "--version"]), by_name)):
        # The program itself is looked for in the tests' own PATH, so a shell looks for it here.
        done = run(checkout, "sh", "-c", '"$@"', "sh", *argv, cwd=elsewhere, **more)
        assert (done.returncode, done.stdout, done.stderr) == (0, VERSION, "")
    assert list(elsewhere.iterdir()) == []


def test_a_set_up_checkout_has_nothing_new_for_git(ready: tuple[Path, object]) -> None:
    git = ["git", "-C", str(ready[0])]
    subprocess.run([*git, "init", "--quiet"], check=True)
    status = subprocess.run([*git, "status", "--porcelain", "-uall"], capture_output=True, text=True, check=True).stdout

    new = [line[3:].strip('"') for line in status.splitlines()]
    assert [each for each in new if not (REPOSITORY / each).exists()] == []
    assert [each for each in new if each.startswith(".envkit") or "__pycache__" in each or ".egg-info" in each] == []


def test_new_requirements_set_it_up_again_also_with_its_venv_active(ready: tuple[Path, object]) -> None:
    checkout, _ = ready
    requirements = checkout / "requirements/launcher.txt"
    requirements.write_text(f"{requirements.read_text()}# a later version\n")
    active = f"{checkout / '.envkit/venv/bin'}{os.pathsep}{with_uv(checkout)['PATH']}"

    again = run(checkout, PATH=active)

    assert (again.returncode, again.stdout) == (0, VERSION), again.stderr
    assert "setting up envkit" in again.stderr
    assert run(checkout).stderr == ""


def test_a_checkout_that_was_moved_works_on(ready: tuple[Path, object]) -> None:
    checkout, _ = ready
    moved = checkout.parent / "moved"
    checkout.rename(moved)
    try:
        done = run(moved, **with_uv(moved))
        assert (done.returncode, done.stdout) == (0, VERSION), done.stderr
        assert run(moved).stderr == ""
    finally:
        moved.rename(checkout)


# Set up again ---------------------------------------------------------------------------------------------------------


def test_a_set_up_that_failed_or_was_killed_is_repaired(checkout: Path) -> None:
    hasty = {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "UV_HTTP_RETRIES": "0"}
    failed = run(checkout, *without_network(), checkout / "envkit", "--version", **NO_INDEX, **hasty)
    assert (failed.returncode, failed.stdout) == (7, "")
    assert failed.stderr.endswith(
        "error: envkit's own packages could not be installed\n\n"
        "hint: check the network and the package index (PIP_INDEX_URL), then run the same command again\n"
    )
    assert "Traceback" not in failed.stderr
    assert not (checkout / ".envkit/ready").exists()

    killed = subprocess.Popen(
        [checkout / "envkit", "--version"], cwd=checkout, env=environ(checkout), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    # Half-way: packages are being put into the venv.
    until(lambda: list(checkout.glob(".envkit/venv/lib/python3*/site-packages/click*")), timeout=120)
    os.killpg(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert (checkout / ".envkit/venv").is_dir()
    assert not (checkout / ".envkit/ready").exists()

    repaired = run(checkout)
    assert (repaired.returncode, repaired.stdout) == (0, VERSION), repaired.stderr
    assert "setting up envkit" in repaired.stderr
    assert run(checkout).stderr == ""


def test_a_python_that_is_too_old_is_one_error(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    failed = run(checkout, ENVKIT_PYTHON=str(old))

    assert (failed.returncode, failed.stdout) == (7, "")
    assert failed.stderr.startswith("error: envkit needs Python 3.10 or newer\n\nhint: install one")
    assert not (checkout / ".envkit/venv").exists()
