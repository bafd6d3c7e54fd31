"""One contract for every backend: what base.py promises, asked of the real ones and of the tests' own stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envkit.apps.launch import Request, plan_launch
from envkit.apps.workspace import open_workspace
from envkit.backends.base import Made, NotRunningError, Recipe, Silent
from envkit.backends.docker import DockerBackend
from envkit.backends.podman import PodmanBackend
from envkit.backends.venv import VenvBackend
from envkit.errors import BackendError
from envkit.host.facts import Gpu
from envkit.host.home import envkit_home
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tests.fakes import FakeBackend
from tests.integration.command import engine, processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.backends.base import Backend, Launch
    from tests.integration.command import Cli

# A supervisor outlives whoever started it; here that is the test run, whose garbage collector minds.
pytestmark = pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")

KINDS = [
    pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.index]),
    pytest.param("podman", marks=[pytest.mark.podman, pytest.mark.index]),
    pytest.param("venv", marks=pytest.mark.index),
    "fake",
]
REAL = KINDS[:3]
JOB = b"docopt 0.6.2\nto stderr\n"


@dataclass(frozen=True)
class Stage:
    """A backend, and the tiny framework's apps for it."""

    kind: str
    recipe: Recipe
    workspace: Path

    def backend(self, *, output: bytes = b"", status: int | None = None) -> Backend:
        """A new one; the stand-in is told which part its app plays."""
        match self.kind:
            case "docker":
                return DockerBackend()
            case "podman":
                return PodmanBackend()
            case "venv":
                return VenvBackend()
            case _:
                return FakeBackend(output=output, status=status, page=None)

    def launch(self, backend: Backend, app: str, *args: str, name: str | None = None) -> Launch:
        """An app, ready to start, with its workspace."""
        framework = self.recipe.environment.framework
        request = Request(app=app, args=args, workspace=self.workspace, name=name)
        launch = plan_launch(request, framework.apps[app], self.recipe, backend, {backend.name: backend})
        open_workspace(launch, self.recipe.environment)
        return launch


