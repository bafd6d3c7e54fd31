"""`envkit explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes import FakeResolver

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.unit.cli.conftest import Envkit

REFUSED = """\
error: No solution found when resolving dependencies
  cause: Because iniconfig==2.0.0 depends on six<1.17 and you require six==1.17.0, we can conclude that your requirements and iniconfig==2.0.0 are incompatible.
         And because you require iniconfig==2.0.0, we can conclude that your requirements are unsatisfiable."""
BOUND = """\
error: No solution found when resolving dependencies
  cause: Because you require numpy==3.0.0 and numpy<3, we can conclude that your requirements are unsatisfiable."""

COPY = (
    "mkdir -p ~/.config/envkit/images/demo/mine-cu130 && cp images/demo/cu130/requirements.lock"
    " images/demo/cu130/build.lock ~/.config/envkit/images/demo/mine-cu130"
)


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, share: Path) -> FakeResolver:
    fake = FakeResolver(brings=("numpy==2.0.0", "nvidia-cublas==1.0"), releases={"six": "1.16.0"})
    monkeypatch.setattr("envkit.process.run", fake)
    monkeypatch.chdir(share)
    return fake


def refuses_six(files: Mapping[str, str]) -> str:
    lines = files["requirements.in"].split()
    return REFUSED if "six==1.17.0" in lines and "iniconfig==2.0.0" in lines else ""


def test_what_is_so_already(envkit: Envkit, uv: FakeResolver) -> None:
    result = envkit("explain", "demo-cu130", "six==1.17.0", "torch")

    assert (result.status, result.err) == (0, "")
    assert result.out == "✓ demo-cu130 has six==1.17.0, torch==2.11.0 already\n"


def test_what_resolves_is_told_with_the_entry_that_makes_it(envkit: Envkit, uv: FakeResolver) -> None:
    uv.sources = ("flask",)

    result = envkit("explain", "demo-cu130", "six==1.16.0", "flask==3.1.0")

    assert result.status == 0
    assert (
        result.out
        == """\
✓ demo-cu130 resolves with six==1.16.0, flask==3.1.0
    moved    six 1.17.0 → 1.16.0
    added    flask 3.1.0  (no wheel: built from source)
             (a build sees what the package asks for alone: one that imports torch and does not say so fails)
    the torch layer stays as it is
  this resolves, and nothing more was seen of it; for ~/.config/envkit/envmatrix.yaml:

environments:
  demo-mine-cu130:
    framework: demo
    stack: new
    python: "3.11"
    require:
      - iniconfig==2.1.0
      - six==1.16.0
      - flask==3.1.0
    constrain:
      - requirement: numpy<3
        reason: a bound that nobody states
        source: invented

then (what nothing pins stays as it is):
  mkdir -p ~/.config/envkit/images/demo/mine-cu130 && cp images/demo/cu130/requirements.lock images/demo/cu130/build.lock ~/.config/envkit/images/demo/mine-cu130
  envkit lock demo-mine-cu130
  envkit verify demo-mine-cu130
"""
    )
    assert [line.split("· ")[1] for line in result.err.splitlines()] == [
        "resolving: six==1.16.0, flask==3.1.0, with all that the matrix says",
        "resolving: whether there are wheels",
    ]


def test_what_is_refused_is_told_with_who_says_so_and_what_is_nearest(envkit: Envkit, uv: FakeResolver) -> None:
    uv.judge = refuses_six

    result = envkit("explain", "demo-cu130", "iniconfig==2.0.0")

    assert result.status == 1
    assert (
        result.out.split("  this resolves")[0]
        == """\
✗ demo-cu130 cannot have iniconfig==2.0.0
    environments.demo-cu130.require says six==1.17.0
    iniconfig 2.0.0 asks for six<1.17
  demo-cu124 has it
  the nearest that works: iniconfig==2.0.0, with another six
    moved    iniconfig 2.1.0 → 2.0.0
             six 1.17.0 → 1.16.0
    the torch layer stays as it is
"""
    )


def test_a_bound_of_the_matrix_gives_its_reason(envkit: Envkit, uv: FakeResolver) -> None:
    uv.judge = lambda files: BOUND if "numpy==3.0.0" in files["requirements.in"] else ""
    uv.brings, uv.releases = ("nvidia-cublas==1.0",), {"numpy": "2.0.0"}

    result = envkit("explain", "demo-cu130", "numpy==3.0.0")

    assert result.status == 1
    assert (
        result.out
        == """\
✗ demo-cu130 cannot have numpy==3.0.0
    environments.demo-cu130.constrain says numpy<3
        reason  a bound that nobody states
        source  invented
  the nearest that works is what it has: numpy==2.0.0
