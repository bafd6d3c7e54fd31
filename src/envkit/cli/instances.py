"""What the commands about instances share: the backends of this machine, and finding an instance by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.cli.console import say
from envkit.errors import UsageError

if TYPE_CHECKING:
    from envkit.backends.base import Backend, Instance


def backends() -> dict[str, Backend]:
    """Every backend, best first."""
    from envkit.backends.docker import DockerBackend
    from envkit.backends.podman import PodmanBackend
    from envkit.backends.venv import VenvBackend

    return {"docker": DockerBackend(), "podman": PodmanBackend(), "venv": VenvBackend()}


def answering(otherwise: str = "instances of {} are not shown") -> list[Backend]:
    """The backends that answer; one that should answer and does not is named on stderr, with what that means."""
    found = []
    for backend in backends().values():
        problem = backend.problem()
        if problem is None:
            found.append(backend)
        elif "permission denied" in problem:
            say(f"warning: {otherwise.format(backend.name)}: {problem}")
    return found


def all_instances() -> list[tuple[Backend, Instance]]:
    """The instances of every backend that answers; a backend that should answer and does not is named on stderr."""
    return [(backend, instance) for backend in answering() for instance in backend.instances()]


def find_instance(name: str) -> tuple[Backend, Instance]:
    """The instance of that name with its backend; raises `UsageError` with the names there are."""
    every = all_instances()
    for backend, instance in every:
        if instance.name == name:
            return backend, instance
    names = ", ".join(instance.name for _, instance in every)
    raise UsageError(
        f"there is no instance named {name}", hint=f"there are: {names}" if names else "nothing is running"
    )
