"""What a backend promises: it makes environments, runs apps in them, and touches only what carries its mark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from msgspec import Struct

from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from envkit.host.facts import Gpu
    from envkit.lock.lockfile import Lock
    from envkit.matrix.load import MatrixEnvironment
    from envkit.matrix.schema import Mirror
    from envkit.process import Completed

BackendName = Literal["docker", "podman", "venv"]
Status = Literal["running", "exited"]


class Progress(Protocol):
    """Is told about long work."""

    terminal: bool
    """Whether a program may draw its own progress on stderr."""

    def step(self, text: str) -> None:
        """Something begins."""

    def detail(self, line: str) -> None:
        """A line that the running step printed."""

    def done(self, text: str) -> None:
        """Something ended."""


class Silent:
    """Progress for callers who do not want any."""

    terminal = False

    def step(self, text: str) -> None:
        """Says nothing."""

    def detail(self, line: str) -> None:
        """Says nothing."""

    def done(self, text: str) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Recipe:
    """All that making an environment needs."""

    environment: MatrixEnvironment
    lock: Lock
    mirror: Mirror | None = None
    base_image: str | None = None
    """Takes the place of the matrix's base image; containers only."""


@dataclass(frozen=True)
class Mount:
    """A folder of the host that the app sees at `target`."""

    source: Path
    target: str
    read_only: bool = False
    """For containers: a venv's app sees the folder itself."""


@dataclass(frozen=True)
class Launch:
    """All that starting an app needs; paths and addresses are already the backend's own."""

    name: str
    app: str
    environment: MatrixEnvironment
    lock_sha256: str
    argv: tuple[str, ...]
    workdir: str
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variables that are handed to the app and written down nowhere."""
    mounts: tuple[Mount, ...] = ()
    stale_locks: tuple[Path, ...] = ()
    """Files on the host that a compilation which was killed has left; nothing that runs holds them."""
    port: int | None = None
    """On the host."""
    container_port: int | None = None
    address: str = "127.0.0.1"
    """The host's address that the port is published on."""
    url: str | None = None
    gpus: tuple[Gpu, ...] = ()
    terminal: bool = False
    """Whether the app talks with the user at a terminal."""
    named: bool = False
    """Whether the user chose the name; another one will not do then."""
    network: bool = True
    """Whether a container gets one; a process of the venv backend has the machine's."""


class Instance(Struct, frozen=True):
    """A running or ended app, the same whatever runs it; `envkit ps --json` prints these."""

    name: str
    framework: str
    app: str
    environment: str
    backend: BackendName
    status: Status
    started: str
    """RFC 3339, UTC, to the millisecond."""
    url: str | None = None
    exit_status: int | None = None
    lock: str = ""
    """The hash of the lock that its environment was made from; empty where that is not known."""


@dataclass(frozen=True)
class Made:
    """An environment that a backend holds, or what interrupted work left of one."""

    name: str
    """Its own, among what the backend holds: a folder's, an image's."""
    environment: str
    """As the matrix named it when it was made; empty where nobody knows."""
    key: str
    """What it was made from, as `Backend.key` has it; empty: it is of no use to anybody."""
    used_by: tuple[str, ...] = ()
    """Whatever keeps it from being removed now, in words."""
    folder: Path | None = None
    """Where it is on this machine's disks, if it is a folder."""
    size: int | None = None
    """In bytes, of an image."""
    frees: int | None = None
    """What an image alone takes of that, where the engine tells: layers are shared."""


@dataclass(frozen=True)
class Entry:
    """How a program is started inside a running instance: a command line for this machine."""

    argv: tuple[str, ...]
    env: Mapping[str, str] | None = field(default=None, repr=False)
    """Every variable, secrets among them; None: those of the caller."""
    workdir: str | None = None
    """None: the caller's."""


class NotRunningError(BackendError):
    """The instance has ended, or is gone."""

    def __init__(self, name: str) -> None:
        """Of the instance."""
        super().__init__(
            f"{name} is not running", hint=f"`envkit logs {name}` shows what it printed; `envkit ps` lists what runs"
        )


class NameTakenError(BackendError):
    """An instance has the name already; `start` raises it before anything else happens."""

    def __init__(self, name: str) -> None:
        """Of the instance."""
        super().__init__(f"there is an instance of that name already: {name}", hint=f"`envkit stop {name}` removes it")


class Backend(Protocol):
    """Where environments live and apps run."""

    @property
    def name(self) -> BackendName:
        """What users call it."""

    @property
    def isolated(self) -> bool:
        """Whether apps see a file system and a network of their own."""

    def problem(self) -> str | None:
        """None when it can be used here, else the reason in one sentence; quick, and changes nothing."""

    def gpu_problem(self) -> str | None:
        """None when it can hand this machine's GPUs to apps, else the reason; asked only where there are GPUs."""

    def has(self, recipe: Recipe) -> bool:
        """Whether exactly this environment is ready to run."""

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Makes the environment, whole or not at all; raises `BuildError` or `BackendError`."""

    def key(self, recipe: Recipe) -> str:
        """What tells an environment made from this recipe from one made from another."""

    def environments(self) -> list[Made]:
        """All that it made and still holds, by name, with what interrupted work left; nothing of anybody else."""

    def discard(self, made: Made) -> None:
        """Removes what it made, at once for others; raises `BackendError` where something uses it, or it may not."""

    def start(self, launch: Launch) -> None:
        """Starts an app and returns at once; a failed start leaves nothing behind."""

    def attend(self, launch: Launch) -> int:
        """Runs a terminal app at this terminal until it ends; its exit status. Leaves nothing behind."""

    def call(self, launch: Launch, *, timeout: float) -> Completed:
        """Runs a program to its end, away from the terminal; its exit status and what it printed.

        Leaves nothing behind, whatever ends it. Raises `BackendError` after `timeout` seconds.
        """

    def instances(self) -> list[Instance]:
        """The running and ended apps that carry envkit's mark, oldest first."""

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""

    def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """What the app printed, from its last `tail` lines on; `follow` goes on until it ends."""

    def entry(self, name: str, argv: Sequence[str], *, terminal: bool) -> Entry:
        """How to start a program beside the app, as its user, in its folder, with its variables.

        `terminal`: it will talk with the user at one. Raises `NotRunningError` where the app has ended.
        """

    def variables(self, name: str) -> frozenset[str] | None:
        """The names of the variables that the app was started with and that are not empty; None: nobody knows."""

    def wait(self, name: str) -> int:
        """Waits until the app ends; its exit status."""

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Ends the app, politely first, and forgets the instance; no error when it is gone already."""
