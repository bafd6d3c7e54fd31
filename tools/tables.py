#!/usr/bin/env python3
"""Writes the table of environments into the READMEs, from the matrix, the locks and the evidence: ./dev tables

It stands between two marks; the prose around it is written by hand. A test holds it fresh.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.evidence import Evidence, highest
from envkit.lock.standing import standing
from envkit.matrix.fit import capabilities_that_fit
from envkit.matrix.load import load_matrix
from envkit.share import write_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.matrix.load import Matrix, MatrixEnvironment

ROOT = Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(?s)(?<=<!-- environments: made by `\./dev tables` -->\n).*?(?=<!-- end of environments -->\n)")


@dataclass(frozen=True)
class Language:
    """A README's words for what the table says."""

    columns: tuple[str, ...]
    models: str
    missing: str
    failed: str
    comma: str
    semicolon: str
    colon: str
    brackets: str


LANGUAGES = {
    "README.md": Language(
        columns=("Environment", "Release", "torch", "Driver from", "GPUs", "Size", "Seen so far"),
        models="GPUs by compute capability: {}.",
        missing="Not available: {}.",
        failed="failed",
        comma=", ",
        semicolon="; ",
        colon=": ",
        brackets=" ({})",
    ),
    "README.zh-CN.md": Language(
        columns=("环境", "版本", "torch", "最低驱动", "显卡（计算能力）", "大小", "目前实际跑过"),
        models="各计算能力对应的显卡：{}。",
        missing="暂时没有：{}。",
        failed="失败",
        comma="，",
        semicolon="；",
        colon="：",
        brackets="（{}）",
    ),
}


def pages(matrix: Matrix) -> dict[Path, str]:
    """Every README as it should be."""
    return {
        ROOT / name: TABLE.sub(lambda _, words=words: table(matrix, words), (ROOT / name).read_text(encoding="utf-8"))
        for name, words in LANGUAGES.items()
    }


def table(matrix: Matrix, words: Language) -> str:
    """What stands between the marks."""
    rows = [words.columns, ("---",) * len(words.columns)]
    rows += [_cells(each, matrix, words) for each in matrix.environments()]
    lines = [f"| {' | '.join(each)} |" for each in rows]
    if models := [f"{capability} {each}" for capability, each in matrix.file.gpus.items()]:
        lines += ["", words.models.format(words.semicolon.join(models))]
    if missing := list(_missing(matrix, words)):
        lines += ["", words.missing.format(words.semicolon.join(missing))]
    return "\n".join(lines) + "\n"


def _cells(environment: MatrixEnvironment, matrix: Matrix, words: Language) -> tuple[str, ...]:
    stack, cuda, size = environment.stack, environment.variant.cuda, environment.entry.size
    return (
        f"`{environment.name}`",
        environment.version,
        words.comma.join(filter(None, [stack.torch, cuda and f"CUDA {cuda}"])),
        matrix.least_driver(environment) or "",
        _range(capabilities_that_fit(environment, matrix.file.gpus), list(matrix.file.gpus)) if cuda else "CPU",
        f"{size.venv_mib * 2**20 / 1e9:.1f} GB" if size else "",
        words.semicolon.join(_seen(environment, words)),
    )


def _range(fitting: list[str], known: list[str]) -> str:
    """Such as `7.5–12.0`, and `8.0, 9.0` where those between do not fit."""
    first, last = known.index(fitting[0]), known.index(fitting[-1])
    whole = known[first : last + 1] == fitting and len(fitting) > 2
    return f"{fitting[0]}–{fitting[-1]}" if whole else ", ".join(fitting)


def _seen(environment: MatrixEnvironment, words: Language) -> Iterator[str]:
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
            details = words.comma.join(filter(None, [backend, *(each.job for each in there), *sorted(machines)]))
            yield f"`{best.level}` {best.date}{words.brackets.format(details) if details else ''}"
    for each in found.failed:
        details = words.comma.join(filter(None, [each.job, each.backend]))
        yield f"`{each.level}` {words.failed} {each.date}{words.brackets.format(details) if details else ''}"


def _missing(matrix: Matrix, words: Language) -> Iterator[str]:
    for name, each in matrix.file.unavailable.items():
        yield f"`{name}`{words.brackets.format(words.comma.join([each.date, each.reason]))}"


def main() -> None:
    """Writes what is not fresh."""
    for path, text in pages(load_matrix(Path(os.devnull))).items():  # without the developer's own entries
        if path.read_text(encoding="utf-8") != text:
            write_file(path, text)


if __name__ == "__main__":
    main()
