"""A workspace of its own in which an environment runs what a check needs: apps, as `envkit run` starts them, and programs."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Timer
from typing import TYPE_CHECKING

import msgspec

from envkit.apps.launch import Request, plan_launch
from envkit.apps.run import run_attached, run_detached
from envkit.apps.workspace import open_workspace
from envkit.audit.known import known
from envkit.backends.base import Mount
from envkit.diagnose.keep import Kept
from envkit.errors import BackendError
from envkit.matrix.schema import App
from envkit.render.context import CONTAINER_WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envkit.backends.base import Backend, Launch, Recipe
    from envkit.host.facts import Gpu

INSIDE = Path(__file__).parent / "inside"
"""Programs that run in environments, with their Python and what they have."""
FOLDER = "smoke"
"""Where they lie in a workspace, beside the framework's own files."""
_DOWNLOADS = ("huggingface", "modelscope")
"""Caches that a check has for itself, so that nothing of the user's helps it; what is compiled stays where it is."""
_AGAIN_SECONDS = 0.2
_PROGRAM = App(about="a program of envkit's", argv=["python"])


@dataclass(frozen=True)
class Ended:
    """A program that has ended, or was ended."""

    status: int | None
    """None: it did not end in time."""
    output: str
    """Both streams, as they came."""
    seconds: float


class Server:
    """An app that listens."""

    def __init__(self, url: str) -> None:
        """Its address."""
        self.url = url
        self.output = ""
        """All that it printed; once it has been stopped."""


class Room:
    """Runs apps and programs of one environment, each as an instance of its own that is gone afterwards."""

    def __init__(
        self, backend: Backend, backends: Mapping[str, Backend], recipe: Recipe, workspace: Path, gpus: tuple[Gpu, ...]
    ) -> None:
        """`workspace` is a folder that may be filled."""
        self.workspace = workspace
        self.environment = recipe.environment
        self.gpus = gpus
        self._backend, self._backends, self._recipe = backend, backends, recipe
        self._running: set[str] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether nothing may run in it any more."""
        return self._closed

    def close(self) -> None:
        """Ends all that runs in it, and lets nothing begin; what was just being started is ended once it is there."""
        self._closed = True
        while self._running:
            for name in list(self._running):
                self._backend.remove(name, grace_seconds=5)
            time.sleep(_AGAIN_SECONDS)

    def furnish(self) -> None:
        """Puts envkit's programs and the framework's files into the workspace, for nobody to change."""
        own = self.environment.framework_home / "images" / self.environment.framework.name / FOLDER
        folder = self.workspace / FOLDER
        for source in filter(Path.is_dir, (INSIDE, own)):
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        open_workspace(self._launch("furnish", _PROGRAM, (), {}), self.environment)

    def program(self, name: str, *argv: str, within_seconds: float) -> Ended:
        """How a program of `inside/` or the framework's ended, run with the environment's Python."""
        return self.run(name, _PROGRAM, argv, within_seconds=within_seconds)

    def run(
        self, name: str, app: App, args: Sequence[str], *, env: Mapping[str, str] | None = None, within_seconds: float
    ) -> Ended:
        """How a job ended; it has no network in a container, and is ended when its time is over."""
        launch = self._launch(name, app, args, env or {})
        launch = replace(launch, argv=("python", f"{FOLDER}/measure.py", *launch.argv), network=False)
        kept, late = Kept(), Event()

        def stop() -> None:
            late.set()
            self._backend.remove(launch.name, grace_seconds=5)

        timer = Timer(within_seconds, stop)
        began = time.monotonic()
        timer.start()
        try:
            with self._instance(launch):
                status = run_attached(self._backend, launch, app, output=kept.add, up=lambda: None)
        finally:
            timer.cancel()
        output = b"".join(kept.chunks()).decode(errors="replace")
        return Ended(None if late.is_set() else status, output, time.monotonic() - began)

    @contextmanager
    def serve(
        self, name: str, app: App, args: Sequence[str], *, env: Mapping[str, str], within_seconds: int
    ) -> Iterator[Server]:
        """The app once it answers; raises `AppError` with its last lines where it does not in time."""
        assert app.health  # noqa: S101  # whoever describes a framework was told
        app = msgspec.structs.replace(app, health=msgspec.structs.replace(app.health, within_seconds=within_seconds))
        planned = self._launch(name, app, args, env, port=0)
        with self._instance(planned):
            launch = run_detached(self._backend, planned, app)
            server = Server(str(launch.url))
            try:
                yield server
            finally:
                server.output = b"".join(self._backend.logs(launch.name, follow=False)).decode(errors="replace")
                self._backend.remove(launch.name)

    @contextmanager
    def _instance(self, launch: Launch) -> Iterator[None]:
        """Knows the instance as long as it may run."""
        self._running.add(launch.name)
        try:
            if self._closed:
                raise BackendError("interrupted")
            yield
        finally:
            self._running.discard(launch.name)

    def _launch(
        self, name: str, app: App, args: Sequence[str], env: Mapping[str, str], *, port: int | None = None
    ) -> Launch:
        caches = self.environment.framework.caches
        home = CONTAINER_WORKSPACE if self._backend.isolated else str(self.workspace)
        apart = {caches[each].env: f"{home}/.cache/{each}" for each in _DOWNLOADS if each in caches}
        request = Request(
            app=name,
            args=tuple(args),
            workspace=self.workspace,
            gpus=self.gpus,
            name=f"smoke-{os.getpid()}-{name}",
            port=port,
            env={**known().offline.variables, **apart, **env},
        )
        launch = plan_launch(request, app, self._recipe, self._backend, self._backends)
        fixed = Mount(self.workspace / FOLDER, f"{CONTAINER_WORKSPACE}/{FOLDER}", read_only=True)
        return replace(launch, mounts=(*launch.mounts, fixed))
