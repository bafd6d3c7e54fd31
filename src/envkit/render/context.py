"""The values that templates may use, made from the matrix; nothing else reaches a template."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envkit.lock.lockfile import Lock
    from envkit.matrix.load import MatrixEnvironment
    from envkit.matrix.schema import App, Cache, Told

CONTAINER_WORKSPACE = "/workspace"
CONTAINER_VENV = "/opt/venv"
SHM_SIZE = "16gb"
"""Shared memory for data loaders and NCCL; Docker's 64 MB break both, and 16 GB is what upstream recipes ask for."""


@dataclass(frozen=True)
class DockerfileContext:
    """For `base.Dockerfile.j2`."""

    environment: str
    framework: str
    version: str
    image: str
    stack: str
    """The torch stack's name in the matrix."""
    python: str
    base_image: str
    """With its digest, where the matrix has one."""
    system_packages: list[str]
    framework_packages: list[str]
    ports: list[int]
    command: list[str]
    """What a plain `docker run` starts."""
    cache_folders: list[str]
    """Made in the image, so that a volume mounted there belongs to everybody."""
    lock_sha256: str
    site_packages: str
    links: dict[str, str]
    """Made in site-packages: what the toolkit's wheels lack."""
    toolkit_env: dict[str, str]
    """With which programs find the toolkit."""
    compiled: dict[str, dict[str, str]]
    """The packages that are compiled beforehand, each with what its build is told."""
    build_options: list[str]
    """How the lock's source distributions are built."""


@dataclass(frozen=True)
class Server:
    """One app with a port, for `compose.yaml.j2`."""

    name: str
    argv: list[str]
    options: list[str]
    """Stand after what the user adds to `argv`."""
    port: int
    env: dict[str, str]
    health: dict[str, Any] | None


@dataclass(frozen=True)
class ComposeContext:
    """For `compose.yaml.j2`."""

    framework: str
    title: str
    environment: str
    image: str
    cpu: bool
    shm_size: str
    env: dict[str, str]
    """Set for every app."""
    pass_env: list[str]
    """Taken over from whoever runs compose."""
    servers: list[Server]
    caches: list[dict[str, str]]


def dockerfile_context(environment: MatrixEnvironment, lock: Lock) -> dict[str, Any]:
    """The values for an environment's Dockerfile."""
    framework, base = environment.framework, environment.base
    apps = environment.apps.values()
    return asdict(
        DockerfileContext(
            environment=environment.name,
            framework=framework.name,
            version=environment.version,
            image=environment.image,
            stack=environment.entry.stack,
            python=environment.entry.python,
            base_image=f"{base.name}@{base.digest}" if base.digest else base.name,
            system_packages=sorted(base.system_packages),
            framework_packages=sorted(framework.system_packages),
            ports=sorted({app.port.default for app in apps if app.port}),
            command=next(app.argv for app in apps),
            cache_folders=list(map(cache_target, framework.caches)),
            lock_sha256=lock.sha256,
            site_packages=environment.site_packages(CONTAINER_VENV),
            links=environment.links,
            toolkit_env=environment.toolkit_env(CONTAINER_VENV),
            compiled={
                name: environment.compiled_env(name, CONTAINER_VENV)
                for name in environment.compiled
                if name in lock.packages
            },
            build_options=environment.build_options,
        )
    )


def compose_context(environment: MatrixEnvironment, lock: Lock) -> dict[str, Any]:
    """The values for a framework's compose file, which names the image of `environment`."""
    framework = environment.framework
    return asdict(
        ComposeContext(
            framework=framework.name,
            title=framework.title,
            environment=environment.name,
            image=environment.image,
            cpu=framework.cpu,
            shm_size=SHM_SIZE,
            env={
                **framework.env,
                **{
                    each.env: cache_target(name) + cache_part(each, environment, lock.sha256, isolated=True)
                    for name, each in framework.caches.items()
                },
            },
            pass_env=[*framework.pass_env, *framework.secrets],
            servers=[_server(name, app) for name, app in environment.apps.items() if app.port],
            caches=[{"name": name, "target": cache_target(name)} for name in framework.caches],
        )
    )


def cache_target(name: str) -> str:
    """Where a cache is seen inside a container."""
    return f"/cache/{name}"


def cache_part(cache: Cache, environment: MatrixEnvironment, lock_sha256: str, *, isolated: bool) -> str:
    """What follows a cache's folder: for compiled code, a folder for this lock, in an image or in a venv.

    The same source gives other code with another torch, and code of a container may not load on the host.
    """
    kind = "image" if isolated else "venv"
    return f"/{environment.name}-{lock_sha256[:12]}-{kind}" if cache.per_lock else ""


def listen_env(app: App, port: int, address: str) -> dict[str, str]:
    """The variables that tell an app where to listen."""
    return {how.env: value for how, value in _told(app, port, address) if how.env}


def listen_options(app: App, port: int, address: str) -> tuple[str, ...]:
    """The options that tell an app where to listen."""
    return tuple(word for how, value in _told(app, port, address) if how.option for word in (how.option, value))


def _told(app: App, port: int, address: str) -> list[tuple[Told, str]]:
    pairs = ((app.port, str(port)), (app.bind, address))
    return [(how, value) for how, value in pairs if how]


def _server(name: str, app: App) -> Server:
    assert app.port is not None  # noqa: S101  # the caller chose apps with a port
    port = app.port.default
    health = None
    if app.health:
        # An answer of any kind but a server error will do: with a key set, an app that is up says 401.
        probe = (
            f'import http.client as h; c = h.HTTPConnection("127.0.0.1", {port}, timeout=5); '
            f'c.request("GET", "{app.health.path}"); raise SystemExit(c.getresponse().status >= 500)'
        )
        health = {"probe": probe, "within_seconds": app.health.within_seconds}
    address = "0.0.0.0"  # noqa: S104  # the port is published on 127.0.0.1
    return Server(
        name=name,
        argv=app.argv,
        options=list(listen_options(app, port, address)),
        port=port,
        env=listen_env(app, port, address),
        health=health,
    )