@pytest.fixture
def stage(request: pytest.FixtureRequest, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The backend that the test is parametrised with, the environment made."""
    monkeypatch.setenv("ENVKIT_HOME", str(cli.home))
    environment = load_matrix(cli.matrix).environment("tiny-cpu")
    stage = Stage(request.param, Recipe(environment, read_lock(environment)), cli.cwd / "workspace")
    if stage.kind != "fake" and not stage.backend().has(stage.recipe):
        stage.backend().make(stage.recipe, Silent())
    return stage


every = pytest.mark.parametrize("stage", KINDS, indirect=True)
real = pytest.mark.parametrize("stage", REAL, indirect=True)


@every
def test_an_environment_is_there_once_it_was_made(stage: Stage) -> None:
    backend = stage.backend()
    assert backend.problem() is None

    backend.make(stage.recipe, Silent())

    assert backend.has(stage.recipe)


@real
def test_another_lock_is_another_environment(stage: Stage) -> None:
    environment, lock = stage.recipe.environment, stage.recipe.lock
    changed = Recipe(environment, replace(lock, body=f"{lock.body}six==1.17.0\n"))

    assert not stage.backend().has(changed)


@real
def test_a_second_make_changes_nothing(stage: Stage) -> None:
    def identity() -> object:
        if isinstance(backend, VenvBackend):
            folder = backend.folder(stage.recipe.environment, stage.recipe.lock.sha256)
            return sorted((str(each), each.stat().st_mtime_ns, each.stat().st_ino) for each in folder.rglob("*.py"))
        image = stage.recipe.environment.image
        return engine(stage.kind, "image", "inspect", "--format", "{{json .RootFS.Layers}}", image)

    backend = stage.backend()
    before = identity()

    backend.make(stage.recipe, Silent())

    assert identity() == before


@every
def test_an_app_runs_until_it_is_removed(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    assert backend.find(launch.name) is None

    backend.start(launch)

    found = backend.find(launch.name)
    assert found is not None
    assert (found.name, found.framework, found.app) == ("tiny-sleep", "tiny", "sleep")
    assert (found.environment, found.backend, found.status) == ("tiny-cpu", backend.name, "running")
    assert (found.url, found.exit_status) == (None, None)
    assert found in backend.instances()
    if stage.kind != "fake":
        until(lambda: (stage.workspace / "saves/pid").exists())

    backend.remove(launch.name, grace_seconds=3)

    assert backend.find(launch.name) is None
    assert found not in backend.instances()
    assert list(backend.logs(launch.name, follow=True)) == []


@every
def test_what_is_gone_can_be_removed_and_asked_for(stage: Stage) -> None:
    backend = stage.backend()

    backend.remove("tiny-nobody")

    assert backend.find("tiny-nobody") is None
    assert list(backend.logs("tiny-nobody", follow=True)) == []


@every
@pytest.mark.parametrize("status", [0, 3, 77])
def test_a_job_leaves_its_status_and_its_words(stage: Stage, status: int) -> None:
    backend = stage.backend(output=JOB, status=status)
    launch = stage.launch(backend, "job", str(status))

    backend.start(launch)

    assert backend.wait(launch.name) == status
    found = backend.find(launch.name)
    assert found is not None
    assert (found.status, found.exit_status) == ("exited", status)
    assert b"".join(backend.logs(launch.name, follow=False)) == JOB
    assert b"".join(backend.logs(launch.name, follow=True)) == JOB
    backend.remove(launch.name)


@every
@pytest.mark.parametrize(("tail", "expected"), [(0, b""), (1, b"to stderr\n"), (9, JOB)])
def test_the_last_lines_of_a_log(stage: Stage, tail: int, expected: bytes) -> None:
    backend = stage.backend(output=JOB, status=0)
    launch = stage.launch(backend, "job", "0")
    backend.start(launch)
    backend.wait(launch.name)

    assert b"".join(backend.logs(launch.name, follow=False, tail=tail)) == expected
    backend.remove(launch.name)


@real
def test_a_log_is_followed_until_the_app_ends(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    backend.start(launch)
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.extend(backend.logs(launch.name, follow=True)), daemon=True)
    listener.start()
    until(lambda: heard)
    assert b"".join(heard) == b"asleep\n"
    assert listener.is_alive()

    backend.remove(launch.name, grace_seconds=3)

    listener.join(timeout=10)
    assert not listener.is_alive()


@real
def test_a_killed_app_has_the_status_of_its_signal(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    backend.start(launch)
    pid = stage.workspace / "saves/pid"
    until(pid.exists)
    kill(stage, launch.name, pid.read_text())

    assert backend.wait(launch.name) == 137
    backend.remove(launch.name)


@real
def test_an_app_that_ignores_requests_to_end_is_killed_in_time(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep", "stubborn")
    backend.start(launch)
    until((stage.workspace / "saves/pid").exists)
    began = time.monotonic()

    backend.remove(launch.name, grace_seconds=1)

    assert 1 <= time.monotonic() - began < 8
    assert backend.find(launch.name) is None
    assert not processes_of(stage)


@real
def test_a_worker_that_left_the_family_ends_with_the_app(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "daemon")
    backend.start(launch)
    until((stage.workspace / "saves/pid").exists)
    assert (stage.workspace / "saves/worker").exists()

    backend.remove(launch.name, grace_seconds=5)

    assert not processes_of(stage)


@real
def test_a_worker_does_not_outlive_an_app_that_ends_by_itself(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "daemon")
    backend.start(launch)
    pid = stage.workspace / "saves/pid"
    until(pid.exists)
    kill(stage, launch.name, pid.read_text())

    assert backend.wait(launch.name) == 137
    assert not processes_of(stage)
    backend.remove(launch.name)


@real
def test_an_app_sees_its_environment_and_no_stranger_in_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    monkeypatch.setenv("TINY_PASSED", "from the host")
    monkeypatch.setenv("TINY_TOKEN", "a secret")
    backend = stage.backend()
    launch = stage.launch(backend, "job", "0")
    program = "import os, sys; print(sys.prefix, *(os.environ.get(n) for n in sys.argv[1:]), os.getcwd(), sep='\\n')"
    names = ["PYTHONPATH", "TINY_SET", "TINY_PASSED", "TINY_TOKEN"]
    launch = replace(launch, argv=("python", "-c", program, *names))

    backend.start(launch)
    backend.wait(launch.name)

    prefix, *values = b"".join(backend.logs(launch.name, follow=False)).decode().splitlines()
    noted = backend.variables(launch.name)
    backend.remove(launch.name)
    assert noted is not None
    assert [each in noted for each in names] == [False, True, True, True]
    assert backend.variables(launch.name) is None
    isolated = backend.isolated
    where = "/opt/venv" if isolated else str(VenvBackend().folder(stage.recipe.environment, launch.lock_sha256))
    assert prefix == where
    assert values == [
        "None",
        "by the framework",
        "from the host",
        "a secret",
        "/workspace" if isolated else str(stage.workspace),
    ]


@real
def test_a_start_that_fails_leaves_nothing(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    launch = replace(launch, workdir=f"{launch.workdir}/programs/tiny.py")

    with pytest.raises(BackendError):
        backend.start(launch)

    assert backend.find(launch.name) is None


@real
def test_two_instances_stand_side_by_side(stage: Stage) -> None:
    backend = stage.backend()
    first = stage.launch(backend, "sleep")
    backend.start(first)
    second = stage.launch(backend, "sleep")
    backend.start(second)

    assert (first.name, second.name) == ("tiny-sleep", "tiny-sleep-2")
    mine = [each.name for each in backend.instances() if each.framework == "tiny"]
    assert mine == ["tiny-sleep", "tiny-sleep-2"]

    backend.remove(first.name, grace_seconds=1)

    assert [each.name for each in backend.instances() if each.framework == "tiny"] == ["tiny-sleep-2"]
    backend.remove(second.name, grace_seconds=1)


def made_from(backend: Backend, recipe: Recipe) -> Made | None:
    """What the backend holds for the recipe: an image by its tag; what is left of builds has none."""
    names = (backend.key(recipe), recipe.environment.image)
    return next((each for each in backend.environments() if each.name in names), None)


@every
def test_what_was_made_is_held_until_it_is_removed(stage: Stage) -> None:
    backend, recipe = stage.backend(), stage.recipe
    backend.make(recipe, Silent())

    held = made_from(backend, recipe)
    assert held is not None
    assert (held.environment, held.key, held.used_by) == ("tiny-cpu", backend.key(recipe), ())
    assert held.folder or (held.size or 0) > 1_000_000
    assert backend.key(Recipe(recipe.environment, replace(recipe.lock, body="six==1.17.0\n"))) != held.key

    backend.discard(held)
    backend.discard(held)

    assert not backend.has(recipe)
    assert made_from(backend, recipe) is None
    backend.make(recipe, Silent())
    assert backend.has(recipe)


@real
@pytest.mark.parametrize("app", ["sleep", "job"])
def test_what_an_instance_uses_is_not_removed(stage: Stage, app: str) -> None:
    """An image, not even by a container that has ended; a venv, by what runs."""
    backend = stage.backend()
    launch = stage.launch(backend, app, *(["0"] if app == "job" else []))
    backend.start(launch)
    if app == "job":
        backend.wait(launch.name)
    held = made_from(backend, stage.recipe)
    assert held is not None

    if app == "job" and not backend.isolated:
        assert held.used_by == ()
    else:
        assert held.used_by == ((f"container envkit-{launch.name}",) if backend.isolated else (launch.name,))
        with pytest.raises(BackendError):
            backend.discard(held)
        found = backend.find(launch.name)
        assert found is not None
        assert found.status == ("running" if app == "sleep" else "exited")
    assert backend.has(stage.recipe)
    backend.remove(launch.name, grace_seconds=1)


def inside(
    backend: Backend, name: str, *argv: str, stdin: bytes = b"", timeout: float = 60
) -> subprocess.CompletedProcess[bytes]:
    """A program that ran beside the app."""
    entry = backend.entry(name, argv, terminal=False)
    return subprocess.run(
        entry.argv, env=entry.env, cwd=entry.workdir, input=stdin, capture_output=True, timeout=timeout, check=False
    )


@real
def test_a_program_beside_the_app_is_its_equal(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_TOKEN", "a secret")
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    backend.start(launch)
    until((stage.workspace / "saves/pid").exists)
    monkeypatch.setenv("TINY_TOKEN", "of a later caller")
    monkeypatch.setenv("PYTHONPATH", "/somewhere/else")
    program = (
        "import json, os, sys, bottle; print(json.dumps([sys.prefix, os.getcwd(), os.getuid(), sys.stdin.read(),"
        " *(os.environ.get(each) for each in ('TINY_TOKEN', 'TINY_SET', 'TINY_MODELS', 'PYTHONPATH'))]));"
        " print('heard', file=sys.stderr); sys.exit(9)"
    )

    done = inside(backend, launch.name, "python", "-c", program, stdin=b"typed")

    folder = VenvBackend().folder(stage.recipe.environment, launch.lock_sha256)
    models = launch.env["TINY_MODELS"]
    assert json.loads(done.stdout) == [
        *(["/opt/venv", "/workspace"] if backend.isolated else [str(folder), str(stage.workspace)]),
        stage.workspace.stat().st_uid, "typed", "a secret", "by the framework", models, None,
    ]  # fmt: skip
    assert (done.stderr, done.returncode) == (b"heard\n", 9)
    found = backend.find(launch.name)
    assert found is not None
    assert (found.status, found.lock) == ("running", launch.lock_sha256)
    backend.remove(launch.name, grace_seconds=1)


@real
def test_a_program_that_is_not_there_is_not_found(stage: Stage) -> None:
    backend = stage.backend()
    launch = stage.launch(backend, "sleep")
    backend.start(launch)

    if backend.isolated:
        assert inside(backend, launch.name, "tiny-nothing").returncode in (126, 127)
    else:
        with pytest.raises(FileNotFoundError):
            inside(backend, launch.name, "tiny-nothing")
    backend.remove(launch.name, grace_seconds=1)


@every
def test_nothing_is_started_beside_an_app_that_has_ended(stage: Stage) -> None:
    backend = stage.backend(status=0)
    launch = stage.launch(backend, "job", "0")
    backend.start(launch)
    backend.wait(launch.name)

    with pytest.raises(NotRunningError) as caught:
        backend.entry(launch.name, ["true"], terminal=False)

    assert caught.value.message == "tiny-job is not running"
    backend.remove(launch.name)


def called(stage: Stage, backend: Backend, *argv: str) -> Launch:
    """A program to be called, as `envkit verify` calls it: no workspace, no network."""
    launch = stage.launch(backend, "job", name="tiny-called")
    stage.workspace.mkdir(exist_ok=True)
    return replace(launch, argv=argv, mounts=() if backend.isolated else launch.mounts, network=False)


@every
@pytest.mark.parametrize("status", [0, 3])
def test_a_called_program_leaves_its_words_and_nothing_else(stage: Stage, status: int) -> None:
    backend = stage.backend(output=b"seen\n", status=status)
    program = f"import sys; print('seen'); sys.stderr.write('told\\n' * 3); sys.exit({status})"

    done = backend.call(called(stage, backend, "python", "-I", "-c", program), timeout=60)

    assert (done.status, done.stdout) == (status, "seen\n")
    if stage.kind != "fake":
        assert done.stderr == "told\n" * 3
    assert backend.find("tiny-called") is None


@real
def test_a_called_program_prints_much_and_finds_its_own_python(stage: Stage) -> None:
    backend = stage.backend()
    program = "import sys, bottle; print(sys.prefix); print('x' * 3_000_000)"

    done = backend.call(called(stage, backend, "python", "-I", "-c", program), timeout=60)

    prefix, much = done.stdout.splitlines()
    folder = VenvBackend().folder(stage.recipe.environment, stage.recipe.lock.sha256)
    assert (prefix, len(much)) == ("/opt/venv" if backend.isolated else str(folder), 3_000_000)


@pytest.mark.parametrize("stage", KINDS[:2], indirect=True)
def test_a_called_program_has_no_network_and_is_nobody(stage: Stage) -> None:
    backend = stage.backend()
    program = "import os, socket; print(sorted(name for _, name in socket.if_nameindex()), os.getuid())"

    done = backend.call(called(stage, backend, "python", "-I", "-c", program), timeout=60)

    assert done.stdout == "['lo'] 1000\n"


@real
def test_a_called_program_that_does_not_end_is_ended_with_all_it_started(stage: Stage) -> None:
    backend = stage.backend()
    worker = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])"

    with pytest.raises(BackendError) as caught:
        backend.call(called(stage, backend, "python", "-I", "-c", f"{worker}; time.sleep(600)"), timeout=3)

    assert caught.value.message.endswith("gave no answer within 3 s")
    assert backend.find("tiny-called") is None
    assert not processes_of(stage)


STAND_IN = """\
{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
  {"name": "%(chosen)s", "containerEdits": {"env": ["STAND_IN_GPU=%(chosen)s"],
   "deviceNodes": [{"path": "/dev/stand-in", "hostPath": "/dev/null"}]}},
  {"name": "%(other)s", "containerEdits": {"env": ["STAND_IN_OTHER=%(other)s"]}}]}
