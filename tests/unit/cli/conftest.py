"""What the tests of the command line share: calling it, and the machine that it finds."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from envkit.cli import main
from envkit.host.facts import Endpoint, HostFacts
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix


@dataclass(frozen=True)
class Result:
    """What a call left behind."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What was printed as JSON."""
        return json.loads(self.out)


@dataclass
class Machine:
    """What the command line finds: facts, and backends that keep instances in memory."""

    facts: HostFacts = field(default_factory=lambda: HostFacts(gpus=()))
    network: tuple[Endpoint, ...] = ()
    docker: FakeBackend = field(default_factory=FakeBackend)
    podman: FakeBackend = field(default_factory=lambda: FakeBackend("podman", problem="podman is not installed"))
    venv: FakeBackend = field(default_factory=lambda: FakeBackend("venv"))

    def backends(self) -> dict[str, FakeBackend]:
        """Best first."""
        return {"docker": self.docker, "podman": self.podman, "venv": self.venv}


Envkit = Callable[..., Result]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a GPU, where Docker and venvs work; a test may change it before it calls."""
    machine = Machine()
    for module in (
        "bootstrap",
        "build",
        "doctor",
        "estimate",
        "host",
        "list",
        "plan",
        "run",
        "smoke",
        "up",
        "verify",
    ):
        monkeypatch.setattr(f"envkit.cli.{module}.probe_host", lambda *_: machine.facts)
    monkeypatch.setattr("envkit.host.probes.probe_host", lambda *_: machine.facts)  # where it is imported late
    monkeypatch.setattr("envkit.cli.doctor.probe_network", lambda _: machine.network)
    for module in ("build", "instances", "plan", "run", "smoke", "verify"):
        monkeypatch.setattr(f"envkit.cli.{module}.backends", machine.backends)
    return machine


@pytest.fixture
def envkit(
    matrix: Matrix, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Envkit]:
    """Calls the command line in this process, on the invented matrix."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}

    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)  # click would call itself `python -m pytest`

    def call(*argv: str) -> Result:
        monkeypatch.setattr("sys.argv", ["envkit", *argv])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Result(int(ended.value.code or 0), out, err)

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)
