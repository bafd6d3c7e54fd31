"""Chooses the checks of an environment, runs them one after the other, and lets none of them end without a result."""

from __future__ import annotations

import os
import shlex
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import msgspec
from packaging.utils import canonicalize_name

from envkit.errors import AppError, BackendError
from envkit.smoke.check import ENVIRONMENT_CHECKS, Check, Report, result_of
from envkit.smoke.jobs import (
    check_chat,
    check_environment,
    check_export,
    check_page,
    check_program,
    check_training,
    did_not_start,
    how,
    with_log,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from envkit.backends.base import Backend, Progress, Recipe
    from envkit.host.facts import Gpu
    from envkit.matrix.schema import Smoke as SmokeData
    from envkit.smoke.room import Room

_PREPARE_SECONDS = 300


@dataclass(frozen=True)
class Program:
    """A check that a program of `inside/` makes in every environment that has what it is about."""

    argv: tuple[str, ...]
    package: str
    """In the lock."""
    gpu: bool = False
    """Whether there is nothing to see without one."""
    gpus: int = 1


PROGRAMS = {
    "device": Program(("smoke/device.py", "{device}", "{gpus}"), "torch"),
    "sdpa": Program(("smoke/attention.py", "sdpa", "{device}"), "torch"),
    "flash-attn": Program(("smoke/attention.py", "flash-attn", "{device}"), "flash-attn", gpu=True),
    "bnb-4bit": Program(("smoke/quantized.py", "4", "{device}"), "bitsandbytes"),
    "bnb-8bit": Program(("smoke/quantized.py", "8", "{device}"), "bitsandbytes"),
    "multi-gpu": Program(("smoke/processes.py", "{device}", "{gpus}"), "torch", gpu=True, gpus=2),
}
"""None of them has been run on a GPU yet."""


@dataclass
class Smoke:
    """One run of checks in one environment."""

    backend: Backend
    recipe: Recipe
    room: Room
    gpus: tuple[Gpu, ...]
    pictures: dict[str, bytes] = field(default_factory=dict)
    """Screenshots, by check."""
    _done: dict[str, Check] = field(default_factory=dict)
    _locks: dict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))
    _unprepared: Check | None = None

    @property
    def device(self) -> str:
        """What it runs on."""
        return "gpu" if self.gpus else "cpu"

    def run(self, asked: Sequence[str], progress: Progress, machine: str) -> Report:
        """The report of the checks that were asked for by name, or of all that there are."""
        chosen = self._chosen(asked)
        self.room.furnish()
        for name in chosen:
            if name in ENVIRONMENT_CHECKS:
                self._check(name, progress)
        if {*chosen} - {*ENVIRONMENT_CHECKS, *PROGRAMS}:
            self._prepare(progress)
        self._check_together([each for each in chosen if each not in ENVIRONMENT_CHECKS], progress)
        return self.report(asked, machine)

    def report(self, asked: Sequence[str], machine: str) -> Report:
        """What has been seen of them; one that has not come to its end is an error."""
        stopped = {name: Check(name=name, result="error", detail="it was stopped") for name in self._chosen(asked)}
        found = tuple(self._done.get(name, check) for name, check in stopped.items())
        return Report(
            environment=self.recipe.environment.name,
            backend=self.backend.name,
            device=self.device,
            machine=machine,
            checks=found,
            result=result_of(found, asked),
        )

    def _chosen(self, asked: Sequence[str]) -> list[str]:
        return [each for each in checks_of(self.recipe) if not asked or each in asked]

    def _check_together(self, names: Sequence[str], progress: Progress) -> None:
        """Two at a time on the CPU, where most of a check is starting programs; one on GPUs, which have no room for two.

        Whatever interrupts this ends all that it started.
        """
        pool = ThreadPoolExecutor(1 if self.gpus else min(2, os.cpu_count() or 1))
        try:
            running = [pool.submit(self._check, name, progress) for name in names]
            for each in running:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            self.room.close()
            raise
        finally:
            pool.shutdown()

    def _check(self, name: str, progress: Progress) -> Check:
        """The check's result; one that ran already, or runs just now, is not run again."""
        with self._locks[name]:
            if name not in self._done:
                progress.step(name)
                began = time.monotonic()
                check = self._result(name, progress)
                self._done[name] = check = check if check.seconds else _timed(began, check)
                said = f"{name}: {check.result}: {check.detail}"
                (progress.done if check.result == "pass" else progress.step)(said)
        return self._done[name]

    def _result(self, name: str, progress: Progress) -> Check:
        if reason := self._against(name):
            return Check(name=name, result="skip", detail=reason)
        try:
            return self._kinds()[name](name, progress)
        except BackendError as error:
            return Check(name=name, result="error", detail=error.message, log=tuple(error.details.splitlines()))
        except AppError as error:
            return did_not_start(name, (), error)

    def _against(self, name: str) -> str | None:
        """Why the check cannot be made here, or None."""
        program = PROGRAMS.get(name)
        training = self._smoke.trainings.get(name)
        package = program.package if program else training.needs if training else None
        if package and not has(self.recipe, package):
            return f"{self.recipe.environment.name} has no {package}"
        if program and program.gpu and len(self.gpus) < program.gpus:
            return (
                "it needs a GPU"
                if program.gpus == 1
                else f"it needs {program.gpus} GPUs, and {len(self.gpus)} are there"
            )
        return None

    def _kinds(self) -> Mapping[str, Callable[[str, Progress], Check]]:
        """How each check is made."""
        kinds: dict[str, Callable[[str, Progress], Check]] = dict.fromkeys(("import", "cli"), self._environment)
        kinds |= dict.fromkeys(PROGRAMS, self._program)
        kinds |= dict.fromkeys(self._smoke.trainings, self._training)
        return {**kinds, "export": self._export, "chat-completion": self._chat, "webui": self._page}

    def _environment(self, name: str, progress: Progress) -> Check:
        """Both are seen at once."""
        both = check_environment(self.backend, self.recipe, self.gpus)
        found = {each.name: each for each in both}
        self._done |= {other: check for other, check in found.items() if other != name}  # before other threads begin
        return found[name]

    def _program(self, name: str, progress: Progress) -> Check:
        values = {"{device}": self.device, "{gpus}": str(len(self.gpus))}
        return check_program(self.room, name, *(values.get(word, word) for word in PROGRAMS[name].argv))

    def _training(self, name: str, progress: Progress) -> Check:
        training = self._smoke.trainings[name]
        with self._locks[f"package {training.needs or name}"]:  # both would compile the same code at their first start
            began = time.monotonic()
            return self._unmade(name) or _timed(began, check_training(self.room, name, training))

    def _export(self, name: str, progress: Progress) -> Check:
        export = self._smoke.export
        assert export  # noqa: S101  # else there is no such check
        trained = self._check(export.of, progress)
        if trained.result != "pass":
            detail = f"there is nothing to export: {export.of} did not pass"
            return Check(name=name, result="error", detail=detail)
        began = time.monotonic()
        return _timed(began, check_export(self.room, name, export, self._smoke.trainings[export.of]))

    def _chat(self, name: str, progress: Progress) -> Check:
        assert self._smoke.chat  # noqa: S101  # else there is no such check
        return self._unmade(name) or check_chat(self.room, name, self._smoke.chat)

    def _page(self, name: str, progress: Progress) -> Check:
        assert self._smoke.page  # noqa: S101  # else there is no such check
        if unmade := self._unmade(name):
            return unmade
        check, picture = check_page(self.room, name, self._smoke.page)
        if picture:
            self.pictures[name] = picture
        return check

    def _prepare(self, progress: Progress) -> None:
        """Makes models and data."""
        for argv in self._smoke.prepare:
            command = shlex.join(("python", *argv))
            progress.step(command)
            ended = self.room.program("prepare", *argv, within_seconds=_PREPARE_SECONDS)
            if ended.status != 0:
                check = Check(name="prepare", result="error", detail=how(ended, command))
                self._unprepared = with_log(check, ended.output)
                break

    def _unmade(self, name: str) -> Check | None:
        """The error of a check whose model or data could not be made."""
        return msgspec.structs.replace(self._unprepared, name=name) if self._unprepared else None

    @property
    def _smoke(self) -> SmokeData:
        return self.recipe.environment.framework.smoke


def _timed(began: float, check: Check) -> Check:
    """The check with the time since it began; waiting for another one is no part of it."""
    return msgspec.structs.replace(check, seconds=round(time.monotonic() - began, 1))


def checks_of(recipe: Recipe) -> list[str]:
    """The names of the checks that an environment offers, in the order in which they run."""
    smoke = recipe.environment.framework.smoke
    programs = [name for name, each in PROGRAMS.items() if has(recipe, "torch") or has(recipe, each.package)]
    own = {"export": smoke.export, "chat-completion": smoke.chat, "webui": smoke.page}
    apps = recipe.environment.apps
    trainings = [name for name, each in smoke.trainings.items() if each.app in apps]
    return ["import", "cli", *programs, *trainings, *(name for name, each in own.items() if each and each.app in apps)]


def has(recipe: Recipe, package: str) -> bool:
    """Whether the lock has a package of that name."""
    return canonicalize_name(package) in {canonicalize_name(each) for each in recipe.lock.packages}
