"""Errors as text and as JSON, with one exit status; colour; tables."""

from __future__ import annotations

import errno
import json
import signal
import sys

import click
import pytest

from envkit.cli import console
from envkit.cli.console import ConsoleProgress, print_table, report_error, style
from envkit.errors import (
    AppError,
    BackendError,
    BuildError,
    EnvkitError,
    MatrixError,
    NoPlanError,
    ResolutionError,
    StaleLockError,
    UsageError,
)

ERRORS: list[BaseException] = [
    UsageError("a"),
    MatrixError(["f:1: a: b", "f:2: c: d"]),
    NoPlanError("a", rejected=[("e", ("r1", "r2"))]),
    ResolutionError("a", details="b\nc"),
    StaleLockError("a", hint="b"),
    BackendError("a"),
    BuildError("a"),
    AppError("a", status=77),
    EnvkitError("a"),
    click.UsageError("a"),
    click.BadParameter("a", param_hint="--port"),
    click.FileError("a", "b"),
    OSError(errno.ENOSPC, "No space left on device", "/x"),
    PermissionError(errno.EACCES, "Permission denied", "/x"),
    OSError(errno.EROFS, "Read-only file system", "/x"),
]


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(sys, "argv", ["envkit", "list"])


@pytest.mark.parametrize("error", ERRORS, ids=lambda each: type(each).__name__)
def test_text_and_json_have_the_same_exit_status(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    as_text = report_error(error)
    text = capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["envkit", "list", "--json"])
    as_json = report_error(error)
    shown = capsys.readouterr()

    assert as_text == as_json != 0
    assert text.out == ""
    assert text.err.startswith("error: ")
    assert shown.err == ""
    body = json.loads(shown.out)["error"]
    assert body["exit_code"] == as_json
    assert text.err.splitlines()[0] == f"error: {body['message']}"
    assert all(f"  {line}\n" in text.err for line in body["details"].splitlines())


def test_an_error_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    status = report_error(BuildError("it failed", details="one\ntwo", hint="try again"))

    assert status == 8
    assert capsys.readouterr() == ("", "error: it failed\n  one\n  two\n\nhint: try again\n")


def test_an_error_as_json_keeps_its_parts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["envkit", "plan", "demo", "--json"])

    report_error(NoPlanError("nothing fits", rejected=[("a", ("too old",))], hint="update"))
    report_error(MatrixError(["f:1: a: b"]))

    first, second = capsys.readouterr().out.split("}\n{")
    assert json.loads(first + "}")["error"] == {
        "kind": "no-plan",
        "message": "nothing fits",
        "details": "a: too old",
        "hint": "update",
        "exit_code": 4,
        "rejected": [{"environment": "a", "reasons": ["too old"]}],
    }
    assert json.loads("{" + second)["error"]["faults"] == ["f:1: a: b"]


@pytest.mark.parametrize("argv", [["envkit", "list"], ["envkit", "list", "--json"]])
def test_no_credential_is_shown(
    argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    secret = "https://me:hunter2@index.example"

    report_error(BuildError(f"no answer from {secret}", details=f"asked {secret}", hint=f"try {secret}"))

    out, err = capsys.readouterr()
    assert "hunter2" not in out + err
    assert (out + err).count("https://***@index.example") == 3


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (KeyboardInterrupt(), 130),
        (KeyboardInterrupt(signal.SIGTERM), 143),
        (KeyboardInterrupt(signal.SIGHUP), 129),
        (click.exceptions.Abort(), 130),
    ],
)
def test_an_interruption_has_the_status_that_shells_give_it(
    error: BaseException, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report_error(error) == status
    assert capsys.readouterr() == ("", "interrupted\n")


def test_an_interruption_that_click_has_caught_keeps_its_status() -> None:
    error = click.exceptions.Abort()
    error.__cause__ = KeyboardInterrupt(signal.SIGTERM)

    assert report_error(error) == 143


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        report_error(ZeroDivisionError())


def test_json_that_is_meant_for_the_app_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["envkit", "run", "demo", "train", "--", "--json"])

    report_error(UsageError("a"))

    assert capsys.readouterr() == ("", "error: a\n")


# Colour and tables ----------------------------------------------------------------------------------------------------


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    assert style("x", fg="red", bold=True) == "x"

    monkeypatch.setenv("NO_COLOR", "")  # https://no-color.org: only when it is not empty
    assert style("x", fg="red") == "\x1b[31mx\x1b[0m"


def test_a_table_is_text_that_holds_every_cell_whole(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["Name", "What"], [["a", "x" * 100], ["[red]b", "1.0"]])

    rows = [[cell for cell in line.split("  ") if cell.strip()] for line in capsys.readouterr().out.splitlines()]
    assert [[cell.strip() for cell in row] for row in rows if "─" not in row[0]] == [
        ["Name", "What"],
        ["a", "x" * 100],
        ["[red]b", "1.0"],
    ]


def test_progress_is_plain_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([100.0, 101.25, 165.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))

    progress = ConsoleProgress()
    progress.step("system 1/2")
    progress.detail("a line of the step")
    progress.done("built")

    assert not progress.terminal
    assert capsys.readouterr() == ("", "   1.2s · system 1/2\n  65.0s ✓ built\n")
