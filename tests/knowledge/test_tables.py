"""The tables of environments: made from the matrix and the evidence, and fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.evidence import Seen, record
from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from tools.tables import COLUMNS, LANGUAGES, TABLE, overview, pages, table

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix

ENGLISH = LANGUAGES["README.md"]


def row(matrix: Matrix, name: str) -> list[str]:
    line = next(line for line in table(matrix).splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_committed_tables_are_fresh(shipped: Matrix) -> None:
    made = pages(shipped)

    assert all(TABLE.search(text) for text in made.values())
    assert [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text] == [], (
        "run `./dev tables`"
    )


def test_every_environment_has_a_line(shipped: Matrix) -> None:
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table(shipped).splitlines()[2:]]

    assert [line[0] for line in lines if line[0].startswith("`")] == [
        f"`{each.name}`" for each in shipped.environments()
    ]
    assert {len(line) for line in lines if line[0].startswith("`")} == {len(COLUMNS)}


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_release_is_in_the_overview(name: str, shipped: Matrix) -> None:
    head, _, *lines = overview(shipped, LANGUAGES[name]).splitlines()

    for each in shipped.environments():
        wanted = f"CUDA {each.variant.cuda}" if each.variant.cuda else "CPU"
        column = next(number for number, cell in enumerate(head.split(" | ")) if wanted in cell)
        line = next(line for line in lines if line.startswith(f"| `{each.framework.name}` |"))
        assert f"{each.version} `" in line.split(" | ")[column]


def test_the_overview(matrix: Matrix) -> None:
    assert overview(matrix, ENGLISH).splitlines() == [
        "| Framework | CUDA 13.0 (driver from 580.65.06) | CUDA 12.4 (driver from 525.60.13) | CPU |",
        "| --- | --- | --- | --- |",
        "| `demo` | 2.1.0 `resolved` | 2.0.0 `resolved` | 2.1.0 `resolved` |",
        "| `solo` | 1.17.0 `resolved` |  |  |",
    ]


def test_a_line(matrix: Matrix) -> None:
    assert row(matrix, "solo-cu130") == [
        "`solo-cu130`", "1.17.0", "2.11.0, CUDA 13.0", "580.65.06", "7.5–12.0", "", "2.1 GB", "`resolved` 2026-01-01",
    ]  # fmt: skip
    assert row(matrix, "demo-cpu") == ["`demo-cpu`", "2.1.0", "", "", "CPU", "", "", "`resolved` 2026-01-01"]


def test_capabilities_with_a_gap_are_listed(share: Path) -> None:
    overlay = share / "mine.yaml"
    overlay.write_text(
        "environments:\n"
        "  solo-1.16.0-cu130:\n"
        "    {framework: solo, stack: new, python: '3.11', require: [six==1.16.0],"
        " kernels: {package: six, capabilities: ['7.5', '9.0'], source: invented}}\n"
    )

    assert row(load_matrix(overlay), "solo-1.16.0-cu130")[4] == "7.5, 9.0"


def test_each_backend_has_its_strongest_level_and_its_jobs(matrix: Matrix) -> None:
    def seen(level: str, backend: str, job: str = "", result: str = "pass", machine: str = "Debian 12") -> Seen:
        return Seen(level=level, backend=backend, job=job, result=result, date="2026-11-21", machine=machine)  # type: ignore[arg-type]

    environment = matrix.environment("solo-cu130")
    lock = read_lock(environment)
    record(environment, lock, seen("imports", "venv"), seen("imports", "docker"))
    record(environment, lock, seen("cpu", "venv", "webui"), seen("cpu", "venv", "sft-lora"))
    assert row(matrix, "solo-cu130")[-1] == ("`imports` 2026-11-21 (docker); `cpu` 2026-11-21 (venv, sft-lora, webui)")

    record(environment, lock, seen("cpu", "docker", "webui", "fail"))
    record(environment, lock, seen("gpu", "venv", "webui", machine="NVIDIA T4, driver 580.82.07"))
    assert row(matrix, "solo-cu130")[-1] == (
        "`imports` 2026-11-21 (docker); `gpu` 2026-11-21 (venv, webui, NVIDIA T4, driver 580.82.07);"
        " `cpu` failed 2026-11-21 (webui, docker)"
    )


def test_what_is_not_available_stands_below(share: Path) -> None:
    overlay = share / "mine.yaml"
    overlay.write_text("unavailable: {tuna: {reason: it does not import, date: 2026-11-20, source: tried}}\n")

    assert overview(load_matrix(overlay), ENGLISH).endswith(
        "\n\nNot available: `tuna` (2026-11-20, it does not import).\n"
    )
