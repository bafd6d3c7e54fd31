"""A request to run an app turned into a `Launch` for the chosen backend."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.apps.ports import claim_port
from envkit.apps.workspace import cache_folder
from envkit.backends.base import Launch, Mount
from envkit.backends.gpu import cuda_env
from envkit.errors import BackendError, UsageError
from envkit.host.index import split_proxies
from envkit.render.context import CONTAINER_WORKSPACE, cache_part, cache_target, listen_env, listen_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envkit.backends.base import Backend, Recipe
    from envkit.host.facts import Gpu
    from envkit.matrix.schema import App

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  # inside containers, and on the host only when the user exposes an app


@dataclass(frozen=True)
class Request:
    """What the user asked for, beyond framework and app."""

    app: str
    args: tuple[str, ...]
    workspace: Path
    gpus: tuple[Gpu, ...] = ()
    """The GPUs to hand over; none for the CPU."""
    name: str | None = None
    port: int | None = None
    """None: the app's own; 0: any that is free."""
    expose: bool = False
    volumes: tuple[tuple[Path, str], ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)


def choose_backend(wish: str, known: Mapping[str, Backend], *, gpu: bool) -> tuple[Backend, str]:
    """The backend to use, and why it; `auto` takes the first that works, with the GPU where one is planned.

    Raises `BackendError` when none does.
    """

    def problem(backend: Backend) -> str | None:
        return backend.problem() or (backend.gpu_problem() if gpu else None)

    if wish != "auto":
        if against := problem(known[wish]):
            others = [f"`--backend {name}`" for name in known if name != wish and not problem(known[name])]
            cpu = ["`--device cpu`"] if gpu else []
            raise BackendError(
                f"the {wish} backend cannot be used: {against}",
                hint=f"repair it{''.join(f', or use {each}' for each in [*others, *cpu])}; {_repair(wish, gpu=gpu)}",
            )
        return known[wish], "asked for"
    reasons: list[str] = []
    for name, backend in known.items():
        against = problem(backend)
        if against is None:
            return backend, "; ".join(reasons) or f"{name} works here"
        reasons.append(against)
    raise BackendError(
        "no backend can be used here", details="\n".join(reasons), hint="set ENVKIT_HOME to a folder of yours"
    )


def _repair(backend: str, *, gpu: bool) -> str:
    if backend == "venv":
        return "ENVKIT_HOME chooses another folder"
    if backend == "podman":
        if gpu:
            return "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` describes the GPUs to podman"
        return "`sudo apt-get install podman` installs it, `podman info` says what is wrong with it"
    if gpu:
        return "`envkit doctor` says what keeps the GPU from containers"
    return "`sudo systemctl start docker` starts an engine, `sudo usermod -aG docker $USER` lets you use it"


