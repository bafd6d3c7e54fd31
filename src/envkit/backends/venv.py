"""Environments as venvs made by uv from the same lock, apps as supervised processes: for machines without Docker."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import psutil
from filelock import FileLock, Timeout

from envkit import process
from envkit.backends.base import Entry, Instance, Made, NameTakenError, NotRunningError
from envkit.errors import BackendError, BuildError
from envkit.host.files import is_folder
from envkit.host.folders import ABANDONED, discard
from envkit.host.home import envkit_home
from envkit.host.index import serving, uv_command, uv_environ

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envkit.backends.base import Launch, Progress, Recipe
    from envkit.matrix.load import MatrixEnvironment
    from envkit.process import Completed

_UNWANTED = ("PYTHONHOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "CONDA_PREFIX")
"""Settings of the user's other Pythons that would reach into the environment, or make every start a slow one."""
_FOLDER = re.compile(r"(?P<environment>[A-Za-z0-9].*)-[0-9a-f]{12}")
"""An environment's folder: its name and its lock."""
_CONTENTS = "contents.txt"
"""In an environment: what is in it, written when it was whole."""


class Record(msgspec.Struct, frozen=True):
    """An instance on disk: nothing secret, and enough to tell its process from a later one with the same number."""

    name: str
    framework: str
    app: str
    environment: str
    started: str
    url: str | None
    argv: tuple[str, ...]
    lock: str = ""
    variables: frozenset[str] | None = None
    """The names of those that are not empty; no values, of which some are secret."""


_RECORD = msgspec.json.Decoder(Record)
"""Made here and not at its first use, which two threads at once do not survive: one follows an app, one waits for it."""


