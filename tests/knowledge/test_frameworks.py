"""The shipped frameworks: every app can be started, reached and protected as its file says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.conftest import REPOSITORY
from tests.knowledge.conftest import SHIPPED

if TYPE_CHECKING:
    from envkit.matrix.schema import App, Framework

FRAMEWORKS = SHIPPED.frameworks
APPS = [(framework, name) for framework in FRAMEWORKS for name in FRAMEWORKS[framework].apps]


@pytest.fixture(params=FRAMEWORKS)
def framework(request: pytest.FixtureRequest) -> Framework:
    return FRAMEWORKS[request.param]


@pytest.fixture(params=APPS, ids="-".join)
def app(request: pytest.FixtureRequest) -> tuple[Framework, App]:
    framework, name = request.param
    return FRAMEWORKS[framework], FRAMEWORKS[framework].apps[name]


def test_an_app_that_listens_can_be_told_where_and_asked_whether_it_is_up(app: tuple[Framework, App]) -> None:
    _, spec = app
    listens = spec.port is not None

    assert [spec.bind is not None, spec.health is not None] == [listens, listens]
    assert not (listens and spec.interactive)
    if spec.port and spec.bind:
        assert spec.port.default >= 1024
        assert (spec.port.env, spec.port.option) != (spec.bind.env, spec.bind.option)
    if spec.health:
        assert 60 <= spec.health.within_seconds <= 3600


def test_a_key_is_a_secret(app: tuple[Framework, App]) -> None:
    framework, spec = app

    if spec.auth:
        assert spec.port is not None
        assert spec.auth.env in framework.secrets


def test_a_command_is_words_and_no_shell(app: tuple[Framework, App]) -> None:
    """The compose file writes it as one line."""
    assert all(re.fullmatch(r"[\w./=@:,+-]+", word) for word in app[1].argv)


def test_what_an_app_is_is_said_in_house_style(app: tuple[Framework, App]) -> None:
    assert not app[1].about.endswith(".")
    assert len(app[1].about) <= 70


def test_a_variable_has_one_meaning(framework: Framework) -> None:
    groups = [
        list(framework.env),
        framework.pass_env,
        framework.secrets,
        [cache.env for cache in framework.caches.values()],
        sorted({app.port.env for app in framework.apps.values() if app.port and app.port.env}),
        sorted({app.bind.env for app in framework.apps.values() if app.bind and app.bind.env}),
    ]
    every = [name for group in groups for name in group]

    assert sorted(every) == sorted(set(every))


def test_what_sounds_like_a_secret_is_one(framework: Framework) -> None:
    suspicious = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD)$")

    assert [name for name in (*framework.env, *framework.pass_env) if suspicious.search(name)] == []
    assert all(suspicious.search(name) for name in framework.secrets)


def test_lists_are_in_order(framework: Framework) -> None:
    for each in (framework.pass_env, framework.secrets):
        assert each == sorted(each)


def test_caches_lie_in_the_user_s_home(framework: Framework) -> None:
    assert all(cache.default.startswith("~/.cache/") for cache in framework.caches.values())


def test_seeds_are_for_folders_of_the_workspace(framework: Framework) -> None:
    seeds = REPOSITORY / "images" / framework.name / "workspace"
    folders = list(seeds.iterdir()) if seeds.is_dir() else []

    assert {each.name for each in folders} <= set(framework.workspace)
    assert all(any(folder.iterdir()) for folder in folders)
