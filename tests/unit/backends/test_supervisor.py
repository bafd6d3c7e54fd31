"""What the supervisor of the venv backend does when somebody removes the record of its instance."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("processes")

QUICKLY = """\
import sys
from pathlib import Path
from envkit.backends import supervisor
supervisor.LOOK_SECONDS, supervisor._GRACE_SECONDS = 0.05, 0.3
sys.exit(supervisor.main(Path(sys.argv[1])))
"""
"""The supervisor, which looks more often."""
SLEEP = "import pathlib, time; pathlib.Path({pid!r}).write_text(str(__import__('os').getpid())); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "home/instances/demo-page"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[[str], tuple[subprocess.Popen[bytes], psutil.Process]]]:
    """Starts a program under a supervisor; both, once the program runs."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
        pid = tmp_path / "pid"
        argv = [sys.executable, "-c", program.format(pid=str(pid))]
        (folder / "launch.json").write_text(json.dumps({"argv": argv}))
        supervisor = subprocess.Popen([sys.executable, "-c", QUICKLY, str(folder)], stderr=subprocess.PIPE)
        started.append(supervisor)
        deadline = time.monotonic() + 20
        while not (pid.exists() and pid.read_text()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return supervisor, psutil.Process(int(pid.read_text()))

    yield start
    for each in started:
        for child in psutil.Process(each.pid).children(recursive=True) if each.poll() is None else []:
            child.kill()
        each.kill()
        each.communicate()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("what", ["the home", "the folder", "the record"])
def test_an_app_whose_record_was_removed_is_ended(
    folder: Path, start: Callable[[str], tuple[subprocess.Popen[bytes], psutil.Process]], what: str
) -> None:
    supervisor, app = start(STUBBORN + SLEEP if what == "the home" else SLEEP)

    match what:
        case "the home":
            shutil.rmtree(folder.parents[1])
        case "the folder":
            shutil.rmtree(folder)
        case _:
            (folder / "launch.json").unlink()

    _, words = supervisor.communicate(timeout=20)
    assert gone(app)
    assert words == b""
    assert not (folder / "exit").exists()


def test_another_instance_of_the_same_name_does_not_keep_it(
    folder: Path, start: Callable[[str], tuple[subprocess.Popen[bytes], psutil.Process]]
) -> None:
    supervisor, app = start(SLEEP)

    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "launch.json").write_text("{}")

    supervisor.communicate(timeout=20)
    assert gone(app)
    assert not (folder / "exit").exists()


def test_an_app_whose_home_was_moved_goes_on(
    folder: Path, start: Callable[[str], tuple[subprocess.Popen[bytes], psutil.Process]]
) -> None:
    supervisor, app = start(SLEEP)

    folder.parents[1].rename(folder.parents[1].with_name("moved"))
    time.sleep(0.5)

    assert supervisor.poll() is None
    assert not gone(app)
