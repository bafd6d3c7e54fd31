"""A report as one page that needs nothing beside itself: curves, screenshots, versions."""

from __future__ import annotations

import base64
import shlex
from typing import TYPE_CHECKING

from envkit.render.templates import render_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from envkit.backends.base import Recipe
    from envkit.smoke.check import Report

VERSIONS = ("torch", "torchvision", "torchaudio", "triton", "transformers", "peft", "trl", "accelerate", "datasets",
            "deepspeed", "bitsandbytes", "flash-attn", "liger-kernel", "gradio", "vllm")  # fmt: skip
_WIDTH, _HEIGHT = 600, 160
METRICS = {
    "tokens_per_second": "tokens/s",
    "peak_memory_mib": "MiB at most",
    "seconds_for_an_answer": "s for an answer",
    "seconds_to_show": "s to show",
}
"""What the overview has beside a check, and its unit."""


def render_report(report: Report, recipe: Recipe, pictures: Mapping[str, bytes]) -> str:
    """The page."""
    packages = recipe.lock.packages
    environment = recipe.environment
    versions = {environment.package: environment.version}
    versions |= {name: packages[name] for name in VERSIONS if name in packages}
    return render_page(
        "smoke.html.j2",
        report=report,
        title=environment.framework.title,
        lock=recipe.lock.sha256,
        versions=versions,
        metrics=METRICS,
        typed=shlex.join,
        curves={each.name: curve(each.losses) for each in report.checks if len(each.losses) > 1},
        pictures={name: base64.b64encode(each).decode() for name, each in pictures.items()},
    )


def curve(losses: Sequence[float]) -> str:
    """The points of an SVG polyline through the losses, from 0 at the bottom to the largest at the top.

    What is no number has no point.
    """
    finite = [each for each in losses if abs(each) != float("inf") and each == each]  # noqa: PLR0124  # NaN
    top = max([*finite, 1e-9])
    step = _WIDTH / (len(losses) - 1)
    return " ".join(
        f"{number * step:.1f},{_HEIGHT * (1 - each / top):.1f}" for number, each in enumerate(losses) if each in finite
    )
