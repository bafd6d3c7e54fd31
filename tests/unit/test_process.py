"""Other programs are run, followed and ended, and no credential is shown; with a real Python as the program."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from envkit import process
from envkit.errors import BackendError
from envkit.process import Completed, redact

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("processes")

NOISY = "import sys; print('to https://me:hunter2@index.example/'); print('err', file=sys.stderr); sys.exit(3)"


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_an_interruption_waits_until_what_is_made_is_whole() -> None:
    made = []

    def make() -> None:
        signal.raise_signal(signal.SIGINT)
        made.append("it")

    with pytest.raises(KeyboardInterrupt):
        process.uninterrupted(make)

    assert made == ["it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_interrupts_twice_does_not_wait() -> None:
    def make() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it went on")

    with pytest.raises(KeyboardInterrupt):
        process.uninterrupted(make)

    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_not_interrupted_gives_its_result_and_its_error() -> None:
    assert process.uninterrupted(lambda: 4) == 4
    with pytest.raises(ZeroDivisionError):
        process.uninterrupted(lambda: 1 // 0)


def test_a_whole_program_ends_by_itself_when_we_are_interrupted(tmp_path: Path) -> None:
    done = tmp_path / "done"
    program = f"import os, pathlib, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(1); pathlib.Path({str(done)!r}).touch()"

    with pytest.raises(KeyboardInterrupt):
        process.run(python(program), whole=True)

    assert done.exists()


# Credentials ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@index.example/simple", "https://***@index.example/simple"),
        ("https://token@index.example", "https://***@index.example"),
        ("http_proxy=http://me:p%40ss@proxy:8080, next", "http_proxy=http://***@proxy:8080, next"),
        ("https://a:b@x.example and socks5h://c:d@y.example", "https://***@x.example and socks5h://***@y.example"),
        ("https://index.example/simple", "https://index.example/simple"),
        ("https://index.example/@scope/name", "https://index.example/@scope/name"),
        ("mail me@example.com", "mail me@example.com"),
        ("", ""),
    ],
)
def test_credentials_in_addresses_are_not_shown(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    ["https://:hunter2@index.example", "https://me:hunt@er2@index.example"],
)
def test_credentials_of_any_spelling_are_not_shown(text: str) -> None:
    assert redact(text) == "https://***@index.example"


def test_a_long_line_takes_no_long_time() -> None:
    began = time.monotonic()
    redact("://" * 100_000 + "a" * 1_000_000)

    assert time.monotonic() - began < 10


# run ------------------------------------------------------------------------------------------------------------------


def test_an_ended_program_leaves_status_and_output_without_credentials() -> None:
    assert process.run(python(NOISY)) == Completed(3, "to https://***@index.example/\n", "err\n")


def test_input_folder_and_variables_are_handed_over(tmp_path: Path) -> None:
    code = "import os, sys; print(sys.stdin.read(), os.getcwd(), os.environ['WHO'])"

    done = process.run(python(code), stdin="hello", cwd=tmp_path, env={"WHO": "me"})

    assert done.stdout == f"hello {tmp_path} me\n"


def test_output_that_is_no_text_is_no_error() -> None:
    assert process.run(python(r"import os; os.write(1, b'a\xffb')")).stdout == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize("how", ["run", "stream", "attend"])
def test_a_program_that_is_not_there(how: str) -> None:
    more = [print] if how == "stream" else []

    with pytest.raises(BackendError) as caught:
        getattr(process, how)(["no-such-program", "-x"], *more)

    assert caught.value.message == "`no-such-program` is not installed"
    assert caught.value.hint == "install it, or put it on the PATH: no-such-program"


def test_a_program_that_does_not_end_in_time() -> None:
    argv = python("import time; time.sleep(60)")

    with pytest.raises(BackendError) as caught:
        process.run(argv, timeout=0.2)

    assert caught.value.message == f"`{sys.executable}` gave no answer within 0.2 s"


@pytest.mark.parametrize(("ends", "told"), [("timeout", BackendError), ("Ctrl-C", KeyboardInterrupt)])
def test_why_a_program_of_root_was_to_end_is_told(
    monkeypatch: pytest.MonkeyPatch, ends: str, told: type[BaseException]
) -> None:
    """Nobody but root may signal `sudo`, and "permission denied" was said."""

    def refuse(child: subprocess.Popen[str]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("subprocess.Popen.kill", refuse)
    interrupt = "os.kill(os.getppid(), signal.SIGINT);" if ends == "Ctrl-C" else ""
    with pytest.raises(told):
        process.run(
            python(f"import os, signal, time; {interrupt} time.sleep(0.5)"), timeout=0.2 if not interrupt else 9
        )


# stream ---------------------------------------------------------------------------------------------------------------


def test_what_a_program_reads_is_not_in_its_arguments() -> None:
    lines: list[str] = []

    assert process.stream(python("import sys; print(sys.stdin.read())"), lines.append, stdin="a\nb") == 0
    assert lines == ["a", "b"]


def test_a_program_that_reads_nothing_gives_its_status() -> None:
    assert process.stream(["true"], print, stdin="x" * 1_000_000) == 0


def test_every_line_is_told_as_it_came_without_credentials() -> None:
    lines: list[str] = []

    assert (
        process.stream(
            python(NOISY.replace("print('to", "sys.stdout.reconfigure(line_buffering=True); print('to")), lines.append
        )
        == 3
    )
    assert lines == ["to https://***@index.example/", "err"]


def test_a_program_is_ended_when_its_reader_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[subprocess.Popen[str]] = []
    popen = subprocess.Popen

    def remember(*args: object, **more: object) -> subprocess.Popen[str]:
        children.append(popen(*args, **more))
        return children[0]

    def fail(line: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen", remember)
    with pytest.raises(KeyboardInterrupt):
        process.stream(python("import time; print(1, flush=True); time.sleep(60)"), fail)

    assert children[0].poll() == -15


def test_ctrl_c_stays_ctrl_c_where_the_program_is_root_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody but root may signal `sudo`, and "permission denied" was said in place of "interrupted"."""

    def refuse(child: subprocess.Popen[str]) -> None:
        raise PermissionError(1, "Operation not permitted")

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.Popen.terminate", refuse)
    with pytest.raises(KeyboardInterrupt):
        process.stream(python("import time; print(1, flush=True); time.sleep(0.3)"), interrupt)


def test_a_program_at_the_terminal_gives_its_status() -> None:
    assert process.attend(python("raise SystemExit(4)")) == 4
