"""The real command line in processes of its own, at a terminal or not, and a look at what it leaves behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ENVKIT = str(Path(sys.executable).parent / "envkit")
_READ_THE_MATRIX = {"build", "explain", "list", "lock", "plan", "prune", "render", "run", "smoke", "verify"}


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Its result."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Cli:
    """`envkit` with a home and a matrix of its own."""

    home: Path
    matrix: Path | None
    """Laid over the shipped one."""
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """What stands before `envkit`, such as a program that takes rights away."""

    def __call__(self, *args: str | Path, status: int | None = 0, stdin: str = "", timeout: float = 300) -> Done:
        """The ended command, which must have ended with `status`; None: whatever it was."""
        done = subprocess.run(
            self.argv(*args),
            cwd=self.cwd,
            env=self.environ(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert status in (None, done.returncode), f"status {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *args: str | Path, terminal: bool = False) -> Iterator[Running]:
        """The command while it runs, at a terminal of its own or at none."""
        running = Running(self.argv(*args), cwd=self.cwd, env=self.environ(), terminal=terminal)
        try:
            yield running
        finally:
            running.close()

    def instance(self, name: str) -> dict[str, Any] | None:
        """What `envkit ps` says of the instance of that name."""
        return next((each for each in self("ps", "--json").json if each["name"] == name), None)

    def argv(self, *args: str | Path) -> list[str]:
        """The whole command line."""
        command, *rest = map(str, args)
        matrix = ["--matrix", str(self.matrix)] if self.matrix and command in _READ_THE_MATRIX else []
        return [*self.prefix, ENVKIT, command, *matrix, *rest]

    def environ(self) -> dict[str, str]:
        """The environment of every command."""
        return {**os.environ, "ENVKIT_HOME": str(self.home), "NO_COLOR": "1", **self.env}


class Running:
    """A program that runs on; its output is gathered all the time, so it never waits for a reader."""

    def __init__(self, argv: list[str], *, cwd: Path, env: Mapping[str, str], terminal: bool = False) -> None:
        """Starts it in a session of its own; at a terminal, both streams are one."""
        self._out: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._threads: list[threading.Thread] = []
        self._terminal: int | None = None
        if terminal:
            self._terminal, theirs = pty.openpty()
            # The session's leader takes the terminal, as a shell's child has it: then Ctrl-C reaches its whole group.
            argv = ["setsid", "--ctty", "--wait", *argv]
            self.process = subprocess.Popen(argv, cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
            os.close(theirs)
            self._gather("stdout", self._terminal)
        else:
            self.process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                # A shell starts background jobs deaf to Ctrl-C, and the tests may be one.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509  # one call
            )
            assert self.process.stdout
            assert self.process.stderr
            self._gather("stdout", self.process.stdout.fileno())
            self._gather("stderr", self.process.stderr.fileno())

    @property
    def stdout(self) -> str:
        """What came so far."""
        return self._out["stdout"].decode(errors="replace").replace("\r\n", "\n")

    @property
    def stderr(self) -> str:
        """What came so far."""
        return self._out["stderr"].decode(errors="replace")

    def wait_for(self, text: str, timeout: float = 60) -> None:
        """Returns once `text` stands in either stream."""
        until(lambda: text in self.stdout + self.stderr or self.process.poll() is not None, timeout)
        assert text in self.stdout + self.stderr, f"no {text!r} in:\n{self.stdout}\n{self.stderr}"

    def type(self, text: str) -> None:
        """Types at the terminal."""
        assert self._terminal is not None
        os.write(self._terminal, text.encode())

    def send(self, number: int) -> None:
        """Sends the program alone a signal."""
        self.process.send_signal(number)

    def end(self, timeout: float = 60) -> int:
        """The exit status, shell style, once it has ended and all its output is here."""
        status = self.process.wait(timeout)
        for thread in self._threads:
            thread.join(timeout=10)
        assert "Traceback" not in self.stdout + self.stderr, self.stdout + self.stderr
        return status if status >= 0 else 128 - status

    def close(self) -> None:
        """Ends it if it still runs, and gives its files back."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(timeout=10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        if self._terminal is not None:
            os.close(self._terminal)

    def _gather(self, name: str, source: int) -> None:
        def read() -> None:
            try:
                while chunk := os.read(source, 65536):
                    self._out[name] += chunk
            except OSError:  # a terminal's other end is closed
                return

        thread = threading.Thread(target=read, daemon=True)
        thread.start()
        self._threads.append(thread)


def until(true: Callable[[], object], timeout: float = 30) -> None:
    """Returns once `true` says so; the caller looks again and says what was wrong."""
    deadline = time.monotonic() + timeout
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def engine(program: str, *args: str, status: int | None = 0) -> str:
    """What an engine's command line says, both streams."""
    done = subprocess.run(
        [program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600, check=False
    )
    assert status in (None, done.returncode), f"{program} {' '.join(args)}: {done.returncode}\n{done.stdout}"
    return done.stdout


def docker(*args: str, status: int | None = 0) -> str:
    """What the docker command line says, both streams."""
    return engine("docker", *args, status=status)


def containers(program: str, framework: str) -> list[str]:
    """The names of the framework's containers, running or not."""
    label = f"label=io.envkit.framework={framework}"
    return engine(program, "ps", "--all", "--filter", label, "--format", "{{.Names}}").split()


def processes(home: Path) -> list[psutil.Process]:
    """Every process that was started with this ENVKIT_HOME, however far it has left its family."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if each.status() != psutil.STATUS_ZOMBIE and each.environ().get("ENVKIT_HOME") == str(home):
                found.append(each)
    return found
