"""Environments as images, apps as containers, with podman's command line alone.

Not through its Docker-compatible socket: that needs a service, which nobody starts on a rented or a shared machine; and
4.3's takes a request for CDI devices and gives none, while `podman create --device` gives them (both tried on 4.3.1). A
call costs 30 to 70 ms.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import time
from datetime import datetime, timezone  # msgspec reads the annotations
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import psutil
from packaging.version import Version

from envkit import process
from envkit.backends.base import NameTakenError
from envkit.backends.build_log import PodmanLog
from envkit.backends.buildkit import RECIPE_LABEL
from envkit.backends.engine import LABEL, LIMITS, PREFIX, Container, ContainerBackend, Image, labels_of, owner_of
from envkit.backends.gpu import CDI_ALL, cdi_names, cuda_env
from envkit.backends.podman_log import read_log
from envkit.errors import BackendError
from envkit.host.cdi import read_cdi_specs
from envkit.render.context import SHM_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envkit.backends.base import Launch, Progress
    from envkit.process import Completed

_OLDEST = "4.1"
"""The first that knows CDI devices (NVIDIA's cdi-support.md)."""
_TOLD = re.compile(r'^(Error: (?P<error>.+)|time=.* level=(error|fatal) msg="(?P<logged>.+)")$')
_DESCRIBE_GPUS = "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` describes the GPUs"
_OWN_PROCESSES = 32768
"""podman 4.3 lowers its own limit to this, and can give no more without CAP_SYS_RESOURCE."""


class _Config(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)
    env: tuple[str, ...] | None = msgspec.field(name="Env", default=None)


class _State(msgspec.Struct):
    running: bool = msgspec.field(name="Running")
    exit_status: int = msgspec.field(name="ExitCode")
    monitor: int = msgspec.field(name="ConmonPid", default=0)
    """The process that holds the app's streams and outlives it until all is written down."""


class _LogConfig(msgspec.Struct):
    path: str = msgspec.field(name="Path", default="")


class _HostConfig(msgspec.Struct):
    log: _LogConfig = msgspec.field(name="LogConfig")


class _Inspected(msgspec.Struct):
    """What `podman container inspect` says that matters here."""

    id: str = msgspec.field(name="Id")
    created: datetime = msgspec.field(name="Created")
    config: _Config = msgspec.field(name="Config")
    state: _State = msgspec.field(name="State")
    host: _HostConfig = msgspec.field(name="HostConfig")

    def is_alive(self) -> bool:
        """Whether its monitor still runs; asked without podman, so it may be asked often."""
        try:
            return bool(self.state.monitor) and psutil.Process(self.state.monitor).status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class _Image(msgspec.Struct):
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Listed(msgspec.Struct):
    """An image, as `podman images` has it."""

    id: str = msgspec.field(name="Id")
    size: int = msgspec.field(name="Size")
    names: list[str] | None = msgspec.field(name="Names", default=None)
    labels: dict[str, str] | None = msgspec.field(name="Labels", default=None)


class _Working(msgspec.Struct):
    """A container of `podman ps --external`, which lists those of builds too."""

    id: str = msgspec.field(name="Id")
    image: str = msgspec.field(name="ImageID")
    created: int = msgspec.field(name="Created")
    command: list[str] | None = msgspec.field(name="Command", default=None)
    names: list[str] | None = msgspec.field(name="Names", default=None)


_IMAGES = msgspec.json.Decoder(list[_Image])
_CONTAINERS = msgspec.json.Decoder(list[_Inspected])
_LISTED = msgspec.json.Decoder(list[_Listed])
_BUILDS = msgspec.json.Decoder(list[_Working])
"""Made here and not at their first use, which two threads at once do not survive: one follows an app, one waits for it."""


class PodmanBackend(ContainerBackend):
    """The podman of the user who asks: of root, or rootless."""

    name: Literal["podman"] = "podman"
    title = "podman"
    program = "podman"

    def __init__(self) -> None:
        """Nothing is asked yet."""
        self._init = True

    @cached_property
    def _version(self) -> str:
        return _done(["version", "--format", "{{.Client.Version}}"]).stdout.strip()

    def problem(self) -> str | None:
        """Why podman cannot be used, in one sentence, or None."""
        if not shutil.which("podman"):
            return "podman is not installed"
        try:
            numbers = re.match(r"[0-9.]+[0-9]", self._version)
            if numbers and Version(numbers[0]) < Version(_OLDEST):
                return f"podman {self._version} is too old: {_OLDEST} is needed"
            _done(["ps", "--quiet", "--last", "1"], timeout=30)
        except BackendError as error:
            return error.message
        return None

    def gpu_problem(self) -> str | None:
        """Why podman cannot hand GPUs to containers, or None."""
        return None if _cdi_devices() else "podman finds no CDI description of the GPUs"

    def _hint(self, problem: str) -> str:
        if "not installed" in problem or "too old" in problem:
            return f"install podman {_OLDEST} or newer, or use `--backend venv`"
        return "see what `podman info` says, or use `--backend venv`"

    # Environments

    def _image_labels(self, image: str) -> Mapping[str, str] | None:
        found = _podman(["image", "inspect", image])
        return _IMAGES.decode(found.stdout)[0].labels or {} if found.status == 0 else None

    def _build(self, options: list[str], progress: Progress) -> tuple[str, str] | None:
        log, began = PodmanLog(progress), int(time.time())
        try:
            status = process.stream(["podman", "build", *options], log.feed)
        except BaseException:
            _remove_working_containers(log.images, began)
            raise
        return None if status == 0 and log.complete else log.failure()

    def _images(self) -> list[Image]:
        listed = _LISTED.decode(
            _done(["images", "--no-trunc", "--filter", f"label={RECIPE_LABEL}", "--format", "json"]).stdout
        )
        used = _BUILDS.decode(_done(["ps", "--all", "--external", "--no-trunc", "--format", "json"]).stdout)
        return [
            Image(
                id=each.id,
                tags=tuple(name.removeprefix("localhost/") for name in each.names or ()),
                labels=each.labels or {},
                size=each.size,
                containers=tuple((one.names or [one.id[:12]])[0] for one in used if one.image == each.id),
            )
            for each in listed
        ]

    def _remove_image(self, image: str) -> None:
        done = _podman(["image", "rm", image], timeout=600)
        if done.status and _podman(["image", "exists", image]).status == 0:
            raise _refusal(done)

    # Instances

    def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """What the container printed."""
        for found in self._inspected(f"instance={name}"):
            yield from read_log(Path(found.host.log.path), found.is_alive if follow else lambda: False, tail)

    def wait(self, name: str) -> int:
        """Waits until the container ends; its exit status."""
        for found in self._inspected(f"instance={name}"):
            while found.is_alive():
                time.sleep(0.1)
        ended = self._containers(f"instance={name}")
        return ended[0].exit_status if ended else 1

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Stops and removes the container, with its anonymous volumes."""
        for found in self._inspected(f"instance={name}"):
            # Not `podman stop`: one that is interrupted leaves a container that no `podman rm` ends.
            if found.is_alive() and grace_seconds and _podman(["kill", "--signal=TERM", found.id]).status == 0:
                deadline = time.monotonic() + grace_seconds
                while found.is_alive() and time.monotonic() < deadline:
                    time.sleep(0.05)
            _remove(found.id)

    def _containers(self, label: str) -> list[Container]:
        return [_described(each) for each in self._inspected(label)]

    def _inspected(self, label: str) -> list[_Inspected]:
        listed = _done(["ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={LABEL}{label}"]).stdout.split()
        if not listed:
            return []
        found = _podman(
            ["container", "inspect", *listed]
        )  # says of one that is gone by now that it is, and of the rest
        try:
            return _CONTAINERS.decode(found.stdout)
        except msgspec.MsgspecError as error:
            raise _refusal(found) from error

    def _created(self, launch: Launch, limits: Mapping[str, int]) -> str:
        argv = create_options(launch, limits, devices=_gpu_options(launch), init=self._init, rootless=os.geteuid() != 0)
        # Creating may take minutes: a rootless podman gives every file of the image to the app's user first.
        made = _podman(["create", *argv], env={**os.environ, **launch.secrets}, timeout=None)
        if made.status == 0:
            return made.stdout.split()[-1]
        if "name is already in use" in made.stderr:
            raise NameTakenError(launch.name)
        if self._init and "container-init binary not found" in made.stderr:
            self._init = False  # without catatonit, nobody reaps the app's orphans, and that is all
            return self._created(launch, limits)
        raise _start_refusal(made)

    def _started(self, launch: Launch, limits: Mapping[str, int]) -> None:
        container = self._created(launch, limits)
        started = _podman(["start", container])
        if started.status:
            _remove(container)
            raise _start_refusal(started)

    def _lower_limits(self) -> Mapping[str, int]:
        """This process's own: where it may not raise them, podman's own defaults are too high as well."""
        own = {
            "memlock": resource.RLIMIT_MEMLOCK,
            "stack": resource.RLIMIT_STACK,
            "nofile": resource.RLIMIT_NOFILE,
            "nproc": resource.RLIMIT_NPROC,
        }
        wanted = {**LIMITS, "nproc": _OWN_PROCESSES}
        return {name: _lower(wanted[name], resource.getrlimit(number)[1]) for name, number in own.items()}


def create_options(
    launch: Launch, limits: Mapping[str, int], *, devices: Sequence[str], init: bool, rootless: bool
) -> list[str]:
    """The arguments of `podman create`; what is secret is named, and podman takes it from its own environment."""
    env = {**launch.env, **launch.secrets}
    # A variable that is handed on as it is here may hold a proxy's password: it is named alone, too.
    hidden = {*launch.secrets, *(name for name, value in launch.env.items() if os.environ.get(name) == value)}
    return [
        "--pull=never",
        f"--name={PREFIX}{launch.name}",
        *(f"--label={name}={value}" for name, value in labels_of(launch).items()),
        *(f"--env={name}" if name in hidden else f"--env={name}={value}" for name, value in env.items()),
        "--http-proxy=false",  # the host's proxies are in `env`, as far as a container can reach them
        f"--workdir={launch.workdir}",
        *([f"--user={owner}"] if (owner := owner_of(launch)) else []),
        *(["--userns=keep-id"] if rootless and owner else []),
        *([] if launch.network else ["--network=none"]),
        *(
            f"--mount=type=bind,{_csv(f'source={each.source}')},{_csv(f'target={each.target}')}{',ro' if each.read_only else ''}"
            for each in launch.mounts
        ),
        *([f"--publish={launch.address}:{launch.port}:{launch.container_port}/tcp"] if launch.port else []),
        *devices,
        *(["--init"] if init else []),
        *(["--interactive"] if launch.terminal else []),
        *(["--tty"] if launch.terminal and sys.stdin.isatty() else []),
        f"--shm-size={SHM_SIZE}",
        *(f"--ulimit={name}={limit}:{limit}" for name, limit in limits.items()),
        "--log-driver=k8s-file",  # what podman_log reads; journald's entries need not be this user's to read
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",  # SELinux would want the user's folders, and GPUs, relabelled
        launch.environment.image,
        *launch.argv,
    ]


def _csv(text: str) -> str:
    quoted = text.replace('"', '""')
    return f'"{quoted}"'


def _cdi_devices() -> tuple[str, ...]:
    return tuple(name for spec in read_cdi_specs() for name in spec.devices)


def _gpu_options(launch: Launch) -> list[str]:
    """The chosen GPUs by the names in this machine's CDI specs."""
    names = cdi_names(launch.gpus, _cdi_devices())
    if names is None:
        raise BackendError(
            "there is a GPU, but podman cannot hand it to a container: no CDI spec names it",
            hint=f"{_DESCRIBE_GPUS}; or use `--backend venv`, or give the GPU up with `--device cpu`",
        )
    options = [f"--device={name}" for name in names]
    if CDI_ALL in names:  # every GPU gets in; CUDA is told which of them are meant
        options += [f"--env={name}={value}" for name, value in cuda_env(launch.gpus).items()]
    return options


def _lower(wanted: int, own: int) -> int:
    """Of two limits; -1 is none."""
    return max(wanted, own) if -1 in (wanted, own) else min(wanted, own)


def _described(found: _Inspected) -> Container:
    return Container(
        id=found.id,
        labels=found.config.labels or {},
        created=found.created.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        running=found.state.running,
        exit_status=found.state.exit_status,
        env=found.config.env or (),
    )


def _podman(args: Sequence[str], **options: Any) -> Completed:
    # A container whose `podman start` was killed runs on, unknown to podman.
    return process.run(["podman", *args], **{"timeout": 120, "whole": True, **options})


def _done(args: Sequence[str], **options: Any) -> Completed:
    """The ended call, which must have succeeded."""
    done = _podman(args, **options)
    if done.status:
        raise _refusal(done)
    return done


def _words(done: Completed) -> str:
    """podman's own: its error, or the last message of its log."""
    for line in reversed(done.stderr.splitlines()):
        if told := _TOLD.match(line):
            return told["error"] or told["logged"]
    return done.stderr.strip() or f"podman ended with status {done.status}"


def _refusal(done: Completed) -> BackendError:
    return BackendError(f"podman refused: {_words(done)}", hint="`podman info` tells more")


def _start_refusal(done: Completed) -> BackendError:
    words = _words(done)
    if "CDI device" in words:
        hint = f"{_DESCRIBE_GPUS}; or use `--device cpu`"
    elif "address already in use" in words:
        hint = "another program took the port: choose one with `--port`"
    else:
        hint = "podman's own words are above; `podman info` tells more about it"
    return BackendError(f"the container did not start: {words}", hint=hint)


def _remove(container: str) -> None:
    _done(["rm", "--force", "--ignore", "--volumes", "--time=0", container])


def _remove_working_containers(images: Sequence[str], began: int) -> None:
    """Those that an interrupted build leaves, gigabytes at times: made since then, out of its own layers."""
    listed = _podman(["ps", "--all", "--external", "--no-trunc", "--format", "json"])
    if listed.status == 0 and images:
        found = _BUILDS.decode(listed.stdout)
        ours = [each.id for each in found if each.created >= began and each.image.startswith(tuple(images))]
        if ours:
            _podman(["rm", "--force", *ours])
