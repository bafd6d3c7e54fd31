"""The page: what stands in a log is text, and a curve has a point for each number."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from envkit.backends.base import Recipe
from envkit.lock.lockfile import read_lock
from envkit.smoke.check import Cause, Check, Report
from envkit.smoke.report import curve, render_report

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix


def test_a_curve_falls_from_the_top() -> None:
    assert curve([4, 2, 0]) == "0.0,0.0 300.0,80.0 600.0,160.0"
    assert curve([4, math.nan, 0]) == "0.0,0.0 600.0,160.0"
    assert curve([0, 0]) == "0.0,160.0 600.0,160.0"


def test_the_page_shows_all_and_runs_nothing(matrix: Matrix) -> None:
    environment = matrix.environments()[0]
    recipe = Recipe(environment, read_lock(environment))
    checks = (
        Check(name="sft-lora", result="pass", detail="it falls", losses=(2, 1), metrics={"tokens_per_second": 12.5}),
        Check(
            name="webui",
            result="fail",
            detail="<script>alert(1)</script>",
            faults=("one", "two"),
            command=("demo-cli", "webui", "my page"),
            log=("</pre><script>alert(2)</script>",),
            diagnosis=Cause("x", "The <b>cause</b>", ("do this",)),
        ),
    )
    report = Report(
        environment=environment.name, backend="venv", device="cpu", machine="Debian", checks=checks, result="fail"
    )

    page = render_report(report, recipe, {"webui": b"png"})

    assert "<script" not in page
    assert "&lt;script&gt;alert(2)" in page
    assert "https://" not in page
    assert 'points="0.0,0.0 600.0,80.0"' in page
    assert "12.5 tokens/s" in page
    assert "<code>demo-cli webui &#39;my page&#39;</code>" in page
    assert 'src="data:image/png;base64,cG5n"' in page
    assert "The &lt;b&gt;cause&lt;/b&gt;" in page
    assert f"<dt>{environment.package}</dt><dd>{environment.version}</dd>" in page
