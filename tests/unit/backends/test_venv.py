"""How the venv backend makes environments; real uv and real processes are in tests/integration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pytest
from filelock import FileLock

from envkit.backends.base import Entry, Launch, Made, NotRunningError, Recipe, Silent
from envkit.backends.venv import VenvBackend
from envkit.errors import BackendError, BuildError
from envkit.process import Completed
from tests.fakes import with_toolkit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from envkit.matrix.load import Matrix


@dataclass
class FakeUv:
    """Stands where `process.run` and `process.stream` do: makes a venv's folder, installs nothing."""

    no_python: bool = False
    failure: str | type[BaseException] = ""
    made: int = 0
    """The venv's folder, by its number on the disk."""
    calls: list[list[str]] = field(default_factory=list)
    environs: list[dict[str, str]] = field(default_factory=list)

    def run(self, argv: list[str], *, env: dict[str, str]) -> Completed:
        self.calls.append(argv[1:])
        if self.no_python:
            return Completed(2, "", "error: No interpreter found\n")
        packages = Path(argv[-1]) / "lib/python3.11/site-packages"
        (packages / "nvidia/lib").mkdir(parents=True)
        (packages / "six.py").write_text("six = 6\n")
        (packages / "six-1.17.0.dist-info").mkdir()
        (Path(argv[-1]) / "bin").mkdir()
        (Path(argv[-1]) / "bin/python").symlink_to(sys.executable)
        (Path(argv[-1]) / "pyvenv.cfg").write_text("home = /usr/bin\n")
        self.made = Path(argv[-1]).stat().st_ino
        return Completed(0, "", "")

    def stream(self, argv: list[str], on_line: Callable[[str], None], *, env: dict[str, str]) -> int:
        self.calls.append(argv[1:])
        self.environs.append(env)
        if isinstance(self.failure, type):
            raise self.failure
        on_line(self.failure or "Installed 8 packages")
        return 1 if self.failure else 0


