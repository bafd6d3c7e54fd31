"""Frameworks on one stack share the torch layer, byte for byte: an engine stores it once, a registry sends it once."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import Cli, engine
from tests.integration.conftest import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MATRIX = """\
variants:
  cpu: {source: invented}
torch_layer: [bottle]
torch_stacks:
  one: {variant: cpu, source: invented}
environments:
  layer-one-cpu: {framework: layer-one, stack: one, python: "3.11", require: [bottle==0.13.4, six==1.17.0]}
  layer-two-cpu: {framework: layer-two, stack: one, python: "3.11", require: [bottle==0.13.4, iniconfig==2.1.0]}
  layer-other-cpu: {framework: layer-other, stack: one, python: "3.11", require: [bottle==0.13.3, six==1.17.0]}
"""
FRAMEWORK = """\
name: {name}
title: Packages on a stack
home: https://example.com
package: bottle
cpu: true
apps:
  job: {{about: says which version it found, argv: [python, -c, "import bottle; print(bottle.__version__)"]}}
system_packages: [{package}]
"""
PACKAGES = {"layer-one": "", "layer-two": "bc", "layer-other": ""}
"""By framework the system packages of its own."""
SYSTEM, TORCH = 2, 4
"""How many layers an image has up to the system packages, and up to torch: the lock of its packages is one too."""


@pytest.fixture
def layered(tmp_path: Path) -> Iterator[Cli]:
    """Three frameworks, two of them with the same packages in their torch layer."""
    folder = tmp_path / "matrix"
    for name, package in PACKAGES.items():
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / "framework.yaml").write_text(FRAMEWORK.format(name=name, package=package))
    (folder / "envmatrix.yaml").write_text(MATRIX)
    cli = Cli(home=tmp_path / "home", matrix=folder / "envmatrix.yaml", cwd=tmp_path)
    cli("lock", *(f"{name}-cpu" for name in PACKAGES))
    yield cli
    shutil.rmtree(cli.home, ignore_errors=True)


@pytest.mark.index
@pytest.mark.parametrize("program", ENGINES)
def test_two_frameworks_on_one_stack_share_the_layers_up_to_torch(layered: Cli, program: str) -> None:
    images = {name: f"envkit/{name}:{'0.13.3' if name == 'layer-other' else '0.13.4'}-cpu" for name in PACKAGES}
    try:
        layered("build", *(f"{name}-cpu" for name in PACKAGES), "--backend", program, timeout=550)
        layers = {name: layers_of(program, image) for name, image in images.items()}
    finally:
        engine(program, "image", "rm", "--force", *images.values())

    one, two, other = layers["layer-one"], layers["layer-two"], layers["layer-other"]
    assert one[:TORCH] == two[:TORCH]
    assert one[TORCH] != two[TORCH]
    assert one[:SYSTEM] == other[:SYSTEM]
    assert one[SYSTEM] != other[SYSTEM]


def layers_of(program: str, image: str) -> list[str]:
    """The digests of the layers, the base's first."""
    said = engine(program, "image", "inspect", "--format", "{{json .RootFS.Layers}}", image)
    layers: list[str] = json.loads(said)
    return layers
