"""An environment in a backend, with a workspace: what the end-to-end tests run on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envkit.backends.venv import VenvBackend
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tests.integration.command import Cli, docker

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NAMES = f"e2e{os.getpid()}-"
"""What the names of instances begin with, so that two who run these tests at once do not end each other's."""


@dataclass(frozen=True)
class Machine:
    """One environment in one backend, and a workspace."""

    backend: str
    environment: str
    cli: Cli
    workspace: Path

    @property
    def framework(self) -> str:
        """Whose environment it is."""
        return load_matrix().environment(self.environment).framework.name

    def options(self, name: str) -> list[str]:
        """What every `run` of this machine is given."""
        return [
            "--backend", self.backend, "--env", self.environment, "--device", "cpu",
            "--workspace", str(self.workspace), "--name", name,
        ]  # fmt: skip

    def run(self, app: str, *args: str, status: int = 0) -> str:
        """What the app said, on both streams, once it has ended with `status`."""
        options = self.options(name_of(app))
        done = self.cli("run", self.framework, app, *options, "--", *args, status=status, timeout=1500)
        return done.stdout + done.stderr

    @contextmanager
    def server(self, app: str, *args: str) -> Iterator[str]:
        """The address of a server that answers; it is stopped afterwards."""
        name = name_of(app)
        options = [*self.options(name), "--port", "0", "-d", "--json"]
        started = self.cli("run", self.framework, app, *options, "--", *args, timeout=1500)
        try:
            yield started.json["url"]
        finally:
            self.cli("stop", name)

    def prepare(self, *, heads: int = 4) -> None:
        """Puts a tiny model, made by the environment's own Python, and this framework's files into the workspace."""
        said = self.make("make_model.py", "models/tiny", str(heads))
        size = next(int(line) for line in said.splitlines() if line.isdigit())
        assert 90_000 < size < 130_000

    def make(self, program: str, target: str, *more: str) -> str:
        """What a program of these tests says that makes a model; this framework's files are in the workspace then."""
        for folder in ("config", "data", "models"):
            (self.workspace / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / program, self.workspace / "models")
        for file in (HERE / self.framework).glob("*/*"):
            shutil.copy(file, self.workspace / file.parent.name)
        owner = self.workspace.stat()
        for folder in ("config", "data", "models"):
            os.chown(self.workspace / folder, owner.st_uid, owner.st_gid)
        command = [f"models/{program}", target, *more]
        environment = load_matrix().environment(self.environment)
        if self.backend == "docker":
            user = f"{owner.st_uid}:{owner.st_gid}"
            mount = f"{self.workspace}:/workspace"
            return docker("run", "--rm", "--user", user, "--volume", mount, environment.image, "python", *command)
        python = VenvBackend().folder(environment, read_lock(environment).sha256) / "bin/python"
        return subprocess.run([python, *command], cwd=self.workspace, capture_output=True, text=True, check=True).stdout


def name_of(app: str) -> str:
    """Of the instance that these tests start for it."""
    return f"{NAMES}{app}"


def on(*cases: object) -> pytest.MarkDecorator:
    """Runs the test on these machines."""
    return pytest.mark.parametrize("machine", cases, indirect=True)


def fetch(url: str, body: dict[str, Any] | None = None) -> bytes:
    """What the page answers."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: bytes = answer.read()
    return content