class Ended:
    """Stands where a process does: it has ended well."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> int:
        return 0


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    fake = FakeUv()
    monkeypatch.setattr("envkit.process.run", fake.run)
    monkeypatch.setattr("envkit.process.stream", fake.stream)
    return fake


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "venvs"


def left_in(home: Path) -> list[str]:
    return sorted(each.name for each in (home / "environments").iterdir() if not each.name.endswith(".guard"))


def test_an_environment_is_installed_from_its_lock_with_hashes(
    recipe: Recipe, uv: FakeUv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = VenvBackend(home)
    assert not backend.has(recipe)

    backend.make(recipe, Silent())

    assert backend.has(recipe)
    folder = home / "environments" / f"demo-cu130-{recipe.lock.sha256[:12]}"
    assert left_in(home) == [folder.name]
    assert (folder / "requirements.lock").read_text() == recipe.lock.text()
    assert (folder / "build.lock").read_text() == recipe.lock.build
    assert folder.stat().st_ino == uv.made  # renamed, not copied: it is there whole or not at all
    staging = uv.calls[0][-1]
    assert uv.calls == [
        ["venv", "--no-project", "--relocatable", "--python", "3.11", staging],
        ["pip", "sync", "--python", staging, "--require-hashes",
         "--build-constraints", f"{staging}/build.lock", f"{staging}/requirements.lock"],
    ]  # fmt: skip


def test_the_links_that_the_toolkit_lacks_are_made(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    recipe = replace(recipe, environment=with_toolkit(recipe.environment))
    backend = VenvBackend(home)
    backend.make(recipe, Silent())

    packages = backend.folder(recipe.environment, recipe.lock.sha256) / "lib/python3.11/site-packages"
    links = {str(each.relative_to(packages)): str(each.readlink()) for each in packages.rglob("*") if each.is_symlink()}
    assert links == {"nvidia/lib64": "lib", "nvidia/lib/libdemo.so": "libdemo.so.13"}


def test_apps_find_the_environment_s_toolkit_and_not_the_machine_s(
    recipe: Recipe, uv: FakeUv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", "/usr/local/cuda-12.1")
    started: list[dict[str, str]] = []

    def popen(argv: list[str], **how: Any) -> Ended:
        started.append(how["env"])
        return Ended()

    monkeypatch.setattr("subprocess.Popen", popen)
    backend, environment = VenvBackend(home), with_toolkit(recipe.environment)
    launch = Launch("one", "train", environment, recipe.lock.sha256, ("demo-cli",), str(home))

    backend.attend(launch)
    backend.attend(replace(launch, env={"CUDA_HOME": "/mine"}))

    folder = backend.folder(environment, recipe.lock.sha256)
    assert [each["CUDA_HOME"] for each in started] == [f"{folder}/lib/python3.11/site-packages/nvidia", "/mine"]


def test_a_source_distribution_is_built_as_the_matrix_says(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    entry = msgspec.structs.replace(recipe.environment.entry, build_settings={"six": ["a.b=OFF", "c=$ORIGIN:1"]})

    VenvBackend(home).make(replace(recipe, environment=replace(recipe.environment, entry=entry)), Silent())

    assert uv.calls[1][-3:-1] == ["--config-settings-package=six:a.b=OFF", "--config-settings-package=six:c=$ORIGIN:1"]


def test_another_lock_is_another_environment(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    other = replace(recipe, lock=replace(recipe.lock, body=recipe.lock.body.replace("six==1.17.0", "six==1.16.0")))

    assert not backend.has(other)
    backend.make(other, Silent())
    assert len(left_in(home)) == 2


def test_what_is_there_is_not_made_again(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    VenvBackend(home).make(recipe, Silent())
    uv.calls.clear()
    VenvBackend(home).make(recipe, Silent())

    assert uv.calls == []


@pytest.mark.parametrize("failure", ["error: Failed to fetch", KeyboardInterrupt])
def test_a_failed_install_leaves_no_half_made_environment(
    recipe: Recipe, uv: FakeUv, home: Path, failure: str | type[BaseException]
) -> None:
    uv.failure = failure

    with pytest.raises((BuildError, KeyboardInterrupt)):
        VenvBackend(home).make(recipe, Silent())

    assert left_in(home) == []
    assert not VenvBackend(home).has(recipe)

    uv.failure = ""
    VenvBackend(home).make(recipe, Silent())
    assert VenvBackend(home).has(recipe)


def test_what_a_killed_install_left_is_swept_up(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    folder = backend.folder(recipe.environment, recipe.lock.sha256)
    (folder.parent / f".{folder.name}.staging-1" / "bin").mkdir(parents=True)

    assert not backend.has(recipe)
    backend.make(recipe, Silent())

    assert left_in(home) == [folder.name]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "error: Hash mismatch for `six==1.17.0`",
            "what the package index serves is not what was locked: choose another index with `--mirror`",
        ),
        (
            "error: No space left on device (os error 28)",
            "make room (`envkit prune` shows what nothing uses), or set ENVKIT_HOME to a folder on a larger disk",
        ),
        (
            "error: Failed to fetch",
            "run the same command again: finished downloads are kept; `--mirror cn` chooses mirrors in mainland China",
        ),
    ],
)
def test_a_failed_install_is_shown_with_what_to_do(
    recipe: Recipe, uv: FakeUv, home: Path, words: str, hint: str
) -> None:
    uv.failure = words

    with pytest.raises(BuildError) as caught:
        VenvBackend(home).make(recipe, Silent())

    assert caught.value.message == "installing demo-cu130 failed; nothing was left behind"
    assert (caught.value.details, caught.value.hint, caught.value.exit_code) == (words, hint, 8)


def test_a_python_that_is_nowhere_is_an_error_with_both_ways_out(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    uv.no_python = True

    with pytest.raises(BackendError) as caught:
        VenvBackend(home).make(recipe, Silent())

    assert caught.value.message == "there is no Python 3.11 on this machine, and none could be downloaded"
    assert caught.value.details == "error: No interpreter found"
    assert caught.value.hint == (
        "install it (`sudo apt-get install python3.11`), or point UV_PYTHON_INSTALL_MIRROR at a mirror of uv's Pythons"
    )
    assert left_in(home) == []


def test_a_mirror_s_index_is_used(matrix: Matrix, recipe: Recipe, uv: FakeUv, home: Path) -> None:
    VenvBackend(home).make(replace(recipe, mirror=matrix.mirror("near")), Silent())

    assert uv.environs[0]["UV_DEFAULT_INDEX"] == "https://index.example/simple"


def test_a_home_that_cannot_be_written_to_is_a_problem(recipe: Recipe, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()

    assert VenvBackend(tmp_path / "new" / "folder").problem() is None
    assert VenvBackend(file).problem() == f"{file} cannot be written to"
    with pytest.raises(BackendError) as caught:
        VenvBackend(file / "below").make(recipe, Silent())
    assert caught.value.message == f"no venv can be made: {file} cannot be written to"
    assert caught.value.hint == "set ENVKIT_HOME to a folder of yours on a large disk"


def test_there_are_no_instances_at_first(home: Path) -> None:
    backend = VenvBackend(home)

    assert (backend.instances(), backend.find("x"), list(backend.logs("x", follow=True))) == ([], None, [])
    backend.remove("x")


def test_a_record_of_a_process_that_is_gone_is_an_ended_instance(home: Path, processes: None) -> None:
    folder = home / "instances" / "demo-page"
    folder.mkdir(parents=True)
    (folder / "launch.json").write_text(
        '{"name": "demo-page", "framework": "demo", "app": "page", "environment": "demo-cu130",'
        ' "started": "2026-01-01T00:00:00.000Z", "url": "http://127.0.0.1:7860", "argv": ["demo-cli"]}'
    )
    (folder / "log").write_bytes(b"one\ntwo\nthree")
    backend = VenvBackend(home)

    def found() -> tuple[str, int | None]:
        instance = backend.find("demo-page")
        assert instance is not None
        return instance.status, instance.exit_status

    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        try:
            (folder / "pid").write_text(f"{stranger.pid} 1.0")  # it has the number, and was born later
            assert found() == ("exited", None)
            assert backend.wait("demo-page") == 1
            (folder / "exit").write_text("3")
            assert found() == ("exited", 3)
            assert backend.wait("demo-page") == 3
            assert b"".join(backend.logs("demo-page", follow=True)) == b"one\ntwo\nthree"
            assert b"".join(backend.logs("demo-page", follow=False, tail=2)) == b"two\nthree"
            backend.remove("demo-page")
            assert backend.instances() == []
            assert stranger.poll() is None
        finally:
            stranger.kill()


# What is held, and how it goes ----------------------------------------------------------------------------------------


def gone_from(folder: Path, what: str) -> None:
    """Takes one thing out of a venv."""
    path = folder / what
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("what", ["lib/python3.11/site-packages/six.py", "lib", "bin/python", "contents.txt"])
def test_what_is_half_deleted_does_not_count_and_is_made_again(
    recipe: Recipe, uv: FakeUv, home: Path, what: str
) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    folder = backend.folder(recipe.environment, recipe.lock.sha256)
    gone_from(folder, what)

    assert not backend.has(recipe)
    assert [(each.name, each.key) for each in backend.environments()] == [(folder.name, "")]

    said: list[str] = []
    progress = Silent()
    progress.step = said.append  # type: ignore[method-assign]
    backend.make(recipe, progress)
    assert said[0] == f"something is missing in {folder.name}: it is made again"
    assert backend.has(recipe)
    assert left_in(home) == [folder.name]


def test_a_version_that_the_user_installed_by_hand_stays(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    packages = backend.folder(recipe.environment, recipe.lock.sha256) / "lib/python3.11/site-packages"
    (packages / "six-1.17.0.dist-info").rename(packages / "six-1.16.0.dist-info")
    (packages / "more.py").touch()

    assert backend.has(recipe)


def test_what_is_used_is_not_made_again(recipe: Recipe, uv: FakeUv, home: Path, processes: None) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    folder = backend.folder(recipe.environment, recipe.lock.sha256)
    gone_from(folder, "contents.txt")

    with user_of(folder) as user, pytest.raises(BackendError) as caught:
        backend.make(recipe, Silent())

    assert caught.value.message == f"{folder.name} would be removed, and is used by process {user.pid}"
    assert (folder / "bin/python").exists()


@contextmanager
def user_of(folder: Path, *, argv: tuple[str, ...] = ("sleep", "60"), **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives in the venv."""
    environ = env or {"VIRTUAL_ENV": str(folder)}
    with subprocess.Popen(argv, env={"PATH": os.environ["PATH"], **environ}) as user:
        deadline = time.monotonic() + 10
        while psutil.Process(user.pid).name() != "sleep" and time.monotonic() < deadline:
            time.sleep(0.01)  # between fork and exec it is still this test
        try:
            yield user
        finally:
            user.kill()


