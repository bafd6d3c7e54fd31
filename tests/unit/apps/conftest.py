"""What the tests of apps share: launches for a fake backend, and ports that are free."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from envkit.apps.launch import Request, plan_launch
from envkit.backends.base import Launch, Recipe
from tests.fakes import FakeBackend, demo_lock

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix

Plan = Callable[..., Launch]


@pytest.fixture
def recipe(matrix: Matrix) -> Recipe:
    environment = matrix.environment("demo-cu130")
    return Recipe(environment, demo_lock(environment))


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without proxies, and without the variables that the demo framework takes over."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("DEMO_KEY", "DEMO_TOKEN", "DEMO_ENDPOINT", "DEMO_HUB"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def plan(recipe: Recipe, tmp_path: Path) -> Plan:
    """Plans an app's launch; any field of the request may be given. Ports are any that are free."""

    def plan(app: str, backend: FakeBackend, recipe: Recipe = recipe, **request: Any) -> Launch:
        spec = recipe.environment.framework.apps[app]
        port = {"port": 0} if spec.port else {}
        wish = Request(**{"app": app, "args": (), "workspace": tmp_path / "work", **port, **request})
        return plan_launch(wish, spec, recipe, backend, {backend.name: backend})

    return plan
