"""The one door to other programs: run them, follow them, and never show a credential."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import psutil

_Result = TypeVar("_Result")

_PR_SET_PDEATHSIG = 1
"""linux/prctl.h"""
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


@dataclass(frozen=True)
class Completed:
    """What a program that has ended left behind."""

    status: int
    stdout: str
    stderr: str


def redact(text: str) -> str:
    """The text with user names and passwords inside addresses replaced by `***`."""
    return _CREDENTIALS.sub("***@", text)


def _missing(argv: Sequence[str]) -> BackendError:
    return BackendError(f"`{argv[0]}` is not installed", hint=f"install it, or put it on the PATH: {argv[0]}")


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    timeout: float | None = None,
    whole: bool = False,
) -> Completed:
    """The ended program's status and output; `timeout` in seconds.

    `whole` programs end by themselves, whatever interrupts us: half of what they do is worse than all of it.

    Raises `BackendError` when the program does not exist or does not end in time; a non-zero status is the caller's
    to judge.
    """
    call = partial(
        subprocess.run,
        list(argv),
        env=env,
        cwd=cwd,
        input=stdin,
        timeout=timeout,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=whole,
    )
    try:
        done = uninterrupted(call) if whole else call()
    except FileNotFoundError as error:
        raise _missing(argv) from error
    except (subprocess.TimeoutExpired, PermissionError) as error:
        reason = error.__context__ or error if isinstance(error, PermissionError) else error  # nobody may end `sudo`
        if isinstance(reason, subprocess.TimeoutExpired):
            raise BackendError(f"`{argv[0]}` gave no answer within {timeout:g} s") from reason
        raise reason from None
    return Completed(done.returncode, redact(done.stdout), redact(done.stderr))


def finish(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float,
) -> Completed:
    """The ended program's status, shell style, and output; whatever ends this call, what it started ends with it.

    Raises `BackendError` when the program does not exist or does not end within `timeout` seconds.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise _missing(argv) from error
    with child:
        try:
            stdout, stderr = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired as error:
            raise BackendError(f"`{argv[0]}` gave no answer within {timeout:g} s") from error
        finally:
            if child.returncode is None:
                _end(_family(child.pid))
    status = child.returncode
    return Completed(status if status >= 0 else 128 - status, redact(stdout), redact(stderr))


def as_root(argv: Sequence[str], *, keep: Sequence[str] = ()) -> list[str]:
    """The command as root runs it: with `sudo` before it for anybody else, who takes the variables `keep` along."""
    if os.geteuid() == 0:
        return list(argv)
    return ["sudo", *([f"--preserve-env={','.join(keep)}"] if keep else []), *argv]


def uninterrupted(call: Callable[[], _Result]) -> _Result:
    """What `call` gives; an interruption waits until it is done, so that whatever it made is there to be removed.

    Who interrupts a second time does not wait.
    """
    if threading.current_thread() is not threading.main_thread():
        return call()  # Python interrupts the main thread alone
    waiting: list[int] = []

    def later(number: int, frame: object) -> None:
        if waiting:
            raise KeyboardInterrupt(number)
        waiting.append(number)

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    ours = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in ours:
        signal.signal(number, later)
    try:
        return call()
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if waiting:
            signal.raise_signal(waiting[0])


def _die_with_parent() -> None:
    """In the child: a killed envkit takes its programs with it, so that none goes on behind the next one's back."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def stream(
    argv: Sequence[str],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> int:
    """The program's exit status, after every line it printed (both streams, as they came) went to `on_line`.

    On Ctrl-C the program, which the terminal told too, gets ten seconds to end by itself. What it started goes with it:
    `podman build` forgets the step that it runs.
    """
    try:
        child = subprocess.Popen(
            list(argv),
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # before any thread of ours
        )
    except FileNotFoundError as error:
        raise _missing(argv) from error
    with child:
        assert child.stdout is not None  # noqa: S101  # asked for above
        try:
            if stdin is not None and child.stdin:
                with suppress(BrokenPipeError):  # it has ended: its status tells
                    child.stdin.write(stdin)
                    child.stdin.close()
            for line in child.stdout:
                on_line(redact(line.rstrip("\n")))
        except BaseException:
            family = _descendants(child.pid)
            with suppress(PermissionError):  # `sudo`: it is root's, and the terminal told it too
                child.terminate()
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                with suppress(PermissionError):
                    child.kill()
            _end(family)
            raise
    return child.returncode


@contextmanager
def beside(argv: Sequence[str]) -> Iterator[Iterator[str]]:
    """The lines that a program says which lives beside the block: it should end when its stdin does."""
    try:
        child = subprocess.Popen(list(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace")
    except FileNotFoundError as error:
        raise _missing(argv) from error
    with child:
        assert child.stdout is not None  # noqa: S101  # asked for above
        yield (line.rstrip("\n") for line in child.stdout)


def _descendants(pid: int) -> list[psutil.Process]:
    return _family(pid)[:-1]


def _family(pid: int) -> list[psutil.Process]:
    """All that the process started, and last itself."""
    import psutil

    try:
        head = psutil.Process(pid)
        return [*head.children(recursive=True), head]
    except psutil.Error:
        return []


def _end(family: list[psutil.Process]) -> None:
    """Politely first; a number that another process has by now is left alone."""
    import psutil

    for number in (signal.SIGTERM, signal.SIGKILL):
        for each in family:
            with suppress(psutil.Error):
                each.send_signal(number)
        _, family = psutil.wait_procs(family, timeout=3)


def attend(argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> int:
    """The program's exit status, after it spoke to the terminal by itself (its progress bars are better than ours)."""
    try:
        return subprocess.run(
            list(argv),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            check=False,
            preexec_fn=_die_with_parent,
        ).returncode
    except FileNotFoundError as error:
        raise _missing(argv) from error
