"""Apps are started, awaited, followed and ended; nothing is left behind unless it is detached."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from envkit.apps.run import run_attached, run_detached
from envkit.errors import AppError, BackendError
from envkit.matrix.schema import App, AppHealth
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envkit.backends.base import Launch
    from tests.unit.apps.conftest import Plan

PAGE = App(about="x", argv=["x"], health=AppHealth(path="/", within_seconds=10))
SLOW = App(about="x", argv=["x"], health=AppHealth(path="/", within_seconds=1))
JOB = App(about="x", argv=["x"])
LINES = b"".join(b"line %d\n" % number for number in range(40))


class Told:
    """What a run says: its app's output, and that it is up."""

    def __init__(self, then: object = None) -> None:
        self.output = b""
        self.ups = 0
        self._then = then

    def take(self, chunk: bytes) -> None:
        self.output += chunk

    def up(self) -> None:
        self.ups += 1
        if isinstance(self._then, BaseException):
            raise self._then
        if callable(self._then):
            self._then()


def attached(backend: FakeBackend, launch: Launch, app: App, told: Told) -> int:
    return run_attached(backend, launch, app, output=told.take, up=told.up)


# Attached -------------------------------------------------------------------------------------------------------------


def test_a_job_runs_to_its_end_and_gives_its_status(plan: Plan) -> None:
    backend, told = FakeBackend(status=3, output=LINES), Told()

    assert attached(backend, plan("train", backend), JOB, told) == 3
    assert told.output == LINES
    assert told.ups == 0
    assert backend.instances() == []


def test_a_server_is_announced_once_it_answers_and_ends_with_its_own_status(plan: Plan) -> None:
    backend = FakeBackend(output=b"ready\n")
    told = Told(lambda: backend.end("demo-page", 5))

    assert attached(backend, plan("page", backend), PAGE, told) == 5
    assert (told.ups, told.output) == (1, b"ready\n")
    assert backend.instances() == []


def test_a_server_that_dies_early_shows_its_last_lines_and_its_status(plan: Plan) -> None:
    backend, told = FakeBackend(status=7, output=LINES), Told()

    with pytest.raises(AppError) as caught:
        attached(backend, plan("page", backend), PAGE, told)

    assert caught.value.message == "page did not start: it ended before it answered"
    assert caught.value.details.splitlines() == [f"line {number}" for number in range(10, 40)]
    assert caught.value.hint == "the lines above are the last that it printed"
    assert caught.value.exit_code == 7
    assert told.ups == 0
    assert backend.removed == ["demo-page"]


def test_what_an_app_printed_is_out_before_its_failure_is_told(plan: Plan) -> None:
    class Slow(FakeBackend):
        def logs(self, name: str, *, follow: bool, tail: int | None = None) -> Iterator[bytes]:
            for chunk in super().logs(name, follow=follow, tail=tail):
                time.sleep(0.3 if follow else 0)
                yield chunk

    backend, told = Slow(status=7, output=b"loading\nbroken\n"), Told()

    with pytest.raises(AppError):
        attached(backend, plan("page", backend), PAGE, told)

    assert told.output == b"loading\nbroken\n"


def test_a_server_that_ends_at_once_without_an_error_is_a_failure_all_the_same(plan: Plan) -> None:
    backend = FakeBackend(status=0)

    with pytest.raises(AppError) as caught:
        attached(backend, plan("page", backend), PAGE, Told())

    assert caught.value.exit_code == 1


@pytest.mark.parametrize("page", [None, 500])
def test_a_server_that_does_not_answer_in_time_is_ended(plan: Plan, page: int | None) -> None:
    backend = FakeBackend(page=page, output=b"loading\n")

    with pytest.raises(AppError) as caught:
        attached(backend, plan("page", backend), SLOW, Told())

    assert caught.value.message == "page did not start: it gave no answer within 1 s"
    assert (caught.value.details, caught.value.exit_code) == ("loading", 1)
    assert (backend.removed, backend.instances()) == (["demo-page"], [])


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("bug")])
def test_whatever_ends_a_run_nothing_is_left_behind(plan: Plan, fault: BaseException) -> None:
    backend = FakeBackend()

    with pytest.raises(type(fault)):
        attached(backend, plan("page", backend), PAGE, Told(fault))

    assert (backend.removed, backend.instances()) == (["demo-page"], [])


