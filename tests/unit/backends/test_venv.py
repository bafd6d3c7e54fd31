"""How the venv backend makes environments; real uv and real processes are in tests/integration."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from envkit.backends.base import Launch, Recipe, Silent
from envkit.backends.venv import VenvBackend
from envkit.errors import BackendError, BuildError
from envkit.process import Completed
from tests.fakes import with_toolkit

if TYPE_CHECKING:
    from collections.abc import Callable

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
        (Path(argv[-1]) / "lib/python3.11/site-packages/nvidia/lib").mkdir(parents=True)
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
            "make room, or set ENVKIT_HOME to a folder on a larger disk",
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
