"""What the end-to-end tests share. They use the environments of whoever runs them (ENVKIT_HOME), and make the missing ones."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from typing import TYPE_CHECKING

import pytest

from envkit.evidence import Seen, record
from envkit.host.describe import describe_machine
from envkit.host.home import envkit_home
from envkit.host.probes import probe_host
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tests.e2e.machine import NAMES, Machine
from tests.integration.command import Cli
from tests.integration.conftest import stand_in_gpus

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

__all__ = ["stand_in_gpus"]


@pytest.fixture
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """The environment that the test is parametrised with; afterwards none of its instances may be left."""
    backend, environment = request.param
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    cli = Cli(home=envkit_home(), matrix=None, cwd=tmp_path, env=offline)
    record = bool(request.config.getoption("--record-evidence"))
    yield Machine(backend, environment, cli, tmp_path / "workspace", record)
    left = [each["name"] for each in cli("ps", "--json").json if each["name"].startswith(NAMES)]
    if left:
        cli("stop", *left)
    assert left == []


# Evidence -------------------------------------------------------------------------------------------------------------

_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With `--record-evidence`, a test with the mark `evidence` writes down what became of its job."""
    report = yield
    mark = item.get_closest_marker("evidence")
    if mark and item.config.getoption("--record-evidence"):
        if report.when == "call" or report.failed:
            item.stash[_FAILED] = item.stash.get(_FAILED, False) or not report.passed
        if report.when == "teardown" and _FAILED in item.stash:
            _record(item, *mark.args, failed=item.stash[_FAILED])
    return report


def _record(item: pytest.Item, job: str, *, failed: bool) -> None:
    """The machines of these tests run everything on the CPU."""
    assert isinstance(item, pytest.Function)
    backend, name = item.callspec.params["machine"]
    environment = load_matrix().environment(name)
    seen = Seen(
        level="cpu",
        job=job,
        backend=backend,
        result="fail" if failed else "pass",
        date=datetime.now(timezone.utc).date().isoformat(),
        machine=_this_machine(),
        detail=item.nodeid if failed else "",
    )
    record(environment, read_lock(environment), seen)


@cache
def _this_machine() -> str:
    return describe_machine(probe_host())
