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
from envkit.share import share_root
from envkit.smoke.room import INSIDE
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
    record: bool = False
    """Whether what is seen becomes evidence."""

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

    def smoke(self, *checks: str) -> None:
        """Runs these checks of `envkit smoke`, which all pass."""
        options = ["--backend", self.backend, "--device", "cpu", "--only", ",".join(checks), "--json"]
        recorded = ["--record"] if self.record else []
        done = self.cli("smoke", self.environment, *options, *recorded, status=None, timeout=1500)
        results = {each["name"]: each["result"] for each in done.json["checks"]}
        assert results == dict.fromkeys(checks, "pass"), done.stdout
        assert done.status == 0

    def prepare(self) -> None:
        """Puts the tiny model and the data of smoke tests, made by the environment's own Python, into the workspace."""
        smoke = load_matrix().framework(self.framework).smoke
        for program in smoke.prepare or [["smoke/make_data.py", "sets"], ["smoke/make_model.py", "models/tiny"]]:
            self.make(*program)

    def make(self, *command: str) -> str:
        """What a program that makes a model says; this framework's files are in the workspace then."""
        folders = ("config", "data", "models", "sets", "smoke")
        for folder in folders:
            (self.workspace / folder).mkdir(parents=True, exist_ok=True)
        own = share_root() / "images" / self.framework / "smoke"
        for file in (*INSIDE.glob("*.py"), *HERE.glob("inside/*.py"), *own.glob("*")):
            shutil.copy(file, self.workspace / "smoke")
        for file in (HERE / self.framework).glob("*/*"):
            shutil.copy(file, self.workspace / file.parent.name)
        owner = self.workspace.stat()
        for folder in folders:
            os.chown(self.workspace / folder, owner.st_uid, owner.st_gid)
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
