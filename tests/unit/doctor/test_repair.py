"""The commands that `--fix` runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.doctor.finding import Finding
from envkit.doctor.repair import Done, Repair, repairs, run_repairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from envkit.process import Completed


def finding(name: str, *commands: tuple[str, ...]) -> Finding:
    return Finding(name, "error", "", "", "", ("fix it",), commands, "")


@pytest.mark.parametrize(("uid", "sudo"), [(0, ()), (1000, ("sudo",))])
def test_anybody_but_root_needs_sudo(monkeypatch: pytest.MonkeyPatch, uid: int, sudo: tuple[str, ...]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: uid)

    assert repairs([finding("a", ("modprobe", "nvidia")), finding("b")]) == [Repair("a", (*sudo, "modprobe", "nvidia"))]


def test_a_command_that_mends_two_findings_is_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    generate = ("nvidia-ctk", "cdi", "generate")

    assert [each.argv for each in repairs([finding("a", generate, ("b",)), finding("c", generate)])] == [
        generate,
        ("b",),
    ]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts a program on the PATH."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(name: str, script: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)

    return make


def test_what_became_of_each_one_failing_keeps_none_from_running(
    program: Callable[[str, str], None], processes: None, tmp_path: Path
) -> None:
    program("first", "echo one; echo two >&2; exit 3")
    program("last", f"touch {tmp_path}/ran")
    planned = [Repair("a", ("first",)), Repair("b", ("nobody-has-this", "x")), Repair("c", ("last", "x"))]
    started: list[Repair] = []

    assert run_repairs(planned, started.append) == [
        Done(planned[0], 3, "one\ntwo"),
        Done(planned[1], 127, "`nobody-has-this` is not installed"),
        Done(planned[2], 0, ""),
    ]
    assert started == planned
    assert (tmp_path / "ran").exists()


def test_a_program_behind_sudo_is_looked_for_too(program: Callable[[str, str], None], processes: None) -> None:
    program("sudo", "exit 99")
    missing, there = Repair("a", ("sudo", "nobody-has-this")), Repair("b", ("sudo", "true"))

    assert run_repairs([missing, there], lambda _: None) == [
        Done(missing, 127, "`nobody-has-this` is not installed"),
        Done(there, 99, ""),
    ]


def test_sudo_may_be_missing_itself(
    program: Callable[[str, str], None], processes: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program("modprobe", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    repair = Repair("a", ("sudo", "modprobe"))

    assert run_repairs([repair], lambda _: None) == [Done(repair, 1, "`sudo` is not installed")]


def test_a_program_that_hangs_is_ended(
    program: Callable[[str, str], None], processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("hangs", "exec sleep 60")
    monkeypatch.setattr("envkit.doctor.repair._LIMIT", 0.2)
    repair = Repair("a", ("hangs",))

    assert run_repairs([repair], lambda _: None) == [Done(repair, 1, "`hangs` gave no answer within 0.2 s")]


def test_a_program_of_roots_that_cannot_be_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> Completed:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("envkit.process.run", run)
    repair = Repair("a", ("sudo", "sh"))

    assert run_repairs([repair], lambda _: None) == [Done(repair, 1, "`sh` gave no answer within 120 s")]


def test_ctrl_c_ends_the_repairs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> Completed:
        raise KeyboardInterrupt

    monkeypatch.setattr("envkit.process.run", run)
    started: list[Repair] = []
    with pytest.raises(KeyboardInterrupt):
        run_repairs([Repair("a", ("sh",)), Repair("b", ("sh",))], started.append)

    assert [each.finding for each in started] == ["a"]
