"""What counts as unused, and what stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envkit.apps.prune import Item, Kept, Unused, Wish, find_unused
from envkit.backends.base import Launch, Made, Recipe
from envkit.errors import BackendError, UsageError
from envkit.host.home import envkit_home
from envkit.lock.lockfile import lock_path, read_lock
from envkit.matrix.schema import Cache
from tests.fakes import FakeBackend

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import Backend, BackendName
    from envkit.matrix.load import Matrix

OLD = "0123456789ab"
"""What the name of a folder says of a lock that nobody has."""


@pytest.fixture
def docker(matrix: Matrix) -> FakeBackend:
    """With an image of today, one of an older lock, one of an environment that is gone, and one without a tag."""
    backend = FakeBackend()
    backend.made = [recipe(matrix, "demo-cpu")]
    backend.held = [
        Made(f"demo-cpu-{OLD}", "demo-cpu", f"demo-cpu-{OLD}", size=7, frees=3),
        Made("gone-cpu", "gone-cpu", f"gone-cpu-{OLD}", size=5),
        Made("c0ffee", "demo-cpu", "", size=2),
    ]
    return backend


def test_what_builds_leave_is_of_use_to_the_environments_that_are_there(matrix: Matrix, docker: FakeBackend) -> None:
    """podman's images of build stages: no tag, no name of an environment, and the next build begins with them."""
    docker.held = [Made("stage1", "", key(matrix, "demo-cpu"), size=1), Made("stage2", "", "of an older one", size=1)]

    assert [each.name for each in find(matrix, docker).items] == ["stage2"]
    named = [(each.name, each.environment) for each in find(matrix, docker, names=("demo-cpu",)).items]
    assert named == [(key(matrix, "demo-cpu"), "demo-cpu"), ("stage1", "demo-cpu")]


@pytest.fixture
def venv(matrix: Matrix, tmp_path: Path) -> FakeBackend:
    """With a venv of today and one of an older lock, which is a folder."""
    folder = tmp_path / f"demo-cu130-{OLD}"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib/big").write_bytes(b"x" * 100_000)
    backend = FakeBackend("venv")
    backend.made = [recipe(matrix, "demo-cu130")]
    backend.held = [Made(folder.name, "demo-cu130", folder.name, folder=folder)]
    return backend


def recipe(matrix: Matrix, name: str) -> Recipe:
    environment = matrix.environment(name)
    return Recipe(environment, read_lock(environment))


def key(matrix: Matrix, name: str) -> str:
    return FakeBackend().key(recipe(matrix, name))


def start(backend: FakeBackend, matrix: Matrix, name: str, *, lock: str | None = None) -> None:
    """An instance that runs."""
    chosen = recipe(matrix, name)
    launch = Launch(f"{name}-page", "page", chosen.environment, lock or chosen.lock.sha256, ("demo-cli",), "/")
    backend.start(launch)


def names(unused: Unused) -> list[tuple[str, BackendName | None, str]]:
    return [(each.kind, each.backend, each.name) for each in unused.items]


def find(matrix: Matrix, *backends: Backend, **wish: object) -> Unused:
    return find_unused(matrix, backends, Wish(**wish))  # type: ignore[arg-type]  # as the wish has them


def test_what_no_environment_needs_is_unused(matrix: Matrix, docker: FakeBackend, venv: FakeBackend) -> None:
    unused = find(matrix, docker, venv)

    assert names(unused) == [
        ("image", "docker", f"demo-cpu-{OLD}"),
        ("image", "docker", "gone-cpu"),
        ("image", "docker", "c0ffee"),
        ("venv", "venv", f"demo-cu130-{OLD}"),
    ]
    *images, folder = unused.items
    assert [(each.size, each.frees) for each in images] == [(7, 3), (5, None), (2, None)]
    assert folder.size == folder.frees
    assert (folder.size or 0) > 100_000
    assert (unused.size, unused.frees) == (14 + (folder.size or 0), 3 + (folder.size or 0))
    assert (unused.kept, unused.notes) == ((), ())


def test_it_goes_when_it_is_told_to(matrix: Matrix, docker: FakeBackend) -> None:
    for each in find(matrix, docker).items:
        each.remove()

    assert docker.held == []
    assert find(matrix, docker).items == ()
    assert [each.name for each in docker.environments()] == [key(matrix, "demo-cpu")]


def test_a_refusal_is_the_caller_s(matrix: Matrix, docker: FakeBackend) -> None:
    docker.refusal = "a container uses it"

    with pytest.raises(BackendError, match="a container uses it"):
        find(matrix, docker).items[0].remove()


