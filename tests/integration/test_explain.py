"""`envkit explain` with the real uv and an index of our own: its real refusals are read, and what it proposes is locked."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import Cli
from tests.integration.index import Index, make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MATRIX = """\
variants:
  cpu: {source: invented}
torch_stacks:
  no-torch: {variant: cpu, source: invented}
environments:
  own-cpu:
    framework: own
    stack: no-torch
    python: "3.11"
    require: [ours==1.0, lib==1.0]
    constrain:
      - {requirement: bound<2, reason: 2.0 forgets how, source: invented}
build_requires: [builds==1.0]
"""
FRAMEWORK = """\
name: own
title: Packages of our own
home: https://example.com
package: ours
cpu: true
apps:
  job: {about: does nothing, argv: [python, -c, "pass"]}
"""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cli]:
    """A framework `ours` that takes `lib` below 2, pinned to 1.0; `extra` 2.0 wants a later `lib`."""
    wheels = [
        make_wheel("ours", "1.0", requires=("lib<2", "bound", "kept")),
        make_wheel("lib", "1.0"),
        make_wheel("lib", "1.1"),
        make_wheel("lib", "2.0"),
        make_wheel("extra", "1.0"),
        make_wheel("extra", "2.0", requires=("lib>=1.1",)),
        make_wheel("bound", "1.0"),
        make_wheel("bound", "2.0"),
        make_wheel("kept", "1.0"),
        make_wheel("builds", "1.0"),
    ]
    folder = tmp_path / "matrix"
    (folder / "images/own").mkdir(parents=True)
    (folder / "envmatrix.yaml").write_text(MATRIX)
    (folder / "images/own/framework.yaml").write_text(FRAMEWORK)
    with Index(*wheels) as index:
        env = {
            "UV_DEFAULT_INDEX": index.url,
            "UV_HTTP_RETRIES": "0",
            "UV_CACHE_DIR": str(tmp_path / "home/cache/uv"),
            "NO_PROXY": "127.0.0.1",
        }
        cli = Cli(home=tmp_path / "home", matrix=folder / "envmatrix.yaml", cwd=folder, env=env)
        cli("lock", "own-cpu")
        yield cli


def test_what_it_proposes_becomes_exactly_that_lock(own: Cli) -> None:
    done = own("explain", "own-cpu", "lib==1.1", "extra", "--json").json

    proposal = done["proposal"]
    changes = [(each["package"], each["from"], each["to"], each["wheel"]) for each in proposal["changes"]]
    assert (done["result"], changes) == ("possible", [("extra", None, "2.0", True), ("lib", "1.0", "1.1", True)])
    matrix = own.cwd / "envmatrix.yaml"
    matrix.write_text(MATRIX.replace("environments:\n", proposal["overlay"]))
    copy, lock, _ = proposal["steps"]
    subprocess.run(copy, shell=True, check=True, cwd=own.cwd)  # noqa: S602  # the line that a user pastes
    assert lock.split()[:3] == ["envkit", "lock", "own-mine-cpu"]
    locked = own("lock", "own-mine-cpu", "--json").json
    assert locked[0]["changes"] == ["extra (new) -> 2.0", "lib 1.0 -> 1.1"]


def test_a_pin_that_stands_in_the_way_moves(own: Cli) -> None:
    done = own("explain", "own-cpu", "extra==2.0", status=1)

    assert (
        done.stdout.split("  this resolves")[0]
        == """\
✗ own-cpu cannot have extra==2.0
    environments.own-cpu.require says lib==1.0
    extra 2.0 asks for lib>=1.1
  the nearest that works: extra==2.0, with another lib
    moved    lib 1.0 → 1.1
    added    extra 2.0
    the torch layer stays as it is
"""
    )


def test_what_the_framework_refuses_gets_the_nearest_release(own: Cli) -> None:
    done = own("explain", "own-cpu", "lib==2.0", "--json", status=1).json

    assert [(each["kind"], each["by"], each["requirement"]) for each in done["against"]] == [
        ("pin", "environments.own-cpu.require", "ours==1.0"),
        ("metadata", "ours 1.0", "lib<2"),
    ]
    assert done["tried"] == ["a later ours than 1.0"]
    assert done["nearest"]["has"] == ["lib==1.1"]


def test_a_bound_of_the_matrix_and_what_there_is_not(own: Cli) -> None:
    bound = own("explain", "own-cpu", "bound==2.0", status=1)
    absent = own("explain", "own-cpu", "nobody-has-this==1", status=1)

    assert (
        bound.stdout
        == """\
✗ own-cpu cannot have bound==2.0
    environments.own-cpu.constrain says bound<2
        reason  2.0 forgets how
        source  invented
  the nearest that works is what it has: bound==1.0
"""
    )
    assert (
        absent.stdout
        == """\
✗ own-cpu cannot have nobody-has-this==1
    the package index has nothing for nobody-has-this
  nothing near it works
"""
    )