"""


@pytest.fixture
def stand_in() -> Iterator[tuple[Gpu, Gpu]]:
    """Two GPUs that no other spec on this machine knows, described to engines."""
    chosen, other = (Gpu(index=97 + number, uuid=f"GPU-envkit-tests-{os.getpid()}-{number}") for number in range(2))
    path = Path(f"/etc/cdi/envkit-tests-{os.getpid()}.json")
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(STAND_IN % {"chosen": chosen.uuid, "other": other.uuid})
    except PermissionError:
        pytest.skip("needs root: nobody else can describe GPUs to engines")
    yield chosen, other
    path.unlink()
    with suppress(OSError):
        path.parent.rmdir()


@pytest.mark.parametrize("stage", KINDS[1:2], indirect=True)
def test_the_chosen_gpu_and_no_other_is_in_the_container(stage: Stage, stand_in: tuple[Gpu, Gpu]) -> None:
    backend = stage.backend()
    assert backend.gpu_problem() is None
    look = "import os; print(os.environ.get('STAND_IN_GPU'), os.environ.get('STAND_IN_OTHER'), os.path.exists('/dev/stand-in'))"
    launch = replace(stage.launch(backend, "job"), argv=("python", "-c", look), gpus=(stand_in[0],))

    backend.start(launch)
    backend.wait(launch.name)

    assert b"".join(backend.logs(launch.name, follow=False)).decode() == f"{stand_in[0].uuid} None True\n"
    backend.remove(launch.name)


@pytest.mark.parametrize("stage", KINDS[1:2], indirect=True)
def test_a_gpu_that_no_spec_names_is_an_error_and_leaves_nothing(stage: Stage, stand_in: tuple[Gpu, Gpu]) -> None:
    backend = stage.backend()
    launch = replace(stage.launch(backend, "job"), gpus=(stand_in[0], Gpu(index=99, uuid="GPU-unknown")))

    with pytest.raises(BackendError) as caught:
        backend.start(launch)

    assert caught.value.message == "there is a GPU, but podman cannot hand it to a container: no CDI spec names it"
    assert backend.find(launch.name) is None


def kill(stage: Stage, name: str, pid: str) -> None:
    """Kills a process of the instance, by the number that it knows itself."""
    if stage.backend().isolated:
        program = f"import os; os.kill({pid}, 9)"
        engine(stage.kind, "exec", f"envkit-{name}", "python", "-c", program, status=None)
    else:
        os.kill(int(pid), 9)


def processes_of(stage: Stage) -> list[str]:
    """What still runs of the tiny framework's instances, workers that left their family included."""
    if stage.backend().isolated:
        label = "label=io.envkit.framework=tiny"
        running = engine(stage.kind, "ps", "--filter", label, "--format", "{{.Names}}").split()
        return [line for name in running for line in engine(stage.kind, "top", name).splitlines()[1:]]
    return [" ".join(each.cmdline()) for each in processes(envkit_home())]