def test_everything_is_all_that_nothing_uses(matrix: Matrix, docker: FakeBackend, venv: FakeBackend) -> None:
    start(venv, matrix, "demo-cu130")

    unused = find(matrix, docker, venv, everything=True)

    today = key(matrix, "demo-cu130")
    assert names(unused) == [
        ("image", "docker", key(matrix, "demo-cpu")),
        ("image", "docker", f"demo-cpu-{OLD}"),
        ("image", "docker", "gone-cpu"),
        ("image", "docker", "c0ffee"),
        ("venv", "venv", f"demo-cu130-{OLD}"),
    ]
    assert unused.kept == (Kept(today, "demo-cu130", ("demo-cu130-page",)),)


def test_what_is_unneeded_and_used_is_kept(matrix: Matrix, docker: FakeBackend) -> None:
    docker.held = [replace(docker.held[0], used_by=("container envkit-x",)), *docker.held[1:]]

    unused = find(matrix, docker)

    assert [each.name for each in unused.items] == ["gone-cpu", "c0ffee"]
    assert unused.kept == (Kept(f"demo-cpu-{OLD}", "demo-cpu", ("container envkit-x",)),)


def test_named_environments_go_wholly_in_every_backend(matrix: Matrix, docker: FakeBackend, venv: FakeBackend) -> None:
    docker.held.append(Made("demo-cu130-image", "demo-cu130", "x", size=1))

    assert names(find(matrix, docker, venv, names=("demo-cu130", "gone-cpu"))) == [
        ("image", "docker", "gone-cpu"),
        ("image", "docker", "demo-cu130-image"),
        ("venv", "venv", key(matrix, "demo-cu130")),
        ("venv", "venv", f"demo-cu130-{OLD}"),
    ]
    assert find(matrix, docker, venv, names=("solo-cu130",)).items == ()


def test_an_unknown_name_removes_nothing(matrix: Matrix, docker: FakeBackend) -> None:
    with pytest.raises(UsageError) as caught:
        find(matrix, docker, names=("demo-cpu", "demo-cu13"))

    assert caught.value.message == "unknown environment: demo-cu13"


def test_a_named_environment_that_is_used_is_an_error(matrix: Matrix, docker: FakeBackend) -> None:
    start(docker, matrix, "demo-cpu")

    with pytest.raises(UsageError) as caught:
        find(matrix, docker, names=("demo-cpu",))

    assert caught.value.message == "demo-cpu is used by demo-cpu-page"
    assert caught.value.hint == "`envkit ps` lists the instances, `envkit stop` ends them"


def test_a_lock_that_was_edited_keeps_all_of_its_environment(matrix: Matrix, docker: FakeBackend) -> None:
    path = lock_path(matrix.environment("demo-cpu"))
    path.write_text(path.read_text() + "more==1.0\n")

    unused = find(matrix, docker)

    assert [each.name for each in unused.items] == ["gone-cpu", "c0ffee"]
    assert unused.notes == (f"nothing of demo-cpu is taken for unused: a lock was edited by hand: {path}",)


def test_a_lock_that_is_not_fresh_is_a_lock(matrix: Matrix, docker: FakeBackend) -> None:
    path = lock_path(matrix.environment("demo-cpu"))
    path.write_text(path.read_text().replace("# inputs: ", "# inputs: 0"))

    assert key(matrix, "demo-cu130") not in [each.name for each in find(matrix, docker).items]
    assert [each.name for each in find(matrix, docker).items] == [f"demo-cpu-{OLD}", "gone-cpu", "c0ffee"]


# Compiled code --------------------------------------------------------------------------------------------------------


@pytest.fixture
def caches(matrix: Matrix) -> Path:
    """The matrix's torch caches are one, `triton`; in it are folders of locks that are there and of one that is gone."""
    matrix.file.torch_caches["triton"] = Cache(env="TRITON_CACHE_DIR", default="~/.cache/triton", per_lock=True)
    parent = envkit_home() / "cache" / "triton"
    for name in (
        f"{key(matrix, 'demo-cu130')}-venv",
        f"{key(matrix, 'demo-cu130')}-image",
        f"demo-cu130-{OLD}-venv",
        f"demo-cu130-{OLD}-image",
        f".gone-cpu-{OLD}-venv.staging-1-ab",
        "QO4R5H2XKB6NTYJ",
        "somebody-s-venv",
    ):
        (parent / name).mkdir(parents=True)
        (parent / name / "kernel.so").write_bytes(b"x" * 100)
    (parent / f"linked-{OLD}-venv").symlink_to(parent)
    return parent


