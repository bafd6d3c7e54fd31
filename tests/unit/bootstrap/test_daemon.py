"""Settings merged into Docker's daemon.json."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.bootstrap.daemon import in_the_way, main, merged

if TYPE_CHECKING:
    from pathlib import Path

LOGS: dict[str, Any] = {"log-driver": "json-file", "log-opts": {"max-size": "50m"}}
WANTED = {**LOGS, "features": {"cdi": True}, "registry-mirrors": ["https://a.example"]}
VALUES = st.recursive(
    st.booleans() | st.text("ab=", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=8,
)
SETTINGS = st.dictionaries(st.sampled_from(["features", "registry-mirrors", "exec-opts", "x"]), VALUES, max_size=5)


@pytest.fixture(autouse=True)
def usual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose Docker keeps nothing yet."""
    monkeypatch.setattr("envkit.bootstrap.daemon.USUAL", str(tmp_path / "usual"))


@pytest.mark.parametrize(
    ("present", "wanted", "result"),
    [
        ({}, WANTED, WANTED),
        ({"log-driver": "journald"}, LOGS, {"log-driver": "journald"}),  # has no max-size
        ({"log-opts": {"max-size": "1g"}}, LOGS, {"log-driver": "json-file", "log-opts": {"max-size": "1g"}}),
        ({"features": {"x": True}}, {"features": {"cdi": True}}, {"features": {"x": True, "cdi": True}}),
        ({"features": {"cdi": False}}, {"features": {"cdi": True}}, {"features": {"cdi": False}}),
        (
            {"registry-mirrors": ["https://mine.example"]},
            {"registry-mirrors": ["https://a.example", "https://mine.example"]},
            {"registry-mirrors": ["https://mine.example", "https://a.example"]},
        ),
        (
            {"exec-opts": ["native.cgroupdriver=systemd"]},
            {"exec-opts": ["native.cgroupdriver=cgroupfs"]},
            {"exec-opts": ["native.cgroupdriver=systemd"]},
        ),
        ({"data-root": "/mine"}, {"data-root": "/other"}, {"data-root": "/mine"}),
    ],
)
def test_what_somebody_set_stays(present: dict[str, Any], wanted: dict[str, Any], result: dict[str, Any]) -> None:
    assert merged(present, wanted) == result


@given(SETTINGS, SETTINGS)
def test_a_second_time_changes_nothing_and_nothing_is_ever_lost(
    present: dict[str, object], wanted: dict[str, object]
) -> None:
    once = merged(present, wanted)

    assert merged(once, wanted) == once
    assert {*present} <= {*once}
    assert all(once[key] == value for key, value in present.items() if not isinstance(value, (dict, list)))


def test_the_file_that_was_there_is_kept_once(tmp_path: Path) -> None:
    file, before = tmp_path / "daemon.json", tmp_path / "daemon.json.before-envkit"
    file.write_text('{"debug": true}')

    assert main("check", str(file), json.dumps(LOGS)) == "not there yet: log-driver, log-opts"
    assert main("merge", str(file), json.dumps(LOGS)) is None
    assert main("check", str(file), json.dumps(LOGS)) is None
    assert main("merge", str(file), json.dumps({"data-root": "/data"})) is None
    assert json.loads(file.read_text()) == {"debug": True, **LOGS, "data-root": "/data"}
    assert before.read_text() == '{"debug": true}'
    assert sorted(each.name for each in tmp_path.glob("daemon*")) == ["daemon.json", "daemon.json.before-envkit"]


def docker(root: Path) -> str:
    """A folder in which Docker keeps two images, a container and a volume."""
    for each in (
        "image/overlay2/imagedb/content/sha256/a",
        "image/overlay2/imagedb/content/sha256/b",
        "containers/c",
        "volumes/d/_data",
    ):
        (root / each).mkdir(parents=True)
    return str(root)


def test_images_do_not_go_out_of_sight(tmp_path: Path) -> None:
    """`--data-root` was written where there were images, and `docker images` was empty."""
    old, new = docker(tmp_path / "usual"), str(tmp_path / "new")

    problem = in_the_way({}, {"data-root": new})

    assert problem == (
        f"error: Docker would see nothing of what it keeps in {old}: 2 images, 1 container, 1 volume\n"
        f"take it along: sudo systemctl stop docker.socket docker; sudo mkdir -p {new}; sudo cp -a {old}/. {new}\n"
        "then run this again; or do without another data-root"
    )
    shutil.copytree(old, new)
    assert in_the_way({}, {"data-root": new}) is None


@pytest.mark.parametrize("wanted", [{}, {"data-root": "/new"}, {"data-root": "/new/"}])
def test_where_nothing_is_kept_nothing_is_in_the_way(wanted: dict[str, object]) -> None:
    assert in_the_way({}, wanted) is None


def test_another_data_root_than_somebody_chose_is_refused_and_not_ignored(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"data-root": "/mine"}')

    for action in ("check", "merge"):
        assert main(action, str(file), json.dumps({**LOGS, "data-root": "/data/docker"})) == (
            "error: Docker keeps its data in /mine, as data-root says there: it is not moved to /data/docker"
        )
    assert file.read_text() == '{"data-root": "/mine"}'
    assert main("merge", str(file), json.dumps({**LOGS, "data-root": "/mine"})) is None


def test_without_a_file_there_is_nothing_to_keep(tmp_path: Path) -> None:
    assert main("merge", str(tmp_path / "docker/daemon.json"), json.dumps(LOGS)) is None
    assert [each.name for each in (tmp_path / "docker").iterdir()] == ["daemon.json"]


@pytest.mark.parametrize("text", ["{,}", "[]", "true"])
def test_what_is_no_table_of_settings_is_left_as_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(text)

    problem = main("merge", str(file), json.dumps(LOGS))

    assert problem is not None
    assert problem.startswith("error: not ")
    assert file.read_text() == text


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("{}")
    link = tmp_path / "daemon.json"
    link.symlink_to("real.json")

    assert main("merge", str(link), json.dumps(LOGS)) is None
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.json").read_text()) == LOGS
