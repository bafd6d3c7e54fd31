"""`sizes`: what the images weigh, beside the packages in them."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import docker
from engine import weigh
from measure import Outcome, gigabytes

from envkit.matrix.load import load_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

ROUNDS = 1
DISK_GB = 1
TITLE = "What images weigh"
NOTE = """
Every image that `envkit build` had left in the engine, on the date of its line, as Docker counts it: all layers,
unpacked. "packages" are the files that the wheels' own lists name, unpacked. The rest is Debian with its packages, and
what the image built: DeepSpeed's operators, and a wheel where the package index has none. Images on one torch stack
share the layer of torch, so a second one adds much less than it weighs. `./dev bench sizes --only ENVIRONMENT` makes
one line again.
"""


def measure(rounds: int, scratch: Path, only: Sequence[str] = ()) -> Outcome:
    """One row for each image that is there; `rounds` and `scratch` are not needed."""
    client = docker.from_env(timeout=600)
    matrix = load_matrix()
    there = {tag for image in client.images.list() for tag in image.tags}
    images = {name: tag for name in only or matrix.environments if (tag := matrix.environment(name).image) in there}
    if missing := set(only) - set(images):
        sys.exit(f"error: no image of {', '.join(sorted(missing))}; build it with `envkit build`")
    return Outcome(
        [],
        table={name: _row(client, name, tag) for name, tag in images.items()},
        columns=["", "image", "packages", "byte code", "the rest", "image / packages", "date"],
    )


def _row(client: docker.DockerClient, name: str, tag: str) -> list[str]:
    weight = weigh(client, tag)
    cells = [gigabytes(each) for each in (weight.image, weight.packages, weight.byte_code, weight.rest)]
    return [f"`{name}`", *cells, f"{weight.ratio:.2f}", datetime.now(timezone.utc).strftime("%Y-%m-%d")]