def test_what_is_held_is_known_by_name_and_content(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    assert backend.environments() == []
    backend.make(recipe, Silent())
    folder = backend.folder(recipe.environment, recipe.lock.sha256)
    parent = folder.parent
    (parent / "my-notes").mkdir()
    (parent / "my-folder-0123456789ab").mkdir()  # the name alone
    (parent / "linked-0123456789ab").symlink_to(folder)
    (parent / ".gone-cpu-0123456789ab.staging-1/bin").mkdir(parents=True)
    (parent / ".busy-cpu-0123456789ab.staging-1").mkdir()

    with FileLock(parent / ".busy-cpu-0123456789ab.guard"):
        found = backend.environments()

    abandoned = parent / ".gone-cpu-0123456789ab.staging-1"
    assert found == [
        Made(abandoned.name, "gone-cpu", "", folder=abandoned),
        Made(folder.name, "demo-cu130", backend.key(recipe), folder=folder),
    ]


def test_it_goes_and_what_is_beside_it_stays(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (home / "environments/my-notes").mkdir()
    (made,) = backend.environments()

    backend.discard(made)
    backend.discard(made)

    assert not backend.has(recipe)
    assert left_in(home) == ["my-notes"]


def test_what_an_interrupted_removal_left_goes_with_the_next(
    recipe: Recipe, uv: FakeUv, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (made,) = backend.environments()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            backend.discard(made)

    assert not backend.has(recipe)
    (left,) = backend.environments()
    assert (left.environment, left.key) == ("demo-cu130", "")
    backend.discard(left)
    assert left_in(home) == []


def test_what_is_being_installed_is_not_removed(recipe: Recipe, uv: FakeUv, home: Path) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (made,) = backend.environments()

    with FileLock(home / f"environments/.{made.name}.guard"), pytest.raises(BackendError) as caught:
        backend.discard(made)

    assert caught.value.message == f"{made.name} is being installed"
    assert backend.has(recipe)


def test_what_another_user_made_stays(recipe: Recipe, uv: FakeUv, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (made,) = backend.environments()
    (home / f"environments/.{made.name}.staging-1").mkdir()

    def refused(self: FileLock, timeout: float) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FileLock, "acquire", refused)

    assert backend.environments() == [made]
    with pytest.raises(BackendError) as caught:
        backend.discard(made)
    assert caught.value.message == f"{made.folder} cannot be removed: Permission denied"
    assert backend.has(recipe)


@pytest.mark.parametrize("how", ["its variables", "its program"])
def test_what_a_process_uses_is_not_removed(recipe: Recipe, uv: FakeUv, home: Path, processes: None, how: str) -> None:
    """A terminal app, a verification, a shell: there is no record of it."""
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (made,) = backend.environments()
    assert made.folder is not None
    shutil.copy("/bin/sleep", made.folder / "bin/sleep")
    argv = ("sleep", "60") if how == "its variables" else (str(made.folder / "bin/sleep"), "60")
    env = {} if how == "its variables" else {"NOTHING": "1"}

    with user_of(made.folder, argv=argv, **env) as user:
        assert [each.used_by for each in backend.environments()] == [(f"process {user.pid}",)]
        with pytest.raises(BackendError) as caught:
            backend.discard(made)

    assert caught.value.message == f"{made.name} would be removed, and is used by process {user.pid}"
    assert backend.has(recipe)


def test_what_a_running_instance_uses_is_not_removed(recipe: Recipe, uv: FakeUv, home: Path, processes: None) -> None:
    backend = VenvBackend(home)
    backend.make(recipe, Silent())
    (made,) = backend.environments()
    folder = home / "instances" / "demo-page"
    folder.mkdir(parents=True)
    (folder / "launch.json").write_text(
        '{"name": "demo-page", "framework": "demo", "app": "page", "environment": "demo-cu130",'
        f' "started": "2026-01-01T00:00:00.000Z", "url": null, "argv": ["demo-cli"], "lock": "{recipe.lock.sha256}"}}'
    )

    with user_of(home, NOTHING="1") as app:
        (folder / "pid").write_text(f"{app.pid} {psutil.Process(app.pid).create_time()}")
        assert [each.used_by for each in backend.environments()] == [("demo-page",)]
        with pytest.raises(BackendError, match=r"is used by demo-page$"):
            backend.discard(made)
    assert [each.used_by for each in backend.environments()] == [()]


# A program beside the app ---------------------------------------------------------------------------------------------


@pytest.fixture
def app(home: Path, tmp_path: Path, processes: None) -> Iterator[psutil.Process]:
    """The process of an instance `demo-page`, with variables and a folder of its own."""
    folder = home / "instances" / "demo-page"
    folder.mkdir(parents=True)
    env = {"PATH": "/venv/bin:/bin:/usr/bin", "DEMO_TOKEN": "hush", "TERM": "of the app"}
    with subprocess.Popen(["sleep", "60"], env=env, cwd=tmp_path) as started:
        app = psutil.Process(started.pid)
        deadline = time.monotonic() + 10
        while not (app.name() == "sleep" and app.environ()) and time.monotonic() < deadline:
            time.sleep(0.01)
        (folder / "pid").write_text(f"{app.pid} {app.create_time()}")
        yield app
        started.kill()


@pytest.mark.parametrize(("terminal", "term"), [(False, "of the app"), (True, "of the user")])
def test_a_program_has_what_the_app_was_started_with(
    home: Path, tmp_path: Path, app: psutil.Process, monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str
) -> None:
    monkeypatch.setenv("TERM", "of the user")
    monkeypatch.setenv("DEMO_TOKEN", "of the user")

    entry = VenvBackend(home).entry("demo-page", ["python", "-V"], terminal=terminal)

    env = {"PATH": "/venv/bin:/bin:/usr/bin", "DEMO_TOKEN": "hush", "TERM": term}
    assert entry == Entry(("python", "-V"), env, str(tmp_path))
    assert "hush" not in repr(entry)


def test_the_variables_of_another_user_s_app_cannot_be_read(
    home: Path, app: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: psutil.Process) -> dict[str, str]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "environ", refused)

    with pytest.raises(BackendError) as caught:
        VenvBackend(home).entry("demo-page", ["true"], terminal=False)

    assert caught.value.message == "demo-page runs as another user, whose variables cannot be read"


def test_no_program_beside_an_app_that_has_ended(home: Path, app: psutil.Process) -> None:
    app.kill()
    app.wait()

    with pytest.raises(NotRunningError):
        VenvBackend(home).entry("demo-page", ["true"], terminal=False)
