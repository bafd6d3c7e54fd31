"""What it takes to have other packages: what follows, what stands against it, and how pins are given up in order."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from packaging.requirements import Requirement

from envkit.errors import ResolutionError, StaleLockError, UsageError
from envkit.lock.explain import Against, Change, explain, parse_wishes
from envkit.lock.lockfile import lock_path
from envkit.lock.resolver import write_lock
from envkit.matrix.schema import Constraint
from tests.fakes import FakeResolver, demo_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envkit.lock.explain import Explanation
    from envkit.matrix.load import Matrix, MatrixEnvironment

BROUGHT = ("numpy==2.0.0", "nvidia-cublas==1.0")
LOCKED = "2026-01-01T00:00:00Z"


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    fake = FakeResolver(brings=BROUGHT)
    monkeypatch.setattr("envkit.process.run", fake)
    return fake


@pytest.fixture
def environment(matrix: Matrix) -> MatrixEnvironment:
    return matrix.environment("demo-cu130")


@pytest.fixture
def asked(matrix: Matrix, environment: MatrixEnvironment, uv: FakeResolver) -> Callable[..., Explanation]:
    """What is explained for wishes, as they are typed."""
    return lambda *wishes: explain(matrix, environment, parse_wishes(wishes), lambda _: None)


def refusal(*sentences: str) -> str:
    return "error: No solution found when resolving dependencies\n  cause: " + "\n         ".join(sentences)


def conflict(one: str, other: str) -> str:
    return refusal(f"Because you require {one} and {other}, we can conclude that your requirements are unsatisfiable.")


def asks(uv: FakeResolver) -> list[list[str]]:
    """What every pass was asked for, the torch stack left out."""
    stack = ("torch", "torchvision", "torchaudio", "triton")
    return [
        [line for line in files["requirements.in"].split() if Requirement(line).name not in stack] for files in uv.files
    ]


# Wishes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["six=="], "not a requirement: 'six=='"),
        (["six @ https://host.example/six.whl"], "a requirement with an address: 'six @ https://host.example/six.whl'"),
        (["six; python_version > '3'"], "a requirement with a condition: \"six; python_version > '3'\""),
        (["six==1", "SIX<2"], "wished twice: six"),
    ],
)
def test_wishes_that_cannot_be_meant(texts: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_wishes(texts)

    assert caught.value.message == message


@pytest.mark.parametrize("wish", ["six==1.17.0", "Six", "six>=1,<2", "torch==2.11.0"])
def test_what_the_lock_has_takes_no_pass(asked: Callable[..., Explanation], uv: FakeResolver, wish: str) -> None:
    found = asked(wish)

    assert found.has == (("torch==2.11.0",) if wish.startswith("torch") else ("six==1.17.0",))
    assert (found.refused, found.proposal, uv.calls) == (False, None, [])


def test_without_a_fresh_lock_there_is_nothing_to_compare_with(
    asked: Callable[..., Explanation], environment: MatrixEnvironment
) -> None:
    lock_path(environment).unlink()

    with pytest.raises(StaleLockError):
        asked("six==1.16.0")


# What resolves --------------------------------------------------------------------------------------------------------


def test_a_package_that_is_added_and_one_that_moves(
    asked: Callable[..., Explanation], environment: MatrixEnvironment, uv: FakeResolver
) -> None:
    uv.releases["flask"] = "3.1.0"
    uv.sources = ("flask",)

    found = asked("six==1.16.0", "flask")

    assert found.proposal is not None
    assert not found.refused
    assert found.proposal.changes == (
        Change("flask", None, "3.1.0", torch_layer=False, wheel=False),
        Change("six", "1.17.0", "1.16.0", torch_layer=False),
    )
    assert found.proposal.has == ("six==1.16.0", "flask==3.1.0")
    assert found.proposal.environment.entry.require == ["iniconfig==2.1.0", "six==1.16.0", "flask==3.1.0"]
    assert found.proposal.environment.entry.constrain == environment.entry.constrain
    assert (found.proposal.name, found.proposal.moment) == ("demo-mine-cu130", LOCKED)


def test_the_pass_keeps_the_locks_moment_bounds_and_all_other_versions(
    asked: Callable[..., Explanation], environment: MatrixEnvironment, uv: FakeResolver
) -> None:
    asked("six==1.16.0")

    files, call = uv.files[0], uv.calls[0]
    assert files["requirements.in"].split() == ["iniconfig==2.1.0", "six==1.16.0", *environment.stack.pins]
    assert files["constraints.txt"] == "numpy<3\n"
    kept = [line.split()[0] for line in files["requirements.lock"].splitlines() if "==" in line]
    assert kept == [
        each for each in sorted([*environment.entry.require, *environment.stack.pins, *BROUGHT]) if "six" not in each
    ]
    assert call[call.index("--exclude-newer") + 1] == LOCKED
    assert len(uv.calls) == 2  # the other looks for wheels
    assert uv.files[1]["requirements.in"].split() == ["six==1.16.0"]


def test_a_package_of_the_torch_layer_is_told_as_such(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.brings = ("numpy==2.0.0", "nvidia-cublas==1.1")

    found = asked("flask==3.1.0")

    assert found.proposal is not None
    assert Change("nvidia-cublas", "1.0", "1.1", torch_layer=True) in found.proposal.changes


def test_a_release_younger_than_the_lock_is_looked_for_among_all_that_there_is_now(
    asked: Callable[..., Explanation], uv: FakeResolver
) -> None:
    absent = refusal("Because there is no version of six==1.18.0 and you require six==1.18.0, we can conclude that …")
    uv.judge = lambda _: absent if uv.calls[-1][uv.calls[-1].index("--exclude-newer") + 1] == LOCKED else ""

    found = asked("six==1.18.0")

    assert found.proposal is not None
    assert found.proposal.has == ("six==1.18.0",)
    assert found.proposal.moment > LOCKED
    assert found.against == ()


def test_an_index_that_does_not_answer_is_an_error(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.refusal = "error: Failed to fetch: http://127.0.0.1:9/simple/six/\n  cause: Connection refused"

    with pytest.raises(ResolutionError) as caught:
        asked("six==1.16.0")

    assert caught.value.message == "the resolver could not work on demo-cu130"


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_bound_of_the_matrix_is_told_with_its_reason_and_no_pin_is_given_up(
    asked: Callable[..., Explanation], uv: FakeResolver
) -> None:
    uv.releases["numpy"] = "2.0.0"
    uv.brings = ("nvidia-cublas==1.0",)
    uv.judge = lambda files: (
        conflict("numpy==3.0.0", "numpy<3")
        if files["constraints.txt"] > "\n" and "numpy==3.0.0" in files["requirements.in"]
        else ""
    )

    found = asked("numpy==3.0.0")

    assert found.refused
    assert found.against == (
        Against("constraint", "numpy<3", "environments.demo-cu130.constrain", "a bound that nobody states", "invented"),
    )
    assert found.nearest is not None
    assert (found.nearest.has, found.nearest.changes, found.tried) == (("numpy==2.0.0",), (), ())
    assert [each[-1] for each in asks(uv)] == ["numpy==3.0.0", "numpy==3.0.0", "numpy<3.0.0"]


def needs_old_six(files: Mapping[str, str]) -> str:
    """iniconfig 2.0.0 asks for an older six than the matrix pins."""
    lines = files["requirements.in"].split()
    if "six==1.17.0" in lines and "iniconfig==2.0.0" in lines:
        return refusal(
            "Because iniconfig==2.0.0 depends on six<1.17 and you require six==1.17.0, we can conclude that your"
            " requirements and iniconfig==2.0.0 are incompatible.",
            "And because you require iniconfig==2.0.0, we can conclude that your requirements are unsatisfiable.",
        )
    return ""


def test_the_pin_that_stands_in_the_way_is_given_up(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.releases["six"] = "1.16.0"
    uv.judge = needs_old_six

    found = asked("iniconfig==2.0.0")

    assert found.refused
    assert found.against == (
        Against("pin", "six==1.17.0", "environments.demo-cu130.require"),
        Against("metadata", "six<1.17", "iniconfig 2.0.0"),
    )
    assert found.nearest is not None
    assert (found.nearest.has, found.nearest.gives_up) == (("iniconfig==2.0.0",), ("six",))
    assert found.nearest.environment.entry.require == ["iniconfig==2.0.0", "six==1.16.0"]
    assert "Because iniconfig==2.0.0 depends on six<1.17" in found.words


def test_of_several_pins_one_is_given_up_where_one_is_enough(
    matrix: Matrix, environment: MatrixEnvironment, uv: FakeResolver
) -> None:
    wide = replace(
        environment,
        entry=msgspec.structs.replace(
            environment.entry, require=["iniconfig==2.1.0", "attrs==25.1.0", "pluggy==1.6.0", "six==1.17.0"]
        ),
    )
    write_lock(wide, demo_lock(wide))
    uv.releases = {"attrs": "24.1.0", "six": "1.16.0", "pluggy": "1.6.0"}
    uv.judge = needs_old_six

    found = explain(matrix, wide, parse_wishes(["iniconfig==2.0.0"]), lambda _: None)

    assert found.nearest is not None
    assert found.nearest.gives_up == ("six",)
    assert found.nearest.environment.entry.require == [
        "iniconfig==2.0.0",
        "attrs==25.1.0",
        "pluggy==1.6.0",
        "six==1.16.0",
    ]
    assert asks(uv)[2:5] == [
        ["iniconfig==2.0.0", "attrs", "pluggy", "six"],
        ["iniconfig==2.0.0", "attrs", "pluggy==1.6.0", "six==1.17.0"],
        ["iniconfig==2.0.0", "attrs==25.1.0", "pluggy==1.6.0", "six"],
    ]


def framework_refuses(files: Mapping[str, str]) -> str:
    """The framework takes flask below 3, whatever else is pinned; so does its next release."""
    lines = [each for each in files["requirements.in"].split() if each.startswith(("flask", "iniconfig"))]
    if "flask==3.1.0" in lines and len(lines) > 1:
        return refusal(
            "Because iniconfig>=2.1.0 depends on flask<3 and you require iniconfig==2.1.0, we can conclude that you"
            " require flask<3.",
            "And because you require flask==3.1.0, we can conclude that your requirements are unsatisfiable.",
        )
    return ""


def test_where_the_framework_refuses_the_nearest_release_is_told(
    asked: Callable[..., Explanation], uv: FakeResolver
) -> None:
    def releases(files: Mapping[str, str]) -> str:
        uv.releases["flask"] = "2.3.0" if "flask<3.1.0" in files["requirements.in"] else "5.0.0"
        return framework_refuses(files)

    uv.judge, uv.releases = releases, {"six": "1.17.0"}

    found = asked("flask==3.1.0")

    assert found.against == (
        Against("pin", "iniconfig==2.1.0", "environments.demo-cu130.require"),
        Against("metadata", "flask<3", "iniconfig 2.1.0"),
    )
    assert found.tried == ("other releases of six", "a later iniconfig than 2.1.0")
    assert found.nearest is not None
    assert found.nearest.has == ("flask==2.3.0",)
    assert [each for each in asks(uv) if "flask==3.1.0" not in each] == [
        ["iniconfig==2.1.0", "six==1.17.0", "flask<3.1.0"],
        ["iniconfig==2.1.0", "six==1.17.0", "flask>3.1.0"],
        ["flask==2.3.0"],  # whether there is a wheel of it
    ]


def test_a_newer_release_that_is_nearer_beats_an_ancient_one(
    asked: Callable[..., Explanation], uv: FakeResolver
) -> None:
    def releases(files: Mapping[str, str]) -> str:
        uv.releases["flask"] = "0.1.0" if "flask<3.1.0" in files["requirements.in"] else "3.1.2"
        return framework_refuses(files)

    uv.judge, uv.releases = releases, {"six": "1.17.0"}

    found = asked("flask==3.1.0")

    assert found.nearest is not None
    assert found.nearest.has == ("flask==3.1.2",)
    lowest = [call for call in uv.calls if "lowest-direct" in call]
    assert len(lowest) == 1


def test_a_torch_of_another_stack_is_tried_on_that_stack(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.judge = lambda files: (
        conflict("torch==2.6.0", "torch==2.11.0")
        if {"torch==2.6.0", "torch==2.11.0"} <= {*files["requirements.in"].split()}
        else ""
    )
    uv.releases = {"six": "1.17.0"}

    found = asked("torch==2.6.0")

    assert found.against == (Against("stack", "torch==2.11.0", "torch_stacks.new", source="invented"),)
    assert found.elsewhere == ("demo-cu124",)
    assert found.nearest is not None
    assert (found.nearest.name, found.nearest.environment.entry.stack) == ("demo-mine-cu124", "old")
    assert found.nearest.environment.entry.require == ["iniconfig==2.1.0", "six==1.17.0"]
    assert Change("torch", "2.11.0", "2.6.0", torch_layer=True) in found.nearest.changes


def test_a_torch_that_no_stack_has(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.judge = lambda files: (
        conflict("torch==2.9.0", "torch==2.11.0") if "torch==2.11.0" in files["requirements.in"] else ""
    )

    found = asked("torch==2.9.0")

    assert (found.nearest, found.tried) == (None, ("another torch stack: none has torch==2.9.0",))
    assert len(uv.calls) == 2


def test_what_an_override_takes_out_is_refused_in_its_name(
    matrix: Matrix, environment: MatrixEnvironment, uv: FakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Constraint(requirement='flask; python_version < "3"', reason="not used", source="invented")
    bent = replace(environment, entry=msgspec.structs.replace(environment.entry, override=[out]))
    write_lock(bent, demo_lock(bent))
    monkeypatch.setattr("tests.fakes.FakeResolver._pin", lambda _, text: "six==1.17.0" if "flask" in text else text)

    found = explain(matrix, bent, parse_wishes(["flask"]), lambda _: None)

    assert found.refused
    assert found.against == (
        Against("override", out.requirement, "environments.demo-cu130.override", "not used", "invented"),
    )
    assert found.nearest is None


def test_a_release_that_there_is_not(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    absent = "there is no version of six==9"
    uv.judge = lambda files: (
        refusal(f"Because {absent} and you require six==9, we can …") if "six==9" in files["requirements.in"] else ""
    )
    uv.releases = {"six": "1.17.0"}

    found = asked("six==9")

    assert found.against == (Against("release", "six==9", "the package index"),)
    assert found.nearest is not None
    assert (found.nearest.has, found.nearest.changes) == (("six==1.17.0",), ())


def test_words_that_nobody_can_read_are_still_a_refusal(asked: Callable[..., Explanation], uv: FakeResolver) -> None:
    uv.refusal = refusal("it is Monday")
    uv.releases = {"six": "1.17.0"}

    found = asked("flask==3.1.0")

    assert found.refused
    assert (found.against, found.nearest) == ((), None)
    assert "it is Monday" in found.words