"""
    )


def test_json_of_a_nearest_set_that_is_there_has_nothing_to_paste(envkit: Envkit, uv: FakeResolver) -> None:
    uv.judge = lambda files: BOUND if "numpy==3.0.0" in files["requirements.in"] else ""
    uv.brings, uv.releases = ("nvidia-cublas==1.0",), {"numpy": "2.0.0"}

    nearest = envkit("explain", "demo-cu130", "numpy==3.0.0", "--json").data["nearest"]

    assert (nearest["environment"], nearest["changes"], nearest["overlay"], nearest["steps"]) == (
        "demo-cu130",
        [],
        None,
        [],
    )


@pytest.mark.parametrize("words", ["it is Monday", None])
def test_the_resolvers_words_are_shown_where_nothing_was_read_or_they_are_asked_for(
    envkit: Envkit, uv: FakeResolver, words: str | None
) -> None:
    if words:
        uv.refusal = f"error: No solution found when resolving dependencies\n  cause: {words}"
        result = envkit("explain", "demo-cu130", "flask==3.1.0")
    else:
        uv.judge = refuses_six
        result = envkit("explain", "demo-cu130", "iniconfig==2.0.0", "--verbose")

    assert result.status == 1
    assert "\nthe resolver's own words:\n  error: No solution found when resolving dependencies\n" in result.out


def test_another_torch_stack_is_told_by_its_name(envkit: Envkit, uv: FakeResolver) -> None:
    both = {"torch==2.6.0", "torch==2.11.0"}
    words = BOUND.replace("numpy==3.0.0 and numpy<3", "torch==2.6.0 and torch==2.11.0")
    uv.judge = lambda files: words if both <= {*files["requirements.in"].split()} else ""

    result = envkit("explain", "demo-cu130", "torch==2.6.0")

    assert result.status == 1
    told, _, entry = result.out.partition("  this resolves")
    assert (
        told
        == """\
✗ demo-cu130 cannot have torch==2.6.0
    torch_stacks.new says torch==2.11.0
        source  invented
  demo-cu124 has it
  the nearest that works: torch==2.6.0, with another six, on the torch stack old
    moved    six 1.17.0 → 1.16.0
    the torch layer becomes that of old
"""
    )
    assert "then (what nothing pins becomes the newest):\n  envkit lock demo-mine-cu124\n" in entry


def test_json_of_what_resolves(envkit: Envkit, uv: FakeResolver) -> None:
    overlay = Path.home() / ".config/envkit/envmatrix.yaml"

    data = envkit("explain", "demo-cu130", "six==1.16.0", "--json").data

    assert data.pop("proposal") == {
        "has": ["six==1.16.0"],
        "gives_up": [],
        "changes": [{"package": "six", "from": "1.17.0", "to": "1.16.0", "torch_layer": False, "wheel": True}],
        "exclude_newer": "2026-01-01T00:00:00Z",
        "environment": "demo-mine-cu130",
        "stack": "new",
        "overlay": (
            'environments:\n  demo-mine-cu130:\n    framework: demo\n    stack: new\n    python: "3.11"\n    require:\n'
            "      - iniconfig==2.1.0\n      - six==1.16.0\n    constrain:\n      - requirement: numpy<3\n"
            "        reason: a bound that nobody states\n        source: invented\n"
        ),
        "file": str(overlay),
        "steps": [
            COPY,
            "envkit lock demo-mine-cu130",
            "envkit verify demo-mine-cu130",
        ],
    }
    assert data == {
        "environment": "demo-cu130",
        "wishes": ["six==1.16.0"],
        "result": "possible",
        "has": ["six==1.16.0"],
        "against": [],
        "nearest": None,
        "tried": [],
        "elsewhere": [],
        "words": "",
    }


def test_json_of_a_refusal(envkit: Envkit, uv: FakeResolver) -> None:
    uv.judge = refuses_six

    result = envkit("explain", "demo-cu130", "iniconfig==2.0.0", "--json")

    assert result.status == 1
    assert (result.data["result"], result.data["proposal"], result.data["words"]) == ("refused", None, REFUSED)
    assert result.data["against"] == [
        {
            "kind": "pin",
            "requirement": "six==1.17.0",
            "by": "environments.demo-cu130.require",
            "reason": "",
            "source": "",
        },
        {"kind": "metadata", "requirement": "six<1.17", "by": "iniconfig 2.0.0", "reason": "", "source": ""},
    ]
    assert (result.data["nearest"]["has"], result.data["nearest"]["gives_up"]) == (["iniconfig==2.0.0"], ["six"])
    assert result.data["elsewhere"] == ["demo-cu124"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("demo-cu13", "six"), 2, "error: unknown environment: demo-cu13\n"),
        (("demo-cu130", "six=="), 2, "error: not a requirement: 'six=='\n"),
        (("demo-cu130",), 2, "error: Missing argument 'PACKAGE[==VERSION]...'\n"),
    ],
)
def test_what_cannot_be_meant(
    envkit: Envkit, uv: FakeResolver, arguments: tuple[str, ...], status: int, message: str
) -> None:
    result = envkit("explain", *arguments)

    assert (result.status, result.out) == (status, "")
    assert result.err.startswith(message)
    assert uv.calls == []


def test_an_index_that_does_not_answer_is_exit_5(envkit: Envkit, uv: FakeResolver) -> None:
    uv.refusal = "error: Failed to fetch: http://127.0.0.1:9/simple/six/"

    result = envkit("explain", "demo-cu130", "six==1.16.0")

    assert result.status == 5
    assert "error: the resolver could not work on demo-cu130\n" in result.err
