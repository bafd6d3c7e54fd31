"""What the end-to-end tests share. They use the environments of whoever runs them (ENVKIT_HOME), and make the missing ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.host.home import envkit_home
from tests.e2e.machine import Machine
from tests.integration.command import Cli
from tests.integration.conftest import stand_in_gpus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["stand_in_gpus"]


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """The environment that the test is parametrised with; afterwards none of its instances may be left."""
    backend, environment = request.param
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    cli = Cli(home=envkit_home(), matrix=None, cwd=tmp_path, env=offline)
    yield Machine(backend, environment, cli, tmp_path / "workspace")
    left = [each["name"] for each in cli("ps", "--json").json if each["name"].startswith("e2e-")]
    if left:
        cli("stop", *left)
    assert left == []
