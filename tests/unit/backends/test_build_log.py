"""What builds print becomes steps and a failure's words: recorded from Docker 26.1.5 with buildx 0.13.1, and podman 4.3.1."""

from __future__ import annotations

import re
from pathlib import Path

from envkit.backends.build_log import BuildLog, PodmanLog
from envkit.backends.buildkit import build_hint

HERE = Path(__file__).parent


class Recorder:
    """Progress that remembers."""

    terminal = False

    def __init__(self) -> None:
        self.told: list[str] = []

    def step(self, text: str) -> None:
        self.told.append(f"step {text}")

    def detail(self, line: str) -> None:
        self.told.append(f"     {line}")

    def done(self, text: str) -> None:
        self.told.append(f"done {text}")


def read(name: str, *, keep: int = 20) -> tuple[BuildLog, list[str]]:
    recorder = Recorder()
    log = BuildLog(recorder, keep)
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        log.feed(line)
    return log, recorder.told


def test_a_build_that_succeeds_tells_its_steps_with_their_time() -> None:
    _, told = read("success.txt")

    assert told == [
        "step system 1/2",
        "done system 1/2: cached",
        "step system 2/2",
        "     one",
        "     two",
        "done system 2/2: 0.3s",
        "step packages 1/2",
        "done packages 1/2: 0.0s",
        "step packages 2/2",
        "     line 1",
        "     line 2",
        "     line 3",
        "done packages 2/2: 0.2s",
        "step final 1/1",
        "     hello",
        "done final 1/1: 0.2s",
        "step image export",
        "done image export: 0.0s",
    ]


def test_a_build_that_fails_names_the_step_and_its_last_lines() -> None:
    log, told = read("failed-step.txt")

    step, words = log.failure()

    assert step == "packages 2/2"
    assert words.splitlines() == [
        *(f"line {number}" for number in range(12, 31)),
        "ERROR: its command did not complete successfully: exit code: 3",
    ]
    assert told[-3:] == ["     line 28", "     line 29", "     line 30"]
    assert "done packages 2/2" not in " ".join(told)


def test_as_many_lines_are_kept_as_are_asked_for() -> None:
    log, _ = read("failed-step.txt", keep=3)

    assert [line[:7] for line in log.failure()[1].splitlines()] == ["line 29", "line 30", "ERROR: "]


def test_a_base_image_that_cannot_be_pulled_fails_before_the_first_step() -> None:
    log, told = read("no-base-image.txt")

    step, words = log.failure()

    assert (step, told) == ("preparation", [])
    assert words.startswith('ERROR: failed to do request: Head "https://registry-1.docker.io/v2/library/no-such-image/')


def test_a_dockerfile_that_cannot_be_read_fails_without_a_step() -> None:
    log, told = read("parse-error.txt")

    step, words = log.failure()

    assert (step, told) == ("", [])
    assert words.splitlines()[-1] == (
        "ERROR: failed to solve: dockerfile parse error on line 2: unknown instruction: RUNS (did you mean RUN?)"
    )


def test_a_tool_that_fails_before_any_build_is_quoted() -> None:
    log = BuildLog(Recorder())
    log.feed("ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    log.feed("")

    assert log.failure() == ("", "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")


# podman ---------------------------------------------------------------------------------------------------------------


def read_podman(name: str) -> tuple[PodmanLog, list[str]]:
    recorder = Recorder()
    log = PodmanLog(recorder)
    for line in (HERE / name).read_text(encoding="utf-8").splitlines():
        log.feed(line)
    return log, [re.sub(r"\d+\.\ds$", "0.0s", line) for line in recorder.told]


def test_a_podman_build_that_succeeds_tells_its_steps_with_their_time() -> None:
    log, told = read_podman("podman-success.txt")

    assert told == [
        "step system 3/3",
        "     one",
        "     two",
        "done system 3/3: 0.0s",
        "step packages 2/3",
        "done packages 2/3: 0.0s",
        "step packages 3/3",
        "     line 1",
        "     line 2",
        "     line 3",
        "done packages 3/3: 0.0s",
        "step image export",
        "done image export: 0.0s",
    ]
    assert log.complete
    assert log.images[:2] == ["dc2cc050593fba6e8c6c94caa5b64ba558441a063e371316de1c54036d69dd50", "dc2cc050593"]


def test_a_podman_build_that_fails_names_the_step_and_its_last_lines() -> None:
    log, told = read_podman("podman-failed-step.txt")

    step, words = log.failure()

    assert step == "packages 3/3"
    assert words.splitlines() == [
        *(f"line {number}" for number in range(12, 31)),
        "ERROR: while running runtime: exit status 3",
    ]
    assert told[:2] == ["step system 3/3", "done system 3/3: cached"]
    assert not log.complete


def test_podman_s_failure_is_that_of_the_step_it_names_and_not_of_the_last_one() -> None:
    """It may begin another stage before it tells."""
    log = PodmanLog(Recorder())
    for line in (
        "[4/5] STEP 1/4: FROM 3d06f21ffc1b AS packages",
        "[4/5] STEP 2/4: RUN false",
        "two",
        "[2/5] STEP 1/3: FROM 5dca25cc2776 AS uv",
        'Error: building at STEP "RUN false": while running runtime: exit status 1',
    ):
        log.feed(line)

    assert log.failure() == ("packages 2/4", "two\nERROR: while running runtime: exit status 1")


def test_a_base_image_that_podman_cannot_pull_fails_before_the_first_step() -> None:
    log, told = read_podman("podman-no-base-image.txt")

    step, words = log.failure()

    assert (step, told) == ("preparation", [])
    assert words.splitlines()[-1].startswith("ERROR: creating build container: initializing source docker://nope:1: ")
    assert build_hint(words, "podman").startswith("the base image could not be pulled: ")


def test_a_podman_that_fails_before_any_step_is_quoted() -> None:
    log = PodmanLog(Recorder())
    log.feed("Error: no FROM statement found")

    assert log.failure() == ("", "ERROR: no FROM statement found")
