"""Where an environment is that envkit need not have made: a Python, a venv, an image, a running container."""

from __future__ import annotations

import os
import resource
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from envkit import process
from envkit.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envkit.audit.ask import Inside
    from envkit.process import Completed

_ENGINES = ("docker", "podman")
_ENGINE_SECONDS = 60
_MOST_PROCESSES = 32768
"""podman 4.3 lowers its own limit to this."""
_START = """\
p=$1; shift
[ -n "$p" ] || p=$(command -v python || command -v python3) || { echo 'no python and no python3 on the PATH' >&2; exit 127; }
exec "$p" "$@"
"""
"""What finds an image's Python in the way that its own programs do: by the PATH."""


def in_python(path: Path) -> Inside:
    """Runs programs with this interpreter; raises `UsageError` where it is none."""
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UsageError(
            f"not a Python that can be run: {path}", hint="name its executable, such as `.venv/bin/python`"
        )
    return partial(_by_python, str(path.absolute()))


def _by_python(python: str, argv: Sequence[str], *, timeout: float) -> Completed:
    return process.finish([python, *argv[1:]], timeout=timeout)


def python_of(folder: Path) -> Path:
    """The interpreter of a venv or a conda environment; raises where there is none, or it leads nowhere."""
    if not (folder / "pyvenv.cfg").is_file() and not (folder / "conda-meta").is_dir():
        raise UsageError(
            f"neither a venv nor a conda environment: {folder}",
            hint="name the folder that holds pyvenv.cfg or conda-meta; any Python goes with `--python`",
        )
    python = folder / "bin" / "python"
    if python.is_symlink() and not python.exists():
        raise BackendError(
            f"the interpreter of the environment is gone: {python} leads to {python.readlink()}",
            hint="a Python that was updated or removed leaves such environments: make it again",
        )
    return python


def in_image(image: str, python: str | None = None) -> Inside:
    """Runs programs in throw-away containers of an image that is there, without a network.

    `python` is the path of an interpreter inside; absent: the first `python` or `python3` of the image's PATH.
    """
    engine = _engine_with("image", image)
    if engine is None:
        raise UsageError(
            f"no such image here: {image}", hint=f"`docker pull {image}` brings it; envkit pulls nothing unasked"
        )
    return partial(_in_image, engine, image, python or "")


def _checked(done: Completed, place: str) -> Completed:
    """Raises where it was the engine that failed, or there is no Python; status as in docker-run(1)."""
    if done.status in (125, 126) and not done.stdout:
        raise BackendError(
            f"the engine could not look into {place}",
            details=done.stderr.strip(),
            hint="`envkit doctor` says what is wrong with it",
        )
    if done.status == 127 and not done.stdout:
        raise UsageError(
            f"no Python that can be run in {place}",
            details=done.stderr.strip(),
            hint="`--python PATH` names one inside it",
        )
    return done


def _in_image(engine: str, image: str, python: str, argv: Sequence[str], *, timeout: float) -> Completed:
    name = f"envkit-audit-{os.getpid()}"
    options = ["--rm", "--name", name, "--network", "none", "--security-opt", "no-new-privileges", "--pull", "never"]
    command = [
        engine,
        "run",
        *options,
        *_limits(engine),
        "--entrypoint",
        "/bin/sh",
        image,
        "-c",
        _START,
        "sh",
        python,
        *argv[1:],
    ]
    try:
        done = process.finish(command, timeout=timeout)
    except BaseException:
        process.run([engine, "rm", "--force", name], timeout=_ENGINE_SECONDS)
        raise
    return _checked(done, image)


def in_container(container: str, python: str | None = None) -> Inside:
    """Runs programs in a container that runs; it may be named as envkit names its instances."""
    for name in (container, f"envkit-{container}"):
        if engine := _engine_with("container", name):
            state = _inspect(engine, "container", name, "{{.State.Running}}")
            if state is None or state.stdout.strip() != "true":
                raise UsageError(
                    f"the container does not run: {name}",
                    hint=f"`{engine} start {name}`; or name its image with `--image`",
                )
            return partial(_in_container, engine, name, python or "")
    raise UsageError(f"no such container: {container}", hint="`docker ps` and `podman ps` list them")


def _limits(engine: str) -> list[str]:
    """podman's own are too high for whoever may not raise them, as in a container: then this process's."""
    if engine != "podman":
        return []
    files, processes = (resource.getrlimit(each)[1] for each in (resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC))
    processes = _MOST_PROCESSES if processes < 0 else min(processes, _MOST_PROCESSES)
    return [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}"]


def _in_container(engine: str, name: str, python: str, argv: Sequence[str], *, timeout: float) -> Completed:
    command = [engine, "exec", name, "/bin/sh", "-c", _START, "sh", python, *argv[1:]]
    return _checked(process.finish(command, timeout=timeout), name)


def _engine_with(kind: Literal["image", "container"], name: str) -> str | None:
    """The engine that has it, Docker first; raises `BackendError` where there is no engine at all."""
    answers = {engine: _inspect(engine, kind, name, "{{.Id}}") for engine in _ENGINES}
    if all(answer is None for answer in answers.values()):
        raise BackendError(
            "neither docker nor podman is installed", hint="install one; `envkit doctor` says more of them"
        )
    reasons = [answer.stderr.strip() for answer in answers.values() if answer and answer.status]
    found = next((engine for engine, answer in answers.items() if answer and not answer.status), None)
    if found is None and not any("o such" in each or "not known" in each for each in reasons):
        raise BackendError(
            "no engine answers", details="\n".join(reasons), hint="`envkit doctor` says what is wrong with it"
        )
    return found


def _inspect(engine: str, kind: str, name: str, what: str) -> Completed | None:
    """What the engine says; None: its command is not installed."""
    try:
        return process.run([engine, kind, "inspect", "--format", what, name], timeout=_ENGINE_SECONDS)
    except BackendError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise
