"""Steps that are run: skipped, done, failing, and stopped anywhere."""

from __future__ import annotations

import fcntl
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from envkit.backends.base import Silent
from envkit.bootstrap.choose import Outline
from envkit.bootstrap.knowledge import Step, knowledge
from envkit.bootstrap.runner import pending, run_steps
from envkit.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.usefixtures("processes", "as_root")
SEED = 7
_lock = ""
_DRIVER = """\
import os, sys
from pathlib import Path
from envkit.backends.base import Silent
from envkit.bootstrap.runner import run_steps
from tests.unit.bootstrap import test_runner
os.geteuid = lambda: 0
folder = Path(sys.argv[2])
run_steps(getattr(test_runner, sys.argv[1])(folder), folder / "log", Silent())
"""


@pytest.fixture(autouse=True)
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of the test's own."""
    monkeypatch.setattr("tests.unit.bootstrap.test_runner._lock", str(tmp_path / "machine"))
    return tmp_path / "machine"


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are run without sudo."""
    monkeypatch.setattr("os.geteuid", lambda: 0)


def step(name: str, run: str, done: str, *, works: str | None = None) -> Step:
    return Step(
        id=name, title=f"the {name}", reason="invented", run={"any": run}, done=[done], works=[works or done],
        otherwise="try again", source="invented",
    )  # fmt: skip


class Told(Silent):
    """What somebody hears who waits."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.steps: list[str] = []

    def step(self, text: str) -> None:
        """Something begins."""
        self.steps.append(text)


def outline_of(*steps: Step, **values: str) -> Outline:
    return Outline(knowledge().distributions["debian-12"], "docker", "invented", steps, {"lock": _lock, **values})


def planned(folder: Path) -> Outline:
    """Five steps that take their time, and leave a file each."""
    steps = [
        step(
            f"step-{number}",
            f'mkdir -p "$folder/{number}"; sleep 0.02; put "$folder/{number}/file" <<<"$text"; sleep 0.02; touch "$folder/{number}/whole"',
            f'[[ -e "$folder/{number}/whole" ]] && holds "$folder/{number}/file" "$text"',
        )
        for number in range(5)
    ]
    return outline_of(*steps, folder=str(folder), text="it's whole\nand has two lines", lock=f"{folder}.lock")


def orphaned(folder: Path) -> Outline:
    """A step with a program that goes on without its shell, as a package manager does."""
    long = 'touch "$folder/begun"; (sleep 1; touch "$folder/over") & wait'
    return outline_of(step("long", long, '[[ -e "$folder/over" ]]'), folder=str(folder), lock=f"{folder}.lock")


def events(log: Path) -> list[str]:
    """What the log says of steps, without the times."""
    lines = log.read_text().splitlines()
    return [re.sub(r" \d+\.\d s$", "", line.split(" ", 1)[1]) for line in lines if not line.startswith("    ")]


def check_each_was_done_once(told: Sequence[str], steps: Sequence[str]) -> None:
    """However often it was stopped: what had come to its end was not begun again, and in the end all of it holds.

    A step that was killed behind its last command, or that its orphans finished, has no end in the log; it is skipped.
    """
    for name in steps:
        words = [each.split()[0] for each in told if each.split()[1] == name]
        assert "begin" in words
        assert words[-1] in ("end", "skip"), words
        assert not {*words[words.index("end") + 1 :]} - {"skip"} if "end" in words else "skip" in words, words


def test_a_step_is_done_once_and_its_words_are_in_the_log(tmp_path: Path) -> None:
    file, log = tmp_path / "file", tmp_path / "log"
    outline = outline_of(step("only", "echo so; put $file <<<here", "holds $file here"), file=str(file))

    assert pending(outline) == [*outline.steps]
    assert [each.result for each in run_steps(outline, log, Silent())] == ["done"]
    assert pending(outline) == []
    assert [each.result for each in run_steps(outline, log, Silent())] == ["skipped"]
    assert events(log) == ["begin only", "end only", "skip only"]
    assert "    so\n" in log.read_text()


def test_what_will_be_done_anew_is_shown_too() -> None:
    """An engine was restarted for new settings, and its containers stopped, though its step was shown as done."""
    settings, engine = (
        step("settings", "true", "false"),
        structs.replace(step("engine", "true", "true"), follows=["settings"]),
    )

    assert [each.id for each in pending(outline_of(settings, engine))] == ["settings", "engine"]
    assert pending(outline_of(structs.replace(settings, done=["true"]), engine)) == []


@pytest.mark.parametrize(
    ("run", "works", "details"),
    [("echo first; false; echo not reached", "true", "first"), ("echo all well", "false", "all well")],
)
def test_a_step_that_fails_ends_it_with_the_way_out(tmp_path: Path, run: str, works: str, details: str) -> None:
    outline = outline_of(step("bad", run, "false", works=works), step("next", "touch $next", "false"), next="x")

    with pytest.raises(BackendError) as caught:
        run_steps(outline, tmp_path / "log", Silent())

    assert (caught.value.message, caught.value.details, caught.value.hint) == (
        "bad did not work",
        details,
        "try again",
    )
    assert events(tmp_path / "log")[-1].startswith("fail bad ")


def test_a_check_without_an_answer_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It said that `bash` gave no answer, and not which step to look at."""
    monkeypatch.setattr("envkit.bootstrap.runner._LIMIT", 0.2)

    with pytest.raises(BackendError) as caught:
        run_steps(outline_of(step("hangs", "echo started", "sleep 9")), tmp_path / "log", Silent())

    assert (caught.value.message, caught.value.details) == ("hangs did not work", "started")


def test_the_time_that_a_password_takes_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check was given up, and its step failed, while the user was typing."""
    sudo(tmp_path, monkeypatch, "sleep 0.5")
    monkeypatch.setattr("envkit.bootstrap.runner._LIMIT", 0.3)

    assert [
        each.result for each in run_steps(outline_of(step("only", "false", "true")), tmp_path / "log", Silent())
    ] == ["skipped"]


