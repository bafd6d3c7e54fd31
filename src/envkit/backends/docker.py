"""Environments as images, apps as containers: BuildKit's command line builds, the docker SDK does the rest."""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, cast

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, Mount, Ulimit

from envkit import process
from envkit.backends.base import NameTakenError
from envkit.backends.build_log import BuildLog
from envkit.backends.buildkit import RECIPE_LABEL, build_command
from envkit.backends.engine import LABEL, PREFIX, Container, ContainerBackend, Image, labels_of, owner_of
from envkit.backends.gpu import CDI_ALL, GpuRequest, cuda_env, request_gpus
from envkit.errors import BackendError
from envkit.host.probes import probe_host
from envkit.host.probes.engines import describe_docker, docker_endpoint
from envkit.render.context import SHM_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from docker.models.containers import Container as DockerContainer

    from envkit.backends.base import Launch, Progress
    from envkit.host.facts import Gpu

_GPU_WORDS = (
    "could not select device driver",
    "failed to discover GPU",
    "CDI device",
    "nvidia-container",
    "NVIDIA",
    "unknown or invalid runtime name: nvidia",
)
"""In the refusals of an engine that was asked for GPUs."""


class DockerBackend(ContainerBackend):
    """The Docker engine that the docker command line talks to too (DOCKER_HOST, contexts)."""

    name: Literal["docker"] = "docker"
    title = "Docker"
    program = "docker"

    @cached_property
    def _client(self) -> Any:  # the SDK's type stubs do not cover what is used here
        return docker.from_env(version="auto", timeout=120)

    def problem(self) -> str | None:
        """Why the engine cannot be used, in one sentence, or None."""
        try:
            self._client.ping()
        except (DockerException, OSError) as error:
            return _reason(error)
        return None

    def gpu_problem(self) -> str | None:
        """Why this engine cannot hand GPUs to containers, or None."""
        return None if self._request_gpus(()) else "this Docker engine has neither the nvidia runtime nor CDI devices"

    def _request_gpus(self, gpus: tuple[Gpu, ...]) -> GpuRequest | None:
        with _engine():
            engine = describe_docker(self._client.info(), endpoint=docker_endpoint())
        facts = probe_host(("toolkit", "kernel driver"))
        driver = facts.kernel_driver.version if facts.kernel_driver else None
        return request_gpus(engine, facts.toolkit, gpus, driver=driver)

    def _hint(self, problem: str) -> str:
        return _hint(problem)

    # Environments

    def _image_labels(self, image: str) -> Mapping[str, str] | None:
        try:
            with _engine():
                return dict(self._client.images.get(image).labels)
        except ImageNotFound:
            return None

    def _build(self, options: list[str], progress: Progress) -> tuple[str, str] | None:
        log = BuildLog(progress)
        status = process.stream([*build_command(), *options], log.feed, env={**os.environ, "DOCKER_BUILDKIT": "1"})
        return log.failure() if status else None

    def _images(self) -> list[Image]:
        api = self._client.api
        with _engine():
            # All of them, because what is shared is counted among those that are asked for; the SDK cannot ask for it.
            answer = api.get(
                f"{api.base_url}/v{api.api_version}/images/json", params={"shared-size": "1"}, timeout=api.timeout
            )
            answer.raise_for_status()
            containers = api.containers(all=True)
        return [
            Image(
                id=each["Id"],
                tags=tuple(tag for tag in each["RepoTags"] or () if tag != "<none>:<none>"),
                labels=each["Labels"],
                size=each["Size"],
                # -1: an engine before API 1.42, which does not say
                unshared=each["Size"] - each["SharedSize"] if each.get("SharedSize", -1) >= 0 else None,
                containers=tuple(one["Names"][0].strip("/") for one in containers if one["ImageID"] == each["Id"]),
            )
            for each in answer.json()
            if RECIPE_LABEL in (each["Labels"] or {})
        ]

    def _remove_image(self, image: str) -> None:
        try:
            with _engine():
                self._client.images.remove(image)
        except NotFound:
            pass

    # Instances

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

    def _find(self, name: str) -> DockerContainer | None:
        with _engine():
            found = self._client.containers.list(
                all=True, filters={"label": f"{LABEL}instance={name}"}, ignore_removed=True
            )
        return cast("DockerContainer", found[0]) if found else None

    def _containers(self, label: str) -> list[Container]:
        with _engine():
            found = self._client.containers.list(all=True, filters={"label": f"{LABEL}{label}"}, ignore_removed=True)
        return [_described(each) for each in found]

    def _lower_limits(self) -> Mapping[str, int]:
        return {}

    def _started(self, launch: Launch, limits: Mapping[str, int]) -> None:
        # The engine makes what it was asked for, whether or not anybody waits for its answer.
        process.uninterrupted(partial(self._start, launch, limits))

    def _start(self, launch: Launch, limits: Mapping[str, int]) -> None:
        container = self._create(launch, limits)
        try:
            container.start()
        except APIError as error:
            container.remove(force=True)
            message = f"the container did not start: {error.explanation}"
            raise BackendError(message, hint=_start_hint(str(error))) from error

    def _created(self, launch: Launch, limits: Mapping[str, int]) -> str:
        return str(process.uninterrupted(partial(self._create, launch, limits)).id)

    def _create(self, launch: Launch, limits: Mapping[str, int]) -> DockerContainer:
        with _engine(), _name_is_free(launch.name):
            container: DockerContainer = self._client.containers.create(
                launch.environment.image,
                list(launch.argv),
                name=f"{PREFIX}{launch.name}",
                labels=labels_of(launch),
                **self._gpu_options(launch),
                working_dir=launch.workdir,
                user=owner_of(launch) or None,
                network_mode=None if launch.network else "none",
                mounts=[
                    Mount(each.target, str(each.source), type="bind", read_only=each.read_only)
                    for each in launch.mounts
                ],
                ports={f"{launch.container_port}/tcp": (launch.address, launch.port)} if launch.port else {},
                init=True,
                stdin_open=launch.terminal,
                tty=launch.terminal and sys.stdin.isatty(),
                shm_size=SHM_SIZE,
                ulimits=[Ulimit(name=each, soft=limit, hard=limit) for each, limit in limits.items()],
                cap_drop=["ALL"],
                security_opt=["no-new-privileges:true"],
            )
        return container

    def _gpu_options(self, launch: Launch) -> dict[str, Any]:
        """The app's variables, and the request for its GPUs in the way that this engine offers."""
        env = {**launch.env, **launch.secrets}
        if not launch.gpus:
            return {"environment": env}
        request = self._request_gpus(launch.gpus)
        if request is None:
            raise BackendError(
                "there is a GPU, but this Docker engine cannot hand it to a container",
                hint="`envkit doctor` says what is missing; or use `--backend venv`, or give the GPU up with `--device cpu`",
            )
        ids = list(request.ids)
        match request.way:
            case "cdi":
                # `all` is the only name that WSL has; CUDA is told which of them are meant.
                return {
                    "environment": {**env, **(cuda_env(launch.gpus) if CDI_ALL in ids else {})},
                    "device_requests": [DeviceRequest(driver="cdi", device_ids=ids)],
                }
            case "runtime":
                seen = {"NVIDIA_VISIBLE_DEVICES": ",".join(ids), "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
                return {"environment": {**env, **seen}, "runtime": "nvidia"}
            case "hook":
                every = DeviceRequest(device_ids=ids, capabilities=[["gpu", "compute", "utility"]])
                return {"environment": env, "device_requests": [every]}


def _described(container: DockerContainer) -> Container:
    state = container.attrs["State"]
    return Container(
        id=str(container.id),
        labels=container.labels,
        created=re.sub(r"(\.\d{3})\d+", r"\1", container.attrs["Created"]),
        running=state["Running"],
        exit_status=state["ExitCode"],
        env=tuple(container.attrs["Config"].get("Env") or ()),
    )


def _reason(error: Exception) -> str:
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
    if any(each in text for each in _GPU_WORDS):
        return "`envkit doctor` finds what is wrong with the GPUs of this engine; or use `--backend venv` or `--device cpu`"
    if "port is already allocated" in text or "address already in use" in text:
        return "another program took the port: choose one with `--port`"
    return "the engine's own words are above; `docker info` tells more about it"


@contextmanager
def _name_is_free(name: str) -> Iterator[None]:
    try:
        yield
    except APIError as error:
        if error.status_code == 409:
            raise NameTakenError(name) from error
        raise


@contextmanager
def _engine() -> Iterator[None]:
    """The engine's refusals become errors for the reader; what is not there is the caller's to judge.

    (The SDK lets the errors of requests, which are OSErrors, through.)
    """
    try:
        yield
    except NotFound:
        raise
    except (DockerException, OSError) as error:
        reason = _reason(error)
        if isinstance(error, APIError):
            raise BackendError(f"the Docker engine refused: {reason}", hint="`docker info` tells more") from error
        raise BackendError(f"Docker cannot be used: {reason}", hint=_hint(reason)) from error


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    """A container that somebody else removes, or is removing, is no error."""
    try:
        with _engine():
            yield
    except NotFound:
        pass
    except BackendError as error:
        if not (isinstance(error.__cause__, APIError) and error.__cause__.status_code == 409):
            raise
