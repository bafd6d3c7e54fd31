"""How far an environment got: by its lock, and by what was seen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.evidence import Seen, record
from envkit.lock.lockfile import lock_path, read_lock
from envkit.lock.resolver import write_lock
from envkit.lock.standing import Standing, standing
from tests.fakes import demo_lock

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix

PASSED = Seen(level="imports", backend="venv", result="pass", date="2026-11-21", machine="Debian 12")
FAILED = Seen(level="cpu", backend="venv", result="fail", date="2026-11-22", machine="Debian 12", job="page")


def test_a_fresh_lock_resolves(matrix: Matrix) -> None:
    assert standing(matrix.environment("demo-cu130")) == Standing("resolved", "2026-01-01")


def test_what_was_seen_goes_beyond_the_lock(matrix: Matrix) -> None:
    environment = matrix.environment("demo-cu130")
    record(environment, read_lock(environment), PASSED, FAILED)

    found = standing(environment)

    assert found == Standing("imports", "2026-11-21", (PASSED, FAILED))
    assert found.failed == (FAILED,)


def test_without_a_lock_there_is_no_level(matrix: Matrix) -> None:
    environment = matrix.environment("demo-cu130")
    record(environment, read_lock(environment), PASSED)
    path = lock_path(environment)
    path.write_text(path.read_text().replace("six==1.17.0", "six==1.16.0"))

    assert standing(environment) == Standing(problem=f"a lock was edited by hand: {path}")

    path.unlink()
    assert standing(environment) == Standing(problem=f"demo-cu130 has no lock: {path}")


def test_another_lock_begins_anew(matrix: Matrix) -> None:
    environment, other = matrix.environment("demo-cu130"), matrix.environment("solo-cu130")
    record(environment, demo_lock(other), PASSED)

    assert standing(environment) == Standing("resolved", "2026-01-01")

    write_lock(environment, demo_lock(environment))
    record(environment, read_lock(environment), PASSED)
    assert standing(environment) == Standing("imports", "2026-11-21", (PASSED,))
