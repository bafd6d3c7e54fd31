"""Starts an app, waits until it answers, follows it, and ends it; leaves nothing behind unless it is detached."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from envkit.apps.health import wait_until_up
from envkit.backends.base import NameTakenError
from envkit.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Callable

    from envkit.backends.base import Backend, Launch
    from envkit.matrix.schema import App

_FLUSH_SECONDS = 10
"""For the last output of an app that has ended."""
_LAST_LINES = 30
_LOG_LINES = 20_000
"""That are looked through for the cause."""


def run_attached(
    backend: Backend, launch: Launch, app: App, *, output: Callable[[bytes], None], up: Callable[[], None]
) -> int:
    """The app's exit status, after its output went to `output`; `up` is called once it answers.

    The instance is gone afterwards, whatever ended it: the app itself, Ctrl-C, a closed terminal, a failed start.
    """
    if launch.terminal:
        return backend.attend(launch)
    launch = _start(backend, launch)
    follower = threading.Thread(target=_follow, args=(backend, launch.name, output), daemon=True)
    try:
        follower.start()
        if app.health:
            _wait(backend, launch, app)
            up()
        status = backend.wait(launch.name)
        follower.join(timeout=_FLUSH_SECONDS)
        return status
    finally:
        _end(backend, launch.name)
        if follower.is_alive():  # the app's last lines do not come into the midst of what is said next
            follower.join(timeout=_FLUSH_SECONDS)


def run_detached(backend: Backend, launch: Launch, app: App) -> Launch:
    """Starts the app and returns once it answers, with the name that it got; one that does not is removed, and its last lines are shown."""
    launch = _start(backend, launch)
    if not app.health:
        return launch
    try:
        _wait(backend, launch, app)
    except BaseException:
        _end(backend, launch.name)
        raise
    return launch


def _wait(backend: Backend, launch: Launch, app: App) -> None:
    """Returns when the app answers; raises `AppError` with its last lines otherwise."""
    assert app.health is not None  # noqa: S101  # the caller looked
    reason = wait_until_up(
        f"{launch.url}{app.health.path}", app.health.within_seconds, lambda: _running(backend, launch.name)
    )
    if reason:
        ended = not _running(backend, launch.name)
        printed = b"".join(backend.logs(launch.name, follow=False, tail=_LOG_LINES))
        raise AppError(
            f"{launch.app} did not start: {reason}",
            status=backend.wait(launch.name) if ended else 1,
            details=b"".join(printed.splitlines(keepends=True)[-_LAST_LINES:]).decode(errors="replace").strip(),
            hint="the lines above are the last that it printed",
            log=printed,
        )


def _start(backend: Backend, launch: Launch) -> Launch:
    """The launch as it was started: under the next free name, where another one took it meanwhile.

    A start that fails cleans up after itself; one that is interrupted is cleaned up here.
    """
    usual = launch.name
    for number in count(2):
        try:
            backend.start(launch)
        except NameTakenError:
            if launch.named:
                raise
            launch = replace(launch, name=f"{usual}-{number}")
        except KeyboardInterrupt:
            _end(backend, launch.name)
            raise
        else:
            break
    return launch


def _end(backend: Backend, name: str) -> None:
    """Removes the instance; a second Ctrl-C means: at once."""
    try:
        backend.remove(name)
    except KeyboardInterrupt:
        backend.remove(name, grace_seconds=0)
        raise


def _running(backend: Backend, name: str) -> bool:
    instance = backend.find(name)
    return instance is not None and instance.status == "running"


def _follow(backend: Backend, name: str, output: Callable[[bytes], None]) -> None:
    for chunk in backend.logs(name, follow=True):
        output(chunk)