class VenvBackend:
    """Venvs and processes under ENVKIT_HOME."""

    name: Literal["venv"] = "venv"
    isolated = False

    def __init__(self, home: Path | None = None) -> None:
        """Keeps everything below `home`, by default ENVKIT_HOME."""
        self._home = home or envkit_home()

    def problem(self) -> str | None:
        """Why it cannot be used, or None: it needs a folder to write to."""
        nearest = next(each for each in (self._home, *self._home.parents) if os.access(each, os.F_OK))
        return None if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) else f"{nearest} cannot be written to"

    def gpu_problem(self) -> str | None:
        """None: a process sees what the machine has."""
        return None

    # Environments

    def folder(self, environment: MatrixEnvironment, lock_sha256: str) -> Path:
        """Where the environment is, once it is whole; another lock lives in another folder."""
        return self._home / "environments" / f"{environment.name}-{lock_sha256[:12]}"

    def has(self, recipe: Recipe) -> bool:
        """Whether the environment was installed from this very lock, to the end, and nobody took from it since."""
        return _is_whole(self.folder(recipe.environment, recipe.lock.sha256))

    def key(self, recipe: Recipe) -> str:
        """The folder's name."""
        return self.folder(recipe.environment, recipe.lock.sha256).name

    def environments(self) -> list[Made]:
        """The folders that are environments, by name and content, and what interrupted work left of some."""
        parent, users = self._home / "environments", self._users()
        made = []
        for folder in sorted(parent.iterdir()) if is_folder(parent) else []:
            left = ABANDONED.fullmatch(folder.name)
            match = _FOLDER.fullmatch(left["name"] if left else folder.name)
            if not match or folder.is_symlink() or not folder.is_dir():
                continue
            if left and not _is_held(_guard(folder.with_name(left["name"]))):
                made.append(Made(folder.name, match["environment"], "", folder=folder))
            elif not left and any((folder / each).is_file() for each in ("pyvenv.cfg", _CONTENTS)):
                key = folder.name if _is_whole(folder) else ""
                made.append(Made(folder.name, match["environment"], key, tuple(users[folder.name]), folder=folder))
        return made

    def discard(self, made: Made) -> None:
        """Removes the folder, unless something has begun to use it; nobody can start it meanwhile, or wait for it."""
        assert made.folder is not None  # noqa: S101  # `environments` gave it
        if ABANDONED.fullmatch(made.folder.name):
            discard(made.folder)
            return
        guard = FileLock(_guard(made.folder))
        try:
            guard.acquire(timeout=0)
        except Timeout:
            raise BackendError(f"{made.name} is being installed", hint="try again when that has ended") from None
        except OSError as error:
            raise BackendError(
                f"{made.folder} cannot be removed: {error.strerror}", hint="`ls -ld` tells whose it is"
            ) from error
        try:
            self._discard_unused(made.folder)
        finally:
            guard.release()

    def _discard_unused(self, folder: Path) -> None:
        if users := self._users()[folder.name]:
            raise BackendError(
                f"{folder.name} would be removed, and is used by {' and '.join(users)}",
                hint="`envkit ps` lists the instances, `envkit stop` ends them",
            )
        discard(folder)

    def _users(self) -> defaultdict[str, list[str]]:
        """What uses an environment, by its folder's name: instances, else processes (a terminal app, a verification)."""
        users: defaultdict[str, list[str]] = defaultdict(list)
        for each in self.instances():
            if each.status == "running" and each.lock:
                users[f"{each.environment}-{each.lock[:12]}"].append(each.name)
        known = set(users)
        for running in psutil.process_iter():
            name = self._folder_of(running)
            if name and name not in known:
                users[name].append(f"process {running.pid}")
        return users

    def _folder_of(self, running: psutil.Process) -> str | None:
        """The environment that a process lives in; of another user's, its command line alone can tell."""
        parent = self._home / "environments"
        try:
            places = running.cmdline()[:2]
            with suppress(psutil.AccessDenied):
                places.append(running.environ().get("VIRTUAL_ENV", ""))
        except psutil.Error:
            return None
        found = (Path(place) for place in places if place.startswith(f"{parent}/"))
        return next((each.relative_to(parent).parts[0] for each in found), None)

    def make(self, recipe: Recipe, progress: Progress) -> None:
        """Installs the lock into a staging venv and gives it its name when it is whole.

        uv's cache keeps every finished download, so that a second try after an interruption goes on from there.
        """
        if problem := self.problem():
            raise BackendError(
                f"no venv can be made: {problem}", hint="set ENVKIT_HOME to a folder of yours on a large disk"
            )
        target = self.folder(recipe.environment, recipe.lock.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_name(f".{target.name}.staging-{os.getpid()}")
        guard = FileLock(_guard(target))
        try:
            guard.acquire(timeout=0)
        except Timeout:
            progress.step(f"waiting for another envkit that installs {recipe.environment.name}")
            guard.acquire()
        try:
            if _is_whole(target):
                return
            if target.exists():
                progress.step(f"something is missing in {target.name}: it is made again")
                self._discard_unused(target)
            for abandoned in target.parent.glob(f".{target.name}.staging-*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            _install(recipe, staging, progress)
            staging.rename(target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            guard.release()

    # Instances

    def start(self, launch: Launch) -> None:
        """Starts a supervised process and returns at once."""
        process.uninterrupted(partial(self._start, launch))

    def _start(self, launch: Launch) -> None:
        folder = self._instance_folder(launch.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            raise NameTakenError(launch.name) from None
        environ = self._environ(launch)
        record = Record(
            name=launch.name,
            framework=launch.environment.framework.name,
            app=launch.app,
            environment=launch.environment.name,
            started=datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            url=launch.url,
            argv=self._argv(launch),
            lock=launch.lock_sha256,
            variables=frozenset(name for name, value in environ.items() if value),
        )
        (folder / ".launch.json").write_bytes(msgspec.json.encode(record))
        (folder / ".launch.json").rename(folder / "launch.json")  # whole for whoever lists instances meanwhile
        try:
            with (folder / "log").open("wb") as log:
                supervisor = subprocess.Popen(
                    [sys.executable, "-I", "-m", "envkit.backends.supervisor", str(folder)],
                    cwd=launch.workdir,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise BackendError(f"the app did not start: {error}") from error
        born = psutil.Process(supervisor.pid).create_time()
        (folder / "pid").write_text(f"{supervisor.pid} {born}", encoding="utf-8")

    def attend(self, launch: Launch) -> int:
        """Runs the app at this terminal, as a child of this process."""
        with subprocess.Popen(self._argv(launch), cwd=launch.workdir, env=self._environ(launch)) as app:
            while True:
                try:
                    status = app.wait()
                except KeyboardInterrupt:
                    continue  # the terminal told the app too; it decides what Ctrl-C means
                return status if status >= 0 else 128 - status

    def call(self, launch: Launch, *, timeout: float) -> Completed:
        """Runs the program as a child of this process, with all that it starts."""
        argv = self._argv(launch)
        return process.finish(argv, env=self._environ(launch), cwd=Path(launch.workdir), timeout=timeout)

    def instances(self) -> list[Instance]:
        """Every instance that has a record, oldest first."""
        found = []
        for record in (self._home / "instances").glob("*/launch.json"):
            with suppress(FileNotFoundError):  # somebody removes it at this moment
                found.append(self._instance(record.parent))
        return sorted(found, key=lambda each: each.started)

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""
        folder = self._instance_folder(name)
        return self._instance(folder) if (folder / "launch.json").is_file() else None

    def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
        """What the app printed, both streams as they came."""
        path = self._instance_folder(name) / "log"
        if not path.is_file():
            return
        with path.open("rb") as log:
            if tail is not None:
                yield from deque(log, maxlen=tail)
            while True:
                ended = not self._is_running(name)
                while chunk := log.read(65536):
                    yield chunk
                if ended or not follow:
                    return
                time.sleep(0.1)

    def entry(self, name: str, argv: Sequence[str], *, terminal: bool) -> Entry:
        """With the variables that the app's supervisor was started with: the kernel keeps them, secrets too, and no file."""
        supervisor = self._supervisor(name)
        try:
            if supervisor:
                own = {"TERM": os.environ["TERM"]} if terminal and "TERM" in os.environ else {}
                return Entry(tuple(argv), {**supervisor.environ(), **own}, supervisor.cwd())
        except psutil.AccessDenied as error:
            raise BackendError(
                f"{name} runs as another user, whose variables cannot be read", hint="call envkit as that user"
            ) from error
        except psutil.NoSuchProcess:
            pass
        raise NotRunningError(name)

    def variables(self, name: str) -> frozenset[str] | None:
        """Those noted when it was started."""
        path = self._instance_folder(name) / "launch.json"
        return _RECORD.decode(path.read_bytes()).variables if path.is_file() else None

    def wait(self, name: str) -> int:
        """Waits until the app ends; its exit status, or 1 where nobody was left to write it down."""
        while self._is_running(name):
            time.sleep(0.1)
        status = self._exit_status(self._instance_folder(name))
        return 1 if status is None else status

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """Ends the app with everything it started, and removes its record and log."""
        supervisor = self._supervisor(name)
        if supervisor:
            family = [*supervisor.children(recursive=True), supervisor]
            supervisor.terminate()
            _, stubborn = psutil.wait_procs([supervisor], timeout=grace_seconds)
            for each in family if stubborn else []:
                if each.is_running():
                    each.send_signal(signal.SIGKILL)
            psutil.wait_procs(family, timeout=5)
        shutil.rmtree(self._instance_folder(name), ignore_errors=True)

    def _instance_folder(self, name: str) -> Path:
        return self._home / "instances" / name

    def _instance(self, folder: Path) -> Instance:
        record = _RECORD.decode((folder / "launch.json").read_bytes())
        running = self._is_running(record.name)
        return Instance(
            name=record.name,
            framework=record.framework,
            app=record.app,
            environment=record.environment,
            backend="venv",
            status="running" if running else "exited",
            started=record.started,
            url=record.url,
            exit_status=None if running else self._exit_status(folder),
            lock=record.lock,
        )

    def _is_running(self, name: str) -> bool:
        return self._supervisor(name) is not None

    def _supervisor(self, name: str) -> psutil.Process | None:
        try:
            number, born = (self._instance_folder(name) / "pid").read_text(encoding="utf-8").split()
            found = psutil.Process(int(number))
            alive = found.create_time() == float(born) and found.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return None
        return found if alive else None

    def _exit_status(self, folder: Path) -> int | None:
        try:
            return int((folder / "exit").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _argv(self, launch: Launch) -> tuple[str, ...]:
        program = self.folder(launch.environment, launch.lock_sha256) / "bin" / launch.argv[0]
        return (str(program) if program.exists() else launch.argv[0], *launch.argv[1:])

    def _environ(self, launch: Launch) -> dict[str, str]:
        home = self.folder(launch.environment, launch.lock_sha256)
        inherited = {name: value for name, value in os.environ.items() if name not in _UNWANTED}
        path = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        toolkit = launch.environment.toolkit_env(str(home))
        return {**inherited, "VIRTUAL_ENV": str(home), "PATH": path, **toolkit, **launch.env, **launch.secrets}


def _guard(folder: Path) -> Path:
    """The file that is locked while the environment is made, or removed."""
    return folder.with_name(f".{folder.name}.guard")


def _is_held(guard: Path) -> bool:
    if not guard.exists():
        return False
    lock = FileLock(guard)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):  # another user's, perhaps
        return True
    lock.release()
    return False


def _contents(venv: Path) -> list[str]:
    """What is in a venv, as far as the first level of its packages tells: one that is half deleted lacks some of it.

    Without what changes when a user installs another version by hand.
    """
    packages = next(venv.glob("lib/python*/site-packages"))
    found = (each for each in packages.iterdir() if not each.name.endswith((".dist-info", "__pycache__")))
    return sorted(str(each.relative_to(venv)) for each in found)


def _is_whole(venv: Path) -> bool:
    """Whether all is there that was when it was made, and the Python that it was made with."""
    try:
        made = (venv / _CONTENTS).read_text(encoding="utf-8").splitlines()
        return {*made} <= {*_contents(venv)} and (venv / "bin/python").exists()
    except (OSError, StopIteration):
        return False


def prune_downloads(*, everything: bool) -> int:
    """uv's status, after it removed from its cache what it cannot use any more, or everything; it says itself how much."""
    return process.attend([*uv_command(), "cache", "clean" if everything else "prune"], env=uv_environ())


def _install(recipe: Recipe, venv: Path, progress: Progress) -> None:
    environ = uv_environ(recipe.mirror.index if recipe.mirror else None)
    python = recipe.environment.entry.python
    progress.step(f"venv with Python {python}")
    made = process.run(
        [*uv_command(), "venv", "--no-project", "--relocatable", "--python", python, str(venv)], env=environ
    )
    if made.status and _is_full(made.stderr):
        raise BuildError(f"no venv could be made: {venv}", details=made.stderr.strip(), hint=_install_hint(made.stderr))
    if made.status:
        raise BackendError(
            f"there is no Python {python} on this machine, and none could be downloaded",
            details=made.stderr.strip(),
            hint=f"install it (`sudo apt-get install python{python}`), or point UV_PYTHON_INSTALL_MIRROR at a mirror of uv's Pythons",
        )
    lock, build = venv / "requirements.lock", venv / "build.lock"
    lock.write_text(recipe.lock.text(), encoding="utf-8")
    build.write_text(recipe.lock.build, encoding="utf-8")
    progress.step(f"{len(recipe.lock.packages)} packages")
    argv = [
        *uv_command(),
        "pip",
        "sync",
        "--python",
        str(venv),
        "--require-hashes",
        "--build-constraints",
        str(build),
        *recipe.environment.build_options,
        str(lock),
    ]
    if progress.terminal:
        status, words = process.attend(argv, env=environ), ""
    else:
        last: deque[str] = deque(maxlen=30)

        def told(line: str) -> None:
            last.append(line)
            progress.detail(line)

        status = process.stream(argv, told, env=environ)
        words = "\n".join(last)
    if status:
        raise BuildError(
            f"installing {recipe.environment.name} failed; nothing was left behind",
            details=words,
            hint=_install_hint(words, environ.get("UV_DEFAULT_INDEX")),
            log=words.encode() if _install_hint(words) == _AGAIN else b"",
        )
    _link(recipe.environment, venv)
    (venv / _CONTENTS).write_text("\n".join(_contents(venv)), encoding="utf-8")


def _link(environment: MatrixEnvironment, venv: Path) -> None:
    """Makes the links that the toolkit's wheels lack: new files, so that uv's cache keeps what it has."""
    for path, target in environment.links.items():
        (Path(environment.site_packages(str(venv))) / path).symlink_to(target)


def _is_full(words: str) -> bool:
    return any(each in words.lower() for each in ("no space left", "os error 28", "quota exceeded"))


_AGAIN = "run the same command again: finished downloads are kept; `--mirror cn` chooses mirrors in mainland China"


def _install_hint(words: str, index: str | None = None) -> str:
    if "hash mismatch" in words.lower():
        return f"what {serving(index)} serves is not what was locked: choose another index with `--mirror`"
    if _is_full(words):
        return "make room (`envkit prune` shows what nothing uses), or set ENVKIT_HOME to a folder on a larger disk"
    return _AGAIN
