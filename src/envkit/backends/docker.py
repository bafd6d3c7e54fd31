"""Environments as images, apps as containers: BuildKit's command line builds, the docker SDK does the rest."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, Mount, Ulimit

from envkit import process
from envkit.backends.base import Instance
from envkit.backends.build_log import BuildLog
from envkit.errors import BackendError, BuildError
from envkit.host.index import ca_bundle, package_index
from envkit.render.context import SHM_SIZE
from envkit.render.templates import build_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker.models.containers import Container

    from envkit.backends.base import Launch, Progress, Recipe

LABEL = "io.envkit."
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
_LOOPBACK = re.compile(r"//([^/@]*@)?(127\.\d+\.\d+\.\d+|localhost|\[::1\])[:/]")
_PREFIX = "envkit-"
_LIMITS = [
    Ulimit(name="memlock", soft=-1, hard=-1),  # pinned memory
    Ulimit(name="stack", soft=64 * 2**20, hard=64 * 2**20),
    Ulimit(name="nofile", soft=1048576, hard=1048576),  # Docker 29 starts containers with 1024
]


class DockerBackend:
    """The Docker engine that the docker command line talks to too (DOCKER_HOST, contexts)."""

    name: Literal["docker"] = "docker"
    isolated = True

    @cached_property
    def _client(self) -> Any:  # the SDK's type stubs do not cover what is used here
        return docker.from_env(timeout=120)

    def problem(self) -> str | None:
        """Why the engine cannot be used, in one sentence, or None."""
        try:
            self._client.ping()
        except DockerException as error:
            return _reason(error)
        return None

    # Environments

    def has(self, recipe: Recipe) -> bool:
        """Whether the image exists and was built from exactly these files."""
        try:
            image = self._client.images.get(recipe.environment.image)
        except ImageNotFound:
            return False
        except DockerException as error:
            raise BackendError(f"the Docker engine does not answer: {_reason(error)}") from error
        return bool(image.labels.get(f"{LABEL}recipe") == _recipe_hash(recipe))

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Builds the image; raises `BuildError` with the failing step's last lines."""
        if problem := self.problem():
            raise BackendError(f"Docker cannot be used: {problem}", hint=_hint(problem))
        with tempfile.TemporaryDirectory(prefix="envkit-build-") as folder:
            argv = [*_build_command(), *_build_options(recipe, Path(folder))]
            log = BuildLog(progress)
            if process.stream(argv, log.feed, env={**os.environ, "DOCKER_BUILDKIT": "1"}):
                step, details = log.failure()
                where = f" at step {step}" if step else ""
                raise BuildError(
                    f"building {recipe.environment.image} failed{where}",
                    details=details,
                    hint=_build_hint(details),
                )

    # Instances

    def start(self, launch: Launch) -> None:
        """Starts a container and returns at once; one that does not start is removed."""
        try:
            self._started(launch, _LIMITS)
        except BackendError as error:
            if "rlimit" not in error.message:
                raise
            # An engine without CAP_SYS_RESOURCE, such as a rootless one, may not raise limits: its own must do.
            self._started(launch, [])

    def attend(self, launch: Launch) -> int:
        """Runs the container at this terminal; the docker command line knows terminals, the SDK does not."""
        self.start(launch)
        try:
            subprocess.run(["docker", "attach", f"{_PREFIX}{launch.name}"], check=False)
            return self.wait(launch.name)
        except FileNotFoundError as error:
            raise BackendError(
                "terminal apps need the `docker` command line", hint="install it, or use `--backend venv`"
            ) from error
        finally:
            self.remove(launch.name)

    def instances(self) -> list[Instance]:
        """Every container that carries envkit's label, oldest first."""
        containers = self._client.containers.list(all=True, filters={"label": f"{LABEL}instance"})
        return sorted(map(_instance, containers), key=lambda each: each.started)

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""
        container = self._find(name)
        return _instance(container) if container else None

    def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """What the container printed."""
        container = self._find(name)
        with _gone_is_fine():
            if container:
                yield from container.logs(stream=True, follow=follow, tail="all" if tail is None else tail)

    def wait(self, name: str) -> int:
        """Waits until the container ends; its exit status."""
        container = self._find(name)
        with _gone_is_fine():
            return int(container.wait(timeout=None)["StatusCode"]) if container else 1
        return 1

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Stops and removes the container, with its anonymous volumes."""
        container = self._find(name)
        if container:
            with _gone_is_fine():
                container.stop(timeout=int(grace_seconds))
            with _gone_is_fine():
                container.remove(force=True, v=True)

    def _find(self, name: str) -> Container | None:
        found = self._client.containers.list(all=True, filters={"label": f"{LABEL}instance={name}"})
        return cast("Container", found[0]) if found else None

    def _started(self, launch: Launch, limits: list[Ulimit]) -> None:
        container = self._create(launch, limits)
        try:
            container.start()
        except APIError as error:
            container.remove(force=True)
            message = f"the container did not start: {error.explanation}"
            raise BackendError(message, hint=_start_hint(str(error))) from error

    def _create(self, launch: Launch, limits: list[Ulimit]) -> Container:
        environment = launch.environment
        labels = {
            "instance": launch.name,
            "app": launch.app,
            "framework": environment.framework.name,
            "environment": environment.name,
            "lock": launch.lock_sha256,
            "url": launch.url or "",
        }
        try:
            container: Container = self._client.containers.create(
                environment.image,
                list(launch.argv),
                name=f"{_PREFIX}{launch.name}",
                labels={f"{LABEL}{key}": value for key, value in labels.items()},
                environment={**launch.env, **launch.secrets},
                working_dir=launch.workdir,
                user=_owner(launch),
                mounts=[Mount(each.target, str(each.source), type="bind") for each in launch.mounts],
                ports={f"{launch.container_port}/tcp": (launch.address, launch.port)} if launch.port else {},
                device_requests=self._gpu_request(launch),
                init=True,
                stdin_open=launch.terminal,
                tty=launch.terminal and sys.stdin.isatty(),
                shm_size=SHM_SIZE,
                ulimits=limits,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
            )
            return container
        except DockerException as error:
            raise BackendError(f"the container could not be made: {_reason(error)}") from error

    def _gpu_request(self, launch: Launch) -> list[DeviceRequest]:
        """GPUs by UUID, through the nvidia runtime or CDI, whichever the engine offers."""
        if not launch.gpus:
            return []
        info = self._client.info()
        uuids = [gpu.uuid for gpu in launch.gpus]
        if "nvidia" in info.get("Runtimes", {}):
            return [DeviceRequest(device_ids=uuids, capabilities=[["gpu", "compute", "utility"]])]
        listed = {each.get("ID", "") for each in info.get("DiscoveredDevices") or []}
        if any(each.startswith("nvidia.com/gpu=") for each in listed):
            return [DeviceRequest(driver="cdi", device_ids=[f"nvidia.com/gpu={uuid}" for uuid in uuids])]
        raise BackendError(
            "there is a GPU, but this Docker engine cannot hand it to a container",
            hint="install the NVIDIA Container Toolkit, run `sudo nvidia-ctk runtime configure --runtime=docker` and restart"
            " Docker; or use `--backend venv`, or give the GPU up with `--device cpu`",
        )


# Building -------------------------------------------------------------------------------------------------------------


def _recipe_hash(recipe: Recipe) -> str:
    files = build_context(recipe.environment, recipe.lock)
    return hashlib.sha256("".join(f"{name}\0{files[name]}\0" for name in sorted(files)).encode()).hexdigest()


def _build_command() -> list[str]:
    """buildx where the plugin exists; BuildKit inside the engine otherwise (Docker 20.10)."""
    if process.run(["docker", "buildx", "version"]).status == 0:
        return ["docker", "buildx", "build", "--load"]
    return ["docker", "build"]


def _build_options(recipe: Recipe, folder: Path) -> list[str]:
    """The build's arguments, after its files were written to `folder`: the context, and beside it the secrets."""
    context = folder / "context"
    context.mkdir()
    for name, text in build_context(recipe.environment, recipe.lock).items():
        (context / name).write_text(text)

    mirror, options = recipe.mirror, []
    index = (mirror.index if mirror else None) or package_index()
    if index:
        (folder / "index").write_text(index)
        options += ["--secret", f"id=index,src={folder / 'index'}"]
    if bundle := ca_bundle():
        options += ["--secret", f"id=ca,src={bundle}"]
    if mirror and mirror.apt:
        options += ["--build-arg", f"APT_MIRROR={mirror.apt}"]
    if base := recipe.base_image or (
        mirror and mirror.docker_hub and f"{mirror.docker_hub}/library/{recipe.environment.base.name}"
    ):
        options += ["--build-arg", f"BASE_IMAGE={base}"]
    proxies = [name for each in _PROXIES for name in (each, each.lower()) if os.environ.get(name)]
    for name in proxies:
        options += ["--build-arg", name]  # the value is taken from the environment, never from argv
    if any(_LOOPBACK.search(address) for address in (index or "", *(os.environ[name] for name in proxies))):
        options += ["--network", "host"]  # inside a build's own network, 127.0.0.1 is the build
    image = recipe.environment.image
    return [
        "--progress",
        "plain",
        *options,
        "--label",
        f"{LABEL}recipe={_recipe_hash(recipe)}",
        "--tag",
        image,
        str(context),
    ]


