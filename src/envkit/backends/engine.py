"""What container engines have in common: images known by their labels, apps in containers, limits that may be refused."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import process
from envkit.backends.base import Entry, Instance, Made, NotRunningError
from envkit.backends.buildkit import AGAIN, BASE_LABEL, RECIPE_LABEL, build_hint, build_options, recipe_hash
from envkit.errors import BackendError, BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envkit.backends.base import BackendName, Launch, Progress, Recipe
    from envkit.process import Completed

LABEL = "io.envkit."
PREFIX = "envkit-"
IMAGES = "envkit/"
"""What the names of images begin with."""
LIMITS = {
    "memlock": -1,  # pinned memory
    "stack": 64 * 2**20,
    "nofile": 1048576,  # Docker 29 starts containers with 1024
}
"""Soft and hard in one; -1 is none."""


@dataclass(frozen=True)
class Image:
    """An image that was built by envkit, as its engine describes it."""

    id: str
    tags: tuple[str, ...]
    labels: Mapping[str, str]
    size: int
    """In bytes."""
    unshared: int | None = None
    """What no other image has; None where the engine does not tell."""
    containers: tuple[str, ...] = ()
    """The names of its containers, running or not."""


@dataclass(frozen=True)
class Container:
    """A container that carries envkit's label, as its engine describes it."""

    id: str
    labels: Mapping[str, str]
    created: str
    """RFC 3339, UTC, to the millisecond."""
    running: bool
    exit_status: int
    env: tuple[str, ...] = ()
    """`NAME=VALUE` each."""