def test_compiled_code_of_locks_that_are_gone_is_unused(matrix: Matrix, caches: Path) -> None:
    unused = find(matrix, FakeBackend())

    assert names(unused) == [
        ("compiled", "venv", f"triton/.gone-cpu-{OLD}-venv.staging-1-ab"),
        ("compiled", None, f"triton/demo-cu130-{OLD}-image"),
        ("compiled", "venv", f"triton/demo-cu130-{OLD}-venv"),
    ]
    for each in unused.items:
        each.remove()
    assert sorted(each.name for each in caches.iterdir()) == sorted(
        [
            f"{key(matrix, 'demo-cu130')}-venv",
            f"{key(matrix, 'demo-cu130')}-image",
            "QO4R5H2XKB6NTYJ",
            "somebody-s-venv",
            f"linked-{OLD}-venv",
        ]
    )
    assert find(matrix, FakeBackend(), everything=True).items == ()


def test_compiled_code_of_a_running_instance_stays(matrix: Matrix, caches: Path) -> None:
    docker = FakeBackend()
    start(docker, matrix, "demo-cu130", lock=f"{OLD}cdef")

    unused = find(matrix, docker)

    assert names(unused) == [("compiled", "venv", f"triton/.gone-cpu-{OLD}-venv.staging-1-ab")]
    assert [each.used_by for each in unused.kept] == [("demo-cu130-page",)] * 2


def test_compiled_code_of_named_environments_goes(matrix: Matrix, caches: Path) -> None:
    found = [each.name for each in find(matrix, FakeBackend(), names=("demo-cu130",)).items]

    assert sorted(found) == sorted(
        f"triton/{lock}-{kind}"
        for lock in (f"demo-cu130-{OLD}", key(matrix, "demo-cu130"))
        for kind in ("image", "venv")
    )


def test_a_cache_that_the_user_names_is_looked_into(
    matrix: Matrix, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "mine"))
    (tmp_path / f"mine/demo-cu124-{OLD}-venv").mkdir(parents=True)

    assert [each.name for each in find(matrix, FakeBackend()).items] == [f"mine/demo-cu124-{OLD}-venv"]


# uv's cache -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What uv was told: whether everything goes."""
    told: list[bool] = []

    def prune(*, everything: bool) -> int:
        told.append(everything)
        return 0

    monkeypatch.setattr("envkit.apps.prune.prune_downloads", prune)
    return told


def downloads(unused: Unused) -> Item:
    (found,) = (each for each in unused.items if each.kind == "downloads")
    return found


@pytest.mark.parametrize("everything", [False, True])
def test_uv_s_cache_goes_when_it_is_asked_for(matrix: Matrix, told: list[bool], everything: bool) -> None:
    cache = envkit_home() / "cache/uv"
    (cache / "archive").mkdir(parents=True)
    (cache / "archive/wheel").write_bytes(b"x" * 100_000)
    assert find(matrix, FakeBackend(), everything=everything).items == ()

    item = downloads(find(matrix, FakeBackend(), everything=everything, downloads=True))

    if everything:
        assert item.name == str(cache)
        assert (item.size or 0) > 100_000
    else:
        assert (item.name, item.size, item.frees) == (f"{cache}: what uv cannot use any more", None, None)
    item.remove()
    assert told == [everything]


def test_links_into_a_cache_that_goes_too_are_freed(matrix: Matrix, venv: FakeBackend, told: list[bool]) -> None:
    cache = envkit_home() / "cache/uv"
    cache.mkdir(parents=True)
    (folder,) = (each.folder for each in venv.held if each.folder)
    (cache / "big").hardlink_to(folder / "lib/big")

    alone = find(matrix, venv)
    both = find(matrix, venv, everything=True, downloads=True)

    assert alone.frees < 100_000 < alone.size
    assert both.frees > 100_000


def test_a_cache_of_the_user_s_own_is_left_alone(
    matrix: Matrix, told: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path))

    unused = find(matrix, FakeBackend(), downloads=True)

    assert unused.items == ()
    assert unused.notes == (f"uv's cache is yours, by UV_CACHE_DIR: `uv cache prune` makes room in {tmp_path}",)


def test_no_cache_is_nothing_to_remove(matrix: Matrix, told: list[bool]) -> None:
    assert find(matrix, FakeBackend(), downloads=True).items == ()


def test_a_cache_that_uv_could_not_prune_is_an_error(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.apps.prune.prune_downloads", lambda **_: 2)
    (envkit_home() / "cache/uv").mkdir(parents=True)

    with pytest.raises(BackendError, match=r"^uv could not make room in its cache: it ended with 2$"):
        downloads(find(matrix, FakeBackend(), downloads=True)).remove()