def _build_hint(details: str) -> str:
    """The next thing to do, from what the failing step said."""
    if "no space left on device" in details.lower():
        return "make room where the engine keeps its data: `docker system df` shows what is there, `docker builder prune` frees caches"
    if "hash mismatch" in details.lower():
        return "what the package index serves is not what was locked; nothing was installed from it: choose another index with `--mirror`"
    if re.search(r"failed to (resolve|do request|authorize)|failed to solve.*(pull|source metadata)", details):
        return "the base image could not be pulled: load it first, or name another with `--base-image IMAGE` or a mirror with `--mirror cn`"
    return "fix the cause and run the same command again: the steps before it are cached"


# Words and owners -----------------------------------------------------------------------------------------------------


def _owner(launch: Launch) -> str:
    """Apps run as whoever owns the workspace, so that what they write belongs to that user."""
    owner = launch.mounts[0].source.stat()
    return f"{owner.st_uid}:{owner.st_gid}"


def _instance(container: Container) -> Instance:
    labels = {key.removeprefix(LABEL): value for key, value in container.labels.items() if key.startswith(LABEL)}
    state = container.attrs["State"]
    running = state["Running"]
    return Instance(
        name=labels["instance"],
        framework=labels.get("framework", ""),
        app=labels.get("app", ""),
        environment=labels.get("environment", ""),
        backend="docker",
        status="running" if running else "exited",
        started=re.sub(r"\.\d+", "", container.attrs["Created"]),
        url=labels.get("url") or None,
        exit_status=None if running else state["ExitCode"],
    )


def _reason(error: DockerException) -> str:
    text = str(error)
    if "PermissionError" in text or "Permission denied" in text:
        return "you may not talk to the Docker engine (permission denied on its socket)"
    if isinstance(error, APIError):
        return str(error.explanation or error)
    if "FileNotFoundError" in text or "Connection refused" in text or "ConnectionRefused" in text:
        return "no Docker engine answers"
    return text


def _hint(problem: str) -> str:
    if "permission denied" in problem:
        return "`sudo usermod -aG docker $USER`, then log in again; or use `--backend venv`"
    return "start the engine (`sudo systemctl start docker`), or use `--backend venv`"


def _start_hint(text: str) -> str:
    if "could not select device driver" in text or "failed to discover GPU" in text:
        return "install the NVIDIA Container Toolkit and restart Docker, or use `--device cpu`"
    if "port is already allocated" in text or "address already in use" in text:
        return "another program took the port: choose one with `--port`"
    return "the engine's own words are above; `docker info` tells more about it"


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    try:
        yield
    except NotFound:
        pass
    except APIError as error:
        if error.status_code != 409:  # removal already in progress
            raise BackendError(f"the container could not be removed: {error.explanation}") from error
