"""`envkit lock`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.lock.lockfile import lock_path
from tests.fakes import FakeResolver, demo_lock

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix
    from tests.unit.cli.conftest import Envkit


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    fake = FakeResolver()
    monkeypatch.setattr("envkit.process.run", fake)
    return fake


def contents(folder: Path) -> dict[str, str]:
    return {str(each): each.read_text() for each in sorted(folder.rglob("*.lock"))}


def test_fresh_locks(envkit: Envkit) -> None:
    result = envkit("lock", "--check")

    assert (result.status, result.out) == (0, "")
    assert result.err == (
        "demo-cu130: fresh, 8 packages\n"
        "demo-cu124: fresh, 7 packages\n"
        "demo-cpu: fresh, 1 packages\n"
        "solo-cu130: fresh, 7 packages\n"
    )


def test_json_of_a_check(envkit: Envkit, matrix: Matrix) -> None:
    lock = demo_lock(matrix.environment("solo-cu130"))

    assert envkit("lock", "solo-cu130", "--check", "--json").data == [
        {"environment": "solo-cu130", "fresh": True, "packages": 7, "sha256": lock.sha256}
    ]


@pytest.mark.parametrize("file", ["requirements.lock", "torch.lock", "build.lock"])
@pytest.mark.parametrize("change", ["missing", "edited"])
def test_a_lock_that_is_not_fresh_is_exit_6(envkit: Envkit, matrix: Matrix, file: str, change: str) -> None:
    path = matrix.environment("demo-cu124").folder / file
    if change == "missing":
        path.unlink()
    else:
        path.write_text(path.read_text() + "six==1.17.0\n")

    result = envkit("lock", "--check")

    assert result.status == 6
    assert str(path) in result.err.split("\n\nhint:")[0]


def test_a_check_changes_nothing(envkit: Envkit, matrix: Matrix, share: Path, uv: FakeResolver) -> None:
    lock_path(matrix.environment("demo-cu124")).unlink()
    before = contents(share)

    envkit("lock", "--check")

    assert contents(share) == before
    assert uv.calls == []


def test_locking_shows_what_changes_and_writes_it(envkit: Envkit, matrix: Matrix, uv: FakeResolver) -> None:
    environment = matrix.environment("demo-cu124")

    result = envkit("lock", "demo-cu124", "--json")

    assert result.status == 0
    assert result.err == (
        "  numpy 2.0.0 -> (gone)\n"
        "  nvidia-cublas 1.0 -> (gone)\n"
        "demo-cu124: 5 packages, 2 changed, as of 2026-01-01T00:00:00Z\n"
        f"  wrote {lock_path(environment)}\n"
    )
    assert result.data[0]["changes"] == ["numpy 2.0.0 -> (gone)", "nvidia-cublas 1.0 -> (gone)"]
    assert envkit("lock", "demo-cu124", "--check").status == 0
    assert "numpy" not in lock_path(environment).read_text()


def test_a_dry_run_writes_nothing(envkit: Envkit, share: Path, uv: FakeResolver) -> None:
    before = contents(share)

    result = envkit("lock", "demo-cu124", "--dry-run")

    assert result.status == 0
    assert contents(share) == before
    assert result.err.splitlines()[-1] == "demo-cu124: 5 packages, 2 changed, as of 2026-01-01T00:00:00Z"


def test_a_first_lock(envkit: Envkit, matrix: Matrix, uv: FakeResolver) -> None:
    environment = matrix.environment("demo-cpu")
    for each in environment.folder.iterdir():
        each.unlink()

    result = envkit("lock", "demo-cpu")

    assert result.err.splitlines()[0] == "  iniconfig (new) -> 2.1.0"
    assert envkit("lock", "demo-cpu", "--check").status == 0


def test_a_refusal_is_exit_5_and_leaves_the_old_lock(envkit: Envkit, share: Path, uv: FakeResolver) -> None:
    uv.refusal = "error: No solution found when resolving dependencies\n  cause: Because of this.\n"
    before = contents(share)

    result = envkit("lock", "demo-cu130")

    assert result.status == 5
    assert result.err.startswith(
        "error: no set of versions satisfies demo-cu130\n"
        "  error: No solution found when resolving dependencies\n"
        "    cause: Because of this.\n"
        "\nhint: change `require` or `constrain` of demo-cu130 in envmatrix.yaml"
    )
    assert contents(share) == before


def test_an_unknown_environment(envkit: Envkit) -> None:
    result = envkit("lock", "demo-cu99")

    assert (result.status, result.err.splitlines()[0]) == (2, "error: unknown environment: demo-cu99")
