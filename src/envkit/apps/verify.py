"""Looks at a made environment from inside, in whatever backend it lives: checks that need no GPU and no network."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from envkit.audit.ask import ask_help, ask_imports, ask_probe
from envkit.audit.check import Check, CheckName, Result, overall
from envkit.audit.judge import (
    help_command,
    judge_cli,
    judge_companions,
    judge_imports,
    judge_installed,
    judge_linked,
    judge_variables,
)
from envkit.audit.known import known
from envkit.backends.base import BackendName, Launch
from envkit.backends.gpu import cuda_env
from envkit.evidence import Level, Seen
from envkit.render.context import CONTAINER_WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envkit.backends.base import Backend, Progress, Recipe
    from envkit.host.facts import Gpu
    from envkit.matrix.plan import Device
    from envkit.matrix.schema import App
    from envkit.process import Completed

LEVELS: dict[Level, tuple[CheckName, ...]] = {
    "installed": ("installed",),
    "linked": ("companions", "linked"),
    "imports": ("imports", "cli", "variables"),
}
"""Which checks a level of evidence rests on."""


class Report(Struct, frozen=True):
    """What was found in one environment; `envkit verify --json` prints it."""

    environment: str
    backend: BackendName
    device: str
    checks: tuple[Check, ...]
    result: Result


def verify(backend: Backend, recipe: Recipe, progress: Progress, *, gpus: tuple[Gpu, ...] = ()) -> Report:
    """The checks of an environment that the backend has; with GPUs, what needs one is tried too.

    Raises `BackendError` where the environment cannot be asked at all.
    """
    environment = recipe.environment
    framework = msgspec.structs.replace(environment.framework, apps=environment.apps)
    device: Device = "gpu" if gpus else "cpu"
    with _inside(backend, recipe, gpus) as inside:
        progress.step("packages and libraries")
        seen = ask_probe(inside, known(), framework)
        progress.step("imports")
        imported = ask_imports(inside, framework)
        progress.step("programs and their options")
        answers = ask_help(inside, framework)
    checks = (
        judge_installed(seen, recipe.lock.packages, known()),
        judge_companions(seen, environment.stack, known()),
        judge_linked(seen, known()),
        judge_imports(imported, framework, gpu=bool(gpus)),
        judge_cli(seen, answers, framework, gpu=bool(gpus)),
        judge_variables(seen, framework, environment.entry.unread),
    )
    return Report(environment.name, backend.name, device, checks, overall(checks))


def evidence_of(report: Report, *, machine: str, date: str) -> list[Seen]:
    """The report as evidence, level by level; of a level with a check that could not be made, nothing was seen."""
    found = []
    for level, names in LEVELS.items():
        checks = [each for each in report.checks if each.name in names]
        bad = [each for each in checks if each.result != "pass"]
        result = overall(checks)
        if result == "skip":
            continue
        found.append(
            Seen(
                level=level,
                backend=report.backend,
                result=result,
                date=date,
                machine=machine,
                detail="; ".join(f"{each.name}: {each.detail}" for each in bad),
            )
        )
    return found


class _Inside:
    """Runs commands in the environment, each as an instance of its own that is gone afterwards."""

    def __init__(self, backend: Backend, recipe: Recipe, gpus: tuple[Gpu, ...], home: str) -> None:
        """`home` is a folder of the host that a process without a container may fill."""
        framework = recipe.environment.framework
        self._backend = backend
        self._launch = Launch(
            name=f"{recipe.environment.name}-verify-{os.getpid()}",
            app="verify",
            environment=recipe.environment,
            lock_sha256=recipe.lock.sha256,
            argv=(),
            workdir=CONTAINER_WORKSPACE if backend.isolated else home,
            env={
                **framework.env,
                **known().offline.variables,
                **({} if backend.isolated else _kept_at_home(home, recipe, gpus)),
            },
            gpus=gpus,
            network=False,
        )

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """Its status and what it printed."""
        return self._backend.call(replace(self._launch, argv=tuple(argv)), timeout=timeout)


def _kept_at_home(home: str, recipe: Recipe, gpus: tuple[Gpu, ...]) -> Mapping[str, str]:
    """What a container has of itself: a home and caches of its own, and the chosen GPUs alone."""
    caches = recipe.environment.framework.caches
    return {
        "HOME": home,
        "XDG_CACHE_HOME": f"{home}/.cache",
        **{cache.env: f"{home}/{name}" for name, cache in caches.items()},
        **cuda_env(gpus),
    }


def glance(backend: Backend, recipe: Recipe, *, gpus: tuple[Gpu, ...] = ()) -> tuple[Check, ...]:
    """The checks that say most in the least time: packages, companions, imports, and the help of one app for each program."""
    framework = recipe.environment.framework
    helped: dict[str, App] = {}
    for name, app in recipe.environment.apps.items():
        if help_command(app) and app.argv[0] not in {each.argv[0] for each in helped.values()}:
            helped[name] = app
    asked = msgspec.structs.replace(framework, apps=helped, caches={}, env={}, pass_env=[], secrets=[])
    with _inside(backend, recipe, gpus) as inside:
        seen = ask_probe(inside, known(), asked)
        imported = ask_imports(inside, framework)
        answers = ask_help(inside, asked)
    return (
        judge_installed(seen, recipe.lock.packages, known()),
        judge_companions(seen, recipe.environment.stack, known()),
        judge_imports(imported, framework, gpu=bool(gpus)),
        judge_cli(seen, answers, asked, gpu=bool(gpus)),
    )


@contextmanager
def _inside(backend: Backend, recipe: Recipe, gpus: tuple[Gpu, ...]) -> Iterator[_Inside]:
    with tempfile.TemporaryDirectory(prefix="envkit-verify-") as home:
        yield _Inside(backend, recipe, gpus, home)