def test_a_second_ctrl_c_ends_the_app_at_once(plan: Plan) -> None:
    class Slow(FakeBackend):
        graces: list[float] = []  # noqa: RUF012  # one test

        def remove(self, name: str, *, grace_seconds: float = 10) -> None:
            self.graces.append(grace_seconds)
            if len(self.graces) == 1:
                raise KeyboardInterrupt
            super().remove(name)

    backend = Slow()

    with pytest.raises(KeyboardInterrupt):
        attached(backend, plan("page", backend), PAGE, Told(KeyboardInterrupt()))

    assert backend.graces == [10, 0]
    assert backend.instances() == []


class Refusing(FakeBackend):
    """Refuses a name that is taken, as the real ones do."""

    def start(self, launch: Launch) -> None:
        if self.find(launch.name):
            raise BackendError(f"the name is in use: {launch.name}")
        super().start(launch)


def test_a_start_that_fails_ends_nobody_else_s_instance(plan: Plan) -> None:
    backend = Refusing()
    first, second = plan("page", backend), plan("page", backend)  # two users of one machine, at the same moment
    assert first.name == second.name
    backend.start(first)

    with pytest.raises(BackendError):
        attached(backend, second, PAGE, Told())

    assert [each.name for each in backend.instances()] == ["demo-page"]
    backend.remove("demo-page")


@pytest.mark.parametrize("detached", [False, True])
def test_a_start_that_is_interrupted_leaves_nothing_behind(plan: Plan, detached: bool) -> None:
    class Slow(FakeBackend):
        def start(self, launch: Launch) -> None:
            super().start(launch)
            raise KeyboardInterrupt

    backend = Slow()
    launch = plan("page", backend)

    with pytest.raises(KeyboardInterrupt):
        run_detached(backend, launch, PAGE) if detached else attached(backend, launch, PAGE, Told())

    assert backend.instances() == []


def test_a_terminal_app_is_left_to_the_backend(plan: Plan) -> None:
    backend, told = FakeBackend(status=4), Told()
    launch = plan("talk", backend)

    assert attached(backend, launch, JOB, told) == 4
    assert (backend.attended, backend.started, told.ups) == ([launch], [], 0)


def test_output_is_followed_while_the_app_runs(plan: Plan) -> None:
    backend = FakeBackend(output=b"ready\n")
    seen = threading.Event()
    launch = plan("train", backend)
    threading.Thread(target=lambda: (seen.wait(5), backend.end(launch.name, 0)), daemon=True).start()

    status = run_attached(backend, launch, JOB, output=lambda _: seen.set(), up=lambda: None)

    assert (status, seen.is_set()) == (0, True)


# Detached -------------------------------------------------------------------------------------------------------------


def test_a_detached_server_is_left_running(plan: Plan) -> None:
    backend = FakeBackend()

    run_detached(backend, plan("page", backend), PAGE)

    assert [(each.name, each.status) for each in backend.instances()] == [("demo-page", "running")]
    assert backend.removed == []
    backend.remove("demo-page")


def test_a_detached_server_that_dies_early_is_removed(plan: Plan) -> None:
    backend = FakeBackend(status=9, output=b"out of memory\n")

    with pytest.raises(AppError) as caught:
        run_detached(backend, plan("page", backend), PAGE)

    assert (caught.value.details, caught.value.exit_code) == ("out of memory", 9)
    assert (backend.removed, backend.instances()) == (["demo-page"], [])


def test_a_detached_server_is_removed_when_the_wait_is_interrupted(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("envkit.apps.run.wait_until_up", interrupt)
    backend = FakeBackend()

    with pytest.raises(KeyboardInterrupt):
        run_detached(backend, plan("page", backend), PAGE)

    assert (backend.removed, backend.instances()) == (["demo-page"], [])


def test_a_detached_job_is_not_waited_for(plan: Plan, tmp_path: Path) -> None:
    backend = FakeBackend()

    run_detached(backend, plan("train", backend), JOB)

    assert [each.status for each in backend.instances()] == ["running"]
