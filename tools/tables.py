#!/usr/bin/env python3
"""Writes the tables of environments, from the matrix, the locks and the evidence: ./dev tables

The READMEs get an overview, docs/environments.md every environment. Each stands between two marks; the prose around it
is written by hand. A test holds them fresh.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.evidence import Evidence, highest
from envkit.lock.standing import standing
from envkit.matrix.fit import capabilities_that_fit
from envkit.matrix.load import load_matrix
from envkit.share import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envkit.matrix.load import Matrix, MatrixEnvironment

ROOT = Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(?s)(?<=<!-- environments: made by `\./dev tables` -->\n).*?(?=<!-- end of environments -->\n)")


@dataclass(frozen=True)
class Language:
    """A README's words for what the overview says."""

    framework: str
    driver: str
    missing: str
    comma: str
    semicolon: str
    brackets: str


LANGUAGES = {
    "README.md": Language(
        framework="Framework",
        driver="driver from {}",
        missing="Not available: {}.",
        comma=", ",
        semicolon="; ",
        brackets=" ({})",
    ),
    "README.zh-CN.md": Language(
        framework="框架",
        driver="驱动 {} 起",
        missing="暂时没有：{}。",
        comma="，",
        semicolon="；",
        brackets="（{}）",
    ),
}
DETAILS = "docs/environments.md"
COLUMNS = ("Environment", "Release", "torch", "Driver from", "GPUs", "Attention", "Size", "Seen so far")


def pages(matrix: Matrix) -> dict[Path, str]:
    """Every page as it should be."""
    tables = {name: overview(matrix, words) for name, words in LANGUAGES.items()} | {DETAILS: table(matrix)}
    return {
        ROOT / name: TABLE.sub(lambda _, made=made: made, (ROOT / name).read_text(encoding="utf-8"))
        for name, made in tables.items()
    }


def overview(matrix: Matrix, words: Language) -> str:
    """Frameworks by variants, the newest CUDA first: each release with the strongest level that was seen of it."""
    environments = matrix.environments()
    variants = sorted(
        {each.stack.variant for each in environments},
        key=lambda name: Version(matrix.file.variants[name].cuda or "0"),
        reverse=True,
    )
    heads = [
        _head(next(each for each in environments if each.stack.variant == name), matrix, words) for name in variants
    ]
    rows: dict[str, dict[str, list[str]]] = {}
    for each in environments:
        found = rows.setdefault(f"`{each.framework.name}`", {})
        found.setdefault(each.stack.variant, []).append(f"{each.version} `{standing(each).level}`")
    lines = _lines(
        [words.framework, *heads],
        [[row, *("<br>".join(found.get(name, [])) for name in variants)] for row, found in rows.items()],
    )
    missing = [
        f"`{name}`{words.brackets.format(words.comma.join([each.date, each.reason]))}"
        for name, each in matrix.file.unavailable.items()
    ]
    if missing:
        lines += ["", words.missing.format(words.semicolon.join(missing))]
    return "\n".join(lines) + "\n"


def _head(environment: MatrixEnvironment, matrix: Matrix, words: Language) -> str:
    if not environment.variant.cuda:
        return "CPU"
    driver = words.driver.format(matrix.least_driver(environment))
    return f"CUDA {environment.variant.cuda}{words.brackets.format(driver)}"


def table(matrix: Matrix) -> str:
    """Every environment."""
    lines = _lines(COLUMNS, [_cells(each, matrix) for each in matrix.environments()])
    if models := [f"{capability} {each}" for capability, each in matrix.file.gpus.items()]:
        lines += ["", f"GPUs by compute capability: {'; '.join(models)}."]
    return "\n".join(lines) + "\n"


def _lines(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(each)} |" for each in (columns, ("---",) * len(columns), *rows)]


def _cells(environment: MatrixEnvironment, matrix: Matrix) -> tuple[str, ...]:
    entry, stack, cuda = environment.entry, environment.stack, environment.variant.cuda
    return (
        f"`{environment.name}`",
        environment.version,
        ", ".join(filter(None, [stack.torch, cuda and f"CUDA {cuda}"])),
        matrix.least_driver(environment) or "",
        _range(capabilities_that_fit(environment, matrix.file.gpus), list(matrix.file.gpus)) if cuda else "CPU",
        entry.attention.path if entry.attention else "",
        f"{entry.size.venv_mib * 2**20 / 1e9:.1f} GB" if entry.size else "",
        "; ".join(_seen(environment)),
    )


def _range(fitting: list[str], known: list[str]) -> str:
    """Such as `7.5–12.0`, and `8.0, 9.0` where those between do not fit."""
    first, last = known.index(fitting[0]), known.index(fitting[-1])
    whole = known[first : last + 1] == fitting and len(fitting) > 2
    return f"{fitting[0]}–{fitting[-1]}" if whole else ", ".join(fitting)


def _seen(environment: MatrixEnvironment) -> Iterator[str]:
    """For each backend the strongest level with its jobs, and what failed."""
    found = standing(environment)
    backends = list(dict.fromkeys(each.backend or "" for each in found.seen))
    if found.level == "resolved":
        yield f"`resolved` {found.date}"
    for backend in backends:
        evidence = Evidence(lock="", seen=tuple(each for each in found.seen if (each.backend or "") == backend))
        if best := highest(evidence):
            there = evidence.of(best.level)
            machines = {each.machine for each in there} if best.level == "gpu" else set()
            details = ", ".join(filter(None, [backend, *(each.job for each in there), *sorted(machines)]))
            yield f"`{best.level}` {best.date} ({details})" if details else f"`{best.level}` {best.date}"
    for each in found.failed:
        details = ", ".join(filter(None, [each.job, each.backend]))
        yield f"`{each.level}` failed {each.date} ({details})" if details else f"`{each.level}` failed {each.date}"


def main() -> None:
    """Writes what is not fresh."""
    for path, text in pages(load_matrix(Path(os.devnull))).items():  # without the developer's own entries
        if path.read_text(encoding="utf-8") != text:
            write_file(path, text)


if __name__ == "__main__":
    main()