def test_a_password_in_an_address_is_in_no_argument(tmp_path: Path) -> None:
    """`ps` showed it to everybody who was logged in."""
    show = 'cat /proc/[0-9]*/cmdline 2>/dev/null | tr "\\0" " " >>$seen; : "$address"'
    secret = "hunter2-" + "of-ours"  # in no argument of pytest either

    run_steps(
        outline_of(
            step("only", show, f"{{ {show}; }}; false", works=f"{{ {show}; }}"),
            seen=str(tmp_path / "seen"),
            address=f"https://me:{secret}@near.example",
        ),
        tmp_path / "log",
        Silent(),
    )

    seen = (tmp_path / "seen").read_text()
    assert seen.count("bash -c program=$(cat)") >= 3
    assert secret not in seen


@pytest.mark.parametrize(("text", "mode"), [("URIs: https://me:pw@near.example", 0o600), ("URIs: https://x", 0o644)])
def test_a_file_with_a_password_is_root_s_alone(tmp_path: Path, text: str, mode: int) -> None:
    outline = outline_of(
        step("only", 'put "$file" <<<"$text"', 'holds "$file" "$text"'), file=str(tmp_path / "f"), text=text
    )

    run_steps(outline, tmp_path / "log", Silent())

    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == mode


def test_one_at_a_time_whoever_it_is(tmp_path: Path, lock: Path) -> None:
    """Two users' were at work at once."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("ada, process 42\n")
        file.flush()
        with pytest.raises(UsageError) as caught:
            run_steps(outline_of(step("only", "true", "false")), tmp_path / "log", Silent())

    assert (caught.value.message, caught.value.hint) == (
        "another `envkit bootstrap` is at work on this machine: ada, process 42",
        "when it has ended, the same command goes on from there",
    )
    assert not (tmp_path / "log").exists()


def test_a_step_whose_envkit_was_killed_is_waited_for(tmp_path: Path) -> None:
    """It was begun a second time beside itself."""
    folder, told = tmp_path / "server", Told()
    folder.mkdir()
    with subprocess.Popen([sys.executable, "-c", _DRIVER, "orphaned", str(folder)]) as killed:
        while not (folder / "begun").exists():
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()

    ended = run_steps(orphaned(folder), folder / "log", told)

    assert [each.result for each in ended] == ["skipped"]
    assert re.fullmatch(r"waiting for what was left running: step long, process \d+", told.steps[0])


def test_the_next_one_needs_not_wait(tmp_path: Path) -> None:
    for _ in range(2):
        told = Told()
        run_steps(outline_of(step("only", "true", "false", works="true")), tmp_path / "log", told)

        assert told.steps == ["only: the only"]


def test_a_container_without_flock_is_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "cat", "timeout"):
        (tools / name).symlink_to(shutil.which(name) or "")
    monkeypatch.setenv("PATH", str(tools))

    run_steps(outline_of(step("only", "true", "false", works="true")), tmp_path / "log", Silent())

    assert events(tmp_path / "log") == ["begin only", "end only"]


def test_without_the_rights_of_root_nothing_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo(tmp_path, monkeypatch, "exit 1")

    with pytest.raises(BackendError) as caught:
        run_steps(outline_of(step("only", "true", "false")), tmp_path / "log", Silent())

    assert caught.value.message == "this needs the rights of root"
    assert not (tmp_path / "log").exists()


def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str) -> Path:
    """Somebody who is not root, and a `sudo` that does this before it runs what it should; its log."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "sudo").write_text(f'#!/bin/sh\n{does}\nexec "$@"\n')
    (tools / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    return tools / "sudo.log"


def test_anybody_but_root_goes_through_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = sudo(tmp_path, monkeypatch, 'case $1 in --*) echo "$1" >>"$0.log"; shift ;; esac')
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")

    run_steps(outline_of(step("only", "true", "false", works="true")), tmp_path / "log", Silent())

    assert {*log.read_text().splitlines()} == {"--preserve-env=HTTPS_PROXY"}


def until_whole(folder: Path, kill: Callable[[subprocess.Popen[bytes]], None]) -> int:
    """How often it was killed before it came to its end."""
    for kills in range(200):
        run = subprocess.Popen([sys.executable, "-c", _DRIVER, "planned", str(folder)], stderr=subprocess.DEVNULL)
        kill(run)
        if run.wait(timeout=30) == 0:
            return kills
    raise AssertionError("it never came to an end")


def test_killed_anywhere_and_repeated_it_comes_to_the_same_end(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    random, kills = Random(SEED), 0  # noqa: S311  # where to kill is no secret
    for folder in (whole, killed):
        folder.mkdir()
    began = time.monotonic()
    assert until_whole(whole, lambda _: None) == 0
    took = time.monotonic() - began

    def kill(run: subprocess.Popen[bytes]) -> None:
        nonlocal kills
        if kills >= 20:
            return
        kills += 1
        time.sleep(random.uniform(0.4 * took, took))
        run.send_signal(random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT]))

    assert until_whole(killed, kill) > 0
    assert events(whole / "log") == [f"{word} step-{number}" for number in range(5) for word in ("begin", "end")]
    check_each_was_done_once(events(killed / "log"), [f"step-{number}" for number in range(5)])
    assert {path.relative_to(killed) for path in killed.rglob("*")} == {
        path.relative_to(whole) for path in whole.rglob("*")
    }
