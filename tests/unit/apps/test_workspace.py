"""The workspace is made and seeded once, and nothing in it is ever overwritten."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envkit.apps.workspace import cache_folder, open_workspace
from envkit.errors import UsageError
from envkit.lock.resolver import write_lock
from envkit.matrix.load import Matrix, load_matrix
from envkit.matrix.schema import Cache
from tests.fakes import FakeBackend, demo_lock

if TYPE_CHECKING:
    from envkit.backends.base import Launch
    from tests.unit.apps.conftest import Plan


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def launch(plan: Plan) -> Launch:
    return plan("train", FakeBackend())


def files(folder: Path) -> list[str]:
    return sorted(str(each.relative_to(folder)) for each in folder.rglob("*"))


def test_a_new_workspace_is_made_and_seeded(work: Path, launch: Launch) -> None:
    new = open_workspace(launch, launch.environment)

    assert new == [work / "data/dataset_info.json", work / "data/demo.json"]
    assert files(work) == ["data", "data/dataset_info.json", "data/demo.json", "saves"]
    assert (work / "data/dataset_info.json").read_text() == '{"demo": {"file_name": "demo.json"}}\n'


def test_an_empty_folder_is_seeded(work: Path, launch: Launch) -> None:
    (work / "data").mkdir(parents=True)

    assert len(open_workspace(launch, launch.environment)) == 2


@pytest.mark.parametrize("own", ["dataset_info.json", "mine.json", ".hidden"])
def test_a_folder_that_holds_anything_is_left_as_it_is(work: Path, launch: Launch, own: str) -> None:
    (work / "data").mkdir(parents=True)
    (work / "data" / own).write_text("mine")

    assert open_workspace(launch, launch.environment) == []
    assert files(work) == ["data", f"data/{own}", "saves"]
    assert (work / "data" / own).read_text() == "mine"


def test_a_second_start_changes_nothing(work: Path, launch: Launch) -> None:
    open_workspace(launch, launch.environment)
    (work / "data/demo.json").write_text("edited")
    (work / "data/dataset_info.json").unlink()

    assert open_workspace(launch, launch.environment) == []
    assert files(work) == ["data", "data/demo.json", "saves"]
    assert (work / "data/demo.json").read_text() == "edited"


def test_seeding_that_was_interrupted_is_done_again(
    work: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the seeds would make the folder the user's, and the data list would stay broken for good."""

    def half(source: Path, target: Path) -> None:
        target.mkdir()
        shutil.copy(source / "demo.json", target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copytree", half)
        with pytest.raises(KeyboardInterrupt):
            open_workspace(launch, launch.environment)

    assert len(open_workspace(launch, launch.environment)) == 2
    assert files(work) == ["data", "data/dataset_info.json", "data/demo.json", "saves"]


def test_what_root_makes_belongs_to_the_owner_of_the_workspace(
    work: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.mkdir()
    given = {}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.chown", lambda path, uid, gid: given.update({Path(path).name: (uid, gid)}))

    open_workspace(launch, launch.environment)

    owner = (work.stat().st_uid, work.stat().st_gid)
    assert given == dict.fromkeys(["data", "dataset_info.json", "demo.json", "saves", "hub"], owner)


def test_a_link_to_an_empty_folder_is_seeded(work: Path, launch: Launch, tmp_path: Path) -> None:
    work.mkdir()
    (tmp_path / "disk").mkdir()
    (work / "data").symlink_to(tmp_path / "disk")

    open_workspace(launch, launch.environment)

    assert (work / "data").is_symlink()
    assert files(tmp_path / "disk") == ["dataset_info.json", "demo.json"]


def test_cache_folders_are_made_too(tmp_path: Path, launch: Launch) -> None:
    open_workspace(launch, launch.environment)

    assert (tmp_path / "home/envkit/cache/hub").is_dir()


def test_a_stale_lock_is_taken_away(tmp_path: Path, launch: Launch) -> None:
    stale, held = tmp_path / "stale", tmp_path / "held"
    stale.touch()
    held.touch()

    open_workspace(replace(launch, stale_locks=(stale, tmp_path / "gone by now")), launch.environment)

    assert (stale.exists(), held.exists()) == (False, True)


@pytest.mark.parametrize("at", ["", "data"])
def test_a_file_where_a_folder_should_be(work: Path, launch: Launch, at: str) -> None:
    file = work / at
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("mine")

    with pytest.raises(UsageError) as caught:
        open_workspace(launch, launch.environment)

    assert caught.value.message == f"not a folder: {file}"
    assert caught.value.hint == "choose another place with `--workspace DIR`"
    assert file.read_text() == "mine"


def test_a_workspace_of_somebody_else(work: Path, launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    def mkdir(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", mkdir)  # the tests may run as root, who may write everywhere

    with pytest.raises(UsageError) as caught:
        open_workspace(launch, launch.environment)

    assert caught.value.message == f"a folder cannot be made or written to: {work}: Permission denied"
    assert caught.value.hint == "choose another place with `--workspace DIR`; caches are under ENVKIT_HOME"


def test_an_environment_of_the_user_s_overlay_is_seeded_too(
    tmp_path: Path, matrix: Matrix, plan: Plan, work: Path
) -> None:
    overlay = tmp_path / "mine.yaml"
    overlay.write_text(
        "environments: {demo-cu124: {framework: demo, stack: old, python: '3.12', require: [iniconfig==1.9.0]}}"
    )
    environment = load_matrix(overlay).environment("demo-cu124")
    write_lock(environment, demo_lock(environment))

    open_workspace(plan("train", FakeBackend()), environment)

    assert (work / "data/dataset_info.json").is_file()


# Caches ---------------------------------------------------------------------------------------------------------------


def test_where_a_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(env="DEMO_HUB", default="~/.cache/demo-hub")
    found = [cache_folder("hub", cache)]

    (tmp_path / "home/.cache/demo-hub").mkdir(parents=True)
    found.append(cache_folder("hub", cache))
    monkeypatch.setenv("DEMO_HUB", "~/hub")
    found.append(cache_folder("hub", cache))
    monkeypatch.setenv("DEMO_HUB", "")
    found.append(cache_folder("hub", cache))

    home = tmp_path / "home"
    assert found == [home / "envkit/cache/hub", home / ".cache/demo-hub", home / "hub", home / ".cache/demo-hub"]


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_cache_of_somebody_else_is_left_alone_unless_everybody_may_write_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    shared, work = tmp_path / "hub", tmp_path / "work"
    shared.mkdir()
    shared.chmod(mode)
    monkeypatch.setattr("os.geteuid", lambda: shared.stat().st_uid + 1)  # who will own the workspace

    found = cache_folder("hub", Cache(env="NO_SUCH_VARIABLE", default=str(shared)), work)

    assert found == (work / ".cache/hub" if mode == 0o755 else shared)
