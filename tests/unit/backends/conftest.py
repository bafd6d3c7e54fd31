"""What the tests of the backends share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.backends.base import Launch, Recipe
from tests.fakes import demo_lock

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without an index, certificates and proxies of its own."""
    monkeypatch.setattr("envkit.host.index._PIP_CONFIGS", ())
    monkeypatch.setattr("envkit.host.index._BUNDLES", ())
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def recipe(matrix: Matrix) -> Recipe:
    environment = matrix.environment("demo-cu130")
    return Recipe(environment, demo_lock(environment))


@pytest.fixture
def launch(recipe: Recipe) -> Launch:
    """An app of that environment, in a container."""
    return Launch(
        "demo-job", "job", recipe.environment, "0" * 64, ("true",), "/workspace", env={"A": "1"}, secrets={"B": "2"}
    )