class ContainerBackend(ABC):
    """Environments as images, apps as containers; what differs between engines is left to each."""

    name: BackendName
    title: str
    """In messages."""
    program: str
    """Its command line."""
    isolated = True

    @abstractmethod
    def problem(self) -> str | None:
        """Why the engine cannot be used, in one sentence, or None."""

    @abstractmethod
    def _hint(self, problem: str) -> str:
        """What to do about a problem."""

    @abstractmethod
    def _image_labels(self, image: str) -> Mapping[str, str] | None:
        """The image's labels; None where there is no such image."""

    @abstractmethod
    def _build(self, options: list[str], progress: Progress) -> tuple[str, str] | None:
        """None once the image is there, else the failing step's name (where one failed) and its last lines."""

    @abstractmethod
    def _images(self) -> list[Image]:
        """The images with the label of a recipe, tagged or not."""

    @abstractmethod
    def _remove_image(self, image: str) -> None:
        """Takes the tag away, and with the last tag the image; raises `BackendError` where a container uses it."""

    @abstractmethod
    def _containers(self, label: str) -> list[Container]:
        """The containers, running or not, with `io.envkit.<label>`; `label` may be `NAME=VALUE`."""

    @abstractmethod
    def _created(self, launch: Launch, limits: Mapping[str, int]) -> str:
        """The id of a new container, not started yet."""

    @abstractmethod
    def _started(self, launch: Launch, limits: Mapping[str, int]) -> None:
        """Creates and starts a container; one that does not start is removed."""

    @abstractmethod
    def _lower_limits(self) -> Mapping[str, int]:
        """What to ask for where the engine may not set `LIMITS`."""

    @abstractmethod
    def wait(self, name: str) -> int:
        """Waits until the container ends; its exit status."""

    @abstractmethod
    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Stops and removes the container, with its anonymous volumes."""

    # Environments

    def has(self, recipe: Recipe) -> bool:
        """Whether the image exists and was built from exactly these files, on the base image that was asked for."""
        labels = self._image_labels(recipe.environment.image)
        if labels is None:
            return False
        same_base = recipe.base_image in (None, labels.get(BASE_LABEL))
        return same_base and labels.get(RECIPE_LABEL) == recipe_hash(recipe)

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Builds the image; raises `BuildError` with the failing step's last lines."""
        if problem := self.problem():
            raise BackendError(f"{self.title} cannot be used: {problem}", hint=self._hint(problem))
        with tempfile.TemporaryDirectory(prefix="envkit-build-") as folder:
            if failure := self._build(build_options(recipe, Path(folder)), progress):
                step, details = failure
                where = f" at step {step}" if step else ""
                hint = build_hint(details, self.program, recipe.mirror)
                raise BuildError(
                    f"building {recipe.environment.image} failed{where}",
                    details=details,
                    hint=hint,
                    log=details.encode() if hint == AGAIN else b"",
                )

    def key(self, recipe: Recipe) -> str:
        """The hash of all that it is built from, its name included."""
        return recipe_hash(recipe)

    def environments(self) -> list[Made]:
        """Every tag of ours, and what has none: images that a newer build took it from, and podman's of build stages.

        Tags that a user gave are not ours.
        """
        made = [one for image in self._images() for one in _made(image)]
        return sorted(made, key=lambda each: each.name)

    def discard(self, made: Made) -> None:
        """Removes the tag, and with the last one the image."""
        self._remove_image(made.name)

    # Instances

    def start(self, launch: Launch) -> None:
        """Starts a container and returns at once; one that does not start is removed."""
        try:
            self._started(launch, LIMITS)
        except BackendError as error:
            if "rlimit" not in error.message:
                raise
            # An engine without CAP_SYS_RESOURCE, such as a rootless one, may not raise limits: its own must do.
            self._started(launch, self._lower_limits())

    def attend(self, launch: Launch) -> int:
        """Runs the container at this terminal, through the command line, which knows terminals."""
        limits = self._bearable_limits(launch)
        try:
            container = self._created(launch, limits)
        except KeyboardInterrupt:
            self.remove(launch.name)
            raise
        try:
            subprocess.run([self.program, "start", "--attach", "--interactive", container], check=False)
            return self.wait(launch.name)
        except FileNotFoundError as error:
            raise BackendError(
                f"terminal apps need the `{self.program}` command line", hint="install it, or use `--backend venv`"
            ) from error
        finally:
            self.remove(launch.name)

    def call(self, launch: Launch, *, timeout: float) -> Completed:
        """Runs a container of its own to its end, and removes it."""
        try:
            # None of the limits that apps get: what they may not be here is asked of every engine alike.
            container = self._created(launch, self._lower_limits())
            return process.finish([self.program, "start", "--attach", container], timeout=timeout)
        finally:
            self.remove(launch.name, grace_seconds=0)

    def instances(self) -> list[Instance]:
        """Every container that carries envkit's label, oldest first."""
        return sorted(map(self._instance, self._containers("instance")), key=lambda each: each.started)

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""
        found = self._containers(f"instance={name}")
        return self._instance(found[0]) if found else None

    def entry(self, name: str, argv: Sequence[str], *, terminal: bool) -> Entry:
        """The engine's own `exec`: it knows user, folder and variables of the container."""
        found = [each for each in self._containers(f"instance={name}") if each.running]
        if not found:
            raise NotRunningError(name)
        if not shutil.which(self.program):
            raise BackendError(
                f"programs are started in a container by the `{self.program}` command line, and there is none",
                hint="install it",
            )
        tty = ("--tty",) if terminal else ()
        return Entry((self.program, "exec", "--interactive", *tty, found[0].id, *argv))

    def variables(self, name: str) -> frozenset[str] | None:
        """Those of the image and of the container."""
        found = self._containers(f"instance={name}")
        pairs = (each.partition("=") for each in found[0].env) if found else ()
        return frozenset(variable for variable, _, value in pairs if value) if found else None

    def _bearable_limits(self, launch: Launch) -> Mapping[str, int]:
        """The limits that this engine may set, tried on a container that does nothing.

        `start --attach` would print the engine's refusal over the app's own words.
        """
        trial = replace(launch, name=f"{launch.name}-limits", argv=("true",), port=None, terminal=False)
        try:
            self._started(trial, LIMITS)
        except BackendError as error:
            if "rlimit" not in error.message:
                raise
            return self._lower_limits()
        finally:
            self.remove(trial.name)
        return LIMITS

    def _instance(self, container: Container) -> Instance:
        labels = container.labels
        return Instance(
            name=labels[f"{LABEL}instance"],
            framework=labels.get(f"{LABEL}framework", ""),
            app=labels.get(f"{LABEL}app", ""),
            environment=labels.get(f"{LABEL}environment", ""),
            backend=self.name,
            status="running" if container.running else "exited",
            started=container.created,
            url=labels.get(f"{LABEL}url") or None,
            exit_status=None if container.running else container.exit_status,
            lock=labels.get(f"{LABEL}lock", ""),
        )


def _made(image: Image) -> list[Made]:
    """An image under each of its names that is ours; one that somebody gave a name of his own stays under that."""
    ours = [tag for tag in image.tags if tag.startswith(IMAGES)]
    made = Made(
        name=image.id.removeprefix("sha256:")[:12],
        environment=image.labels.get(f"{LABEL}environment", ""),
        key=image.labels.get(RECIPE_LABEL, ""),
        used_by=tuple(f"container {name}" for name in image.containers),
        size=image.size,
        frees=image.unshared if len(image.tags) < 2 else None,  # the image goes with its last tag
    )
    return [replace(made, name=tag) for tag in ours] if image.tags else [made]


def labels_of(launch: Launch) -> dict[str, str]:
    """The labels by which a container is found again."""
    environment = launch.environment
    labels = {
        "instance": launch.name,
        "app": launch.app,
        "framework": environment.framework.name,
        "environment": environment.name,
        "lock": launch.lock_sha256,
        "url": launch.url or "",
    }
    return {f"{LABEL}{key}": value for key, value in labels.items()}


def owner_of(launch: Launch) -> str:
    """Apps run as whoever owns the workspace, so that what they write belongs to that user; empty: as the image says."""
    if not launch.mounts:
        return ""
    owner = launch.mounts[0].source.stat()
    return f"{owner.st_uid}:{owner.st_gid}"
