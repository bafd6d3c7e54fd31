"""What is interrupted while it begins, or while somebody looks at a page."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from envkit.backends.base import Recipe
from envkit.errors import BackendError
from envkit.lock.lockfile import read_lock
from envkit.smoke.browser import parts, see
from envkit.smoke.room import Room
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envkit.backends.base import Launch
    from envkit.matrix.load import Matrix


class Slow(FakeBackend):
    """An engine that has not started the app yet when it is asked to remove it."""

    def __init__(self) -> None:
        super().__init__()
        self.starting, self.asked = threading.Event(), threading.Event()

    def start(self, launch: Launch) -> None:
        self.starting.set()
        assert self.asked.wait(timeout=10)
        super().start(launch)

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        super().remove(name, grace_seconds=grace_seconds)
        self.asked.set()


def test_what_was_just_being_started_ends_too(matrix: Matrix, tmp_path: Path) -> None:
    environment = matrix.environments()[0]
    engine = Slow()
    room = Room(engine, {"docker": engine}, Recipe(environment, read_lock(environment)), tmp_path, ())
    job = threading.Thread(target=room.program, args=("job", "job.py"), kwargs={"within_seconds": 60})
    job.start()
    assert engine.starting.wait(timeout=10)

    room.close()

    job.join(timeout=5)
    assert not job.is_alive()
    assert len(engine.started) == 1
    assert engine.instances() == []


def test_what_is_looked_for_in_a_page_is_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release of Gradio that calls its parts otherwise would have taken a change of the code."""

    class Asked:
        status, exceptions = 200, ()

        def open(self, url: str) -> None:
            pass

        def evaluate(self, expression: str) -> Any:
            asked.append(expression)
            return ["Model"]

        def listen(self, seconds: float) -> None:
            pass

        def screenshot(self) -> bytes:
            return b""

    @contextmanager
    def browser(program: str) -> Iterator[Asked]:
        yield Asked()

    asked: list[str] = []
    monkeypatch.setattr("envkit.smoke.browser._browser", browser)
    monkeypatch.setattr(
        "envkit.smoke.browser.parts", lambda: structs.replace(parts(), label='a["b"]', error=".went-wrong")
    )

    see("chromium", "x", fields=["Model"], open_fields=[], within_seconds=60, given_up=lambda: False)

    assert 'document.querySelectorAll("a[\\"b\\"]")' in asked[0]
    assert 'document.querySelectorAll(".went-wrong")' in asked[-1]


def test_nobody_waits_for_a_page_that_nobody_wants_to_see(monkeypatch: pytest.MonkeyPatch) -> None:
    class Empty:
        def open(self, url: str) -> None:
            pass

        def evaluate(self, expression: str) -> Any:
            return []

        def listen(self, seconds: float) -> None:
            wanted.pop()

    @contextmanager
    def browser(program: str) -> Iterator[Empty]:
        yield Empty()

    wanted = [True, True, True]
    monkeypatch.setattr("envkit.smoke.browser._browser", browser)

    with pytest.raises(BackendError, match="interrupted"):
        see("chromium", "x", fields=["Model"], open_fields=[], within_seconds=60, given_up=lambda: not wanted)