def plan_launch(request: Request, app: App, recipe: Recipe, backend: Backend, known: Mapping[str, Backend]) -> Launch:
    """The launch, with its port claimed and its name free; changes nothing."""
    environment, framework = recipe.environment, recipe.environment.framework
    running = [instance for each in known.values() if not each.problem() for instance in each.instances()]
    key = _exposure_key(request, app)
    port = _port(
        request,
        app,
        {_url_port(each.url): each.name for each in running if each.url and each.status == "running"},
    )

    secret_names = {*framework.secrets, *([app.auth.env] if app.auth else [])}
    caches = {
        name: cache_folder(name, cache, request.workspace if backend.isolated else None)
        for name, cache in framework.caches.items()
    }
    seen = {name: cache_target(name) if backend.isolated else str(folder) for name, folder in caches.items()}
    parts = {
        name: cache_part(cache, environment, recipe.lock.sha256, isolated=backend.isolated)
        for name, cache in framework.caches.items()
    }
    in_use = any(each.environment == environment.name and each.status == "running" for each in running)
    mounts = [
        Mount(request.workspace, CONTAINER_WORKSPACE),
        *(Mount(caches[name], seen[name]) for name in caches),
    ]
    mounts += [Mount(source, target) for source, target in request.volumes]
    if request.volumes and not backend.isolated:
        raise UsageError(
            "`--volume` is for containers: a venv sees the host's own folders",
            hint="use the paths as they are",
        )

    inside = app.port.default if app.port and backend.isolated else port
    address = EVERYWHERE if request.expose else LOOPBACK
    bind = EVERYWHERE if backend.isolated else address
    env = {
        **framework.env,
        **_modelscope(recipe),
        **{name: os.environ[name] for name in framework.pass_env if name in os.environ},
        **(split_proxies()[0] if backend.isolated else {}),
        **({"HF_ENDPOINT": recipe.mirror.huggingface} if recipe.mirror and recipe.mirror.huggingface else {}),
        **{cache.env: seen[name] + parts[name] for name, cache in framework.caches.items()},
        **(listen_env(app, inside, bind) if inside else {}),
        **({} if backend.isolated else cuda_env(request.gpus)),
        **{name: value for name, value in request.env.items() if name not in secret_names},
    }
    handed = {name: os.environ[name] for name in framework.secrets if name in os.environ}
    handed |= {**key, **{name: value for name, value in request.env.items() if name in secret_names}}
    return Launch(
        name=_free_name(request.name, f"{framework.name}-{request.app}", {each.name for each in running}),
        app=request.app,
        environment=environment,
        lock_sha256=recipe.lock.sha256,
        argv=(*app.argv, *request.args, *(listen_options(app, inside, bind) if inside else ())),
        workdir=CONTAINER_WORKSPACE if backend.isolated else str(request.workspace),
        env=env,
        secrets=handed,
        mounts=tuple(mounts),
        stale_locks=tuple(
            lock
            for name, cache in framework.caches.items()
            if cache.locks and not in_use
            for lock in sorted(Path(f"{caches[name]}{parts[name]}").glob(cache.locks))
        ),
        port=port,
        container_port=inside,
        address=address,
        url=f"http://{LOOPBACK}:{port}" if port else None,
        gpus=request.gpus,
        terminal=app.kind == "terminal",
        named=request.name is not None,
    )


def _modelscope(recipe: Recipe) -> Mapping[str, str]:
    """What makes the framework take models from ModelScope, where the mirrors say so and its library is there."""
    wanted = recipe.mirror is not None and recipe.mirror.modelscope and "modelscope" in recipe.lock.packages
    return recipe.environment.framework.modelscope if wanted else {}


def _exposure_key(request: Request, app: App) -> dict[str, str]:
    """The key that protects an exposed app; an app without a login is not exposed."""
    if not request.expose:
        return {}
    if not app.auth:
        raise UsageError(
            f"{request.app} has no login: everybody who reaches the port could use it",
            hint="leave out `--expose`: `run` prints the ssh line that reaches it from your own computer",
        )
    return {app.auth.env: os.environ.get(app.auth.env) or secrets.token_urlsafe(24)}


def _port(request: Request, app: App, instances: dict[int, str]) -> int | None:
    if not app.port:
        if request.port is not None:
            raise UsageError(f"{request.app} has no port", hint="leave out `--port`")
        return None
    address = EVERYWHERE if request.expose else LOOPBACK
    return claim_port(app.port.default if request.port is None else request.port, address, instances=instances)


def _url_port(url: str) -> int:
    return int(url.rsplit(":", 1)[1].split("/")[0])


def _free_name(wish: str | None, usual: str, taken: set[str]) -> str:
    if wish:
        if not _NAME.fullmatch(wish):
            raise UsageError(f"not a name for an instance: {wish}", hint="use letters, digits, `-`, `_` and `.`")
        if wish in taken:
            raise UsageError(
                f"there is an instance of that name already: {wish}", hint=f"`envkit stop {wish}` removes it"
            )
        return wish
    return next(name for name in (usual, *(f"{usual}-{number}" for number in range(2, 1000))) if name not in taken)
