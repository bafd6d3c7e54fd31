"""An environment as an entry that can be pasted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.lock.overlay import free_name, overlay_entry
from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix


def test_what_is_written_is_what_the_matrix_reads(matrix: Matrix, tmp_path: Path) -> None:
    environment = matrix.environment("demo-cu130")
    file = tmp_path / "mine.yaml"
    file.write_text(overlay_entry(environment, "demo-mine-cu130"))

    assert load_matrix(file).environment("demo-mine-cu130").entry == environment.entry


def test_it_is_written_as_people_write_it_without_what_was_measured_of_the_old_set(matrix: Matrix) -> None:
    environment = matrix.environment("solo-cu130")

    assert environment.entry.size is not None
    assert overlay_entry(environment, "solo-mine-cu130") == (
        "environments:\n"
        "  solo-mine-cu130:\n"
        "    framework: solo\n"
        "    stack: new\n"
        '    python: "3.11"\n'
        "    require:\n"
        "      - six==1.17.0\n"
    )


def test_the_name_is_one_that_nobody_has(matrix: Matrix) -> None:
    environment = matrix.environment("demo-cu130")

    assert free_name(environment, {}) == "demo-mine-cu130"
    assert free_name(environment, {"demo-mine-cu130", "demo-mine-2-cu130"}) == "demo-mine-3-cu130"
