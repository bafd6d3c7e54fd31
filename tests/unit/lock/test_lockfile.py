"""Locks are written, read back, split, and refused when a hand or the matrix has changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from envkit.errors import StaleLockError
from envkit.lock.lockfile import (
    constraints,
    inputs_hash,
    load_lock,
    lock_path,
    python_platform,
    read_lock,
    requirements,
)
from envkit.lock.resolver import write_lock
from envkit.matrix.load import Matrix, MatrixEnvironment, load_matrix
from envkit.matrix.schema import Constraint
from tests.fakes import demo_lock, with_toolkit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def environment(matrix: Matrix) -> MatrixEnvironment:
    """An environment with a fresh lock."""
    return matrix.environment("demo-cu130")


def refusal(environment: MatrixEnvironment) -> StaleLockError:
    with pytest.raises(StaleLockError) as caught:
        read_lock(environment)
    assert caught.value.exit_code == 6
    return caught.value


# Reading and writing --------------------------------------------------------------------------------------------------


def test_a_lock_comes_back_as_it_was_written(environment: MatrixEnvironment) -> None:
    assert read_lock(environment) == demo_lock(environment)


def test_a_lock_s_file(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)

    assert lock_path(environment).read_text() == (
        "# Made by `envkit lock demo-cu130` from envmatrix.yaml; change that.\n"
        "# environment: demo-cu130\n"
        f"# inputs: {inputs_hash(environment)}\n"
        f"# packages: {hashlib.sha256(lock.body.encode()).hexdigest()}\n"
        f"# build: {hashlib.sha256(lock.build.encode()).hexdigest()}\n"
        "# exclude-newer: 2026-01-01T00:00:00Z\n"
        "# resolver: uv 0.0.0\n"
        f"{lock.body}"
    )


def test_a_lock_knows_its_packages(environment: MatrixEnvironment) -> None:
    assert demo_lock(environment).packages == {
        "iniconfig": "2.1.0",
        "numpy": "2.0.0",
        "nvidia-cublas": "1.0",
        "six": "1.17.0",
        "torch": "2.11.0",
        "torchaudio": "2.11.0",
        "torchvision": "0.26.0",
        "triton": "3.6.0",
    }


def test_the_identity_of_a_lock_is_its_packages_and_not_its_header(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)

    assert replace(lock, exclude_newer="2027-01-01T00:00:00Z", resolver="uv 9", build="").sha256 == lock.sha256
    assert replace(lock, body=lock.body.replace("six==1.17.0", "six==1.16.0")).sha256 != lock.sha256


def test_the_torch_layer_is_exactly_entries_of_the_lock(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)
    torch = (environment.folder / "torch.lock").read_text()

    assert [line.split()[0] for line in torch.splitlines() if "==" in line] == [
        "nvidia-cublas==1.0",
        "torch==2.11.0",
        "torchaudio==2.11.0",
        "torchvision==0.26.0",
        "triton==3.6.0",
    ]
    rest = lock.subset(("iniconfig", "six", "numpy"))
    assert sorted((torch + rest).splitlines()) == sorted(lock.body.splitlines())


def test_a_pattern_matches_a_whole_name(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)

    assert lock.subset(("tor",)) == ""
    assert lock.subset(("torch",)).splitlines()[0] == "torch==2.11.0 \\"
    assert lock.subset(("*",)) == lock.body


def test_a_pattern_can_take_packages_out_again(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)

    kept = lock.subset(("*", "!torch*", "torch"))
    assert [line.split("==")[0] for line in kept.splitlines() if "==" in line] == [
        "iniconfig",
        "numpy",
        "nvidia-cublas",
        "six",
        "torch",
        "triton",
    ]
    assert lock.subset(("!torch",)) == ""


def test_what_is_compiled_beforehand_has_files_of_its_own(environment: MatrixEnvironment) -> None:
    environment = with_toolkit(environment)
    lock = demo_lock(environment)
    write_lock(environment, lock)

    files = lock.compiled(environment)

    assert {name: [line.split()[0] for line in text.splitlines()[::2]] for name, text in files.items()} == {
        "six.lock": ["six==1.17.0"],
        "six-build.lock": ["numpy==2.0.0"],
    }
    assert {name: (environment.folder / name).read_text() for name in files} == files


def test_a_toolkit_is_part_of_a_lock_s_inputs(environment: MatrixEnvironment) -> None:
    tooled = with_toolkit(environment)

    assert requirements(tooled) == requirements(environment) + "nvidia-nvcc==13.0.88\nsix-needs\n"
    other = replace(tooled, entry=_with(tooled.entry, require=["iniconfig==2.1.0"]))
    assert "six-needs" not in requirements(other)
    assert inputs_hash(tooled) != inputs_hash(environment)


def test_what_builds_the_packages_is_kept_beside_them(environment: MatrixEnvironment) -> None:
    assert (environment.folder / "build.lock").read_text() == demo_lock(environment).build


# Refusals -------------------------------------------------------------------------------------------------------------


def test_a_missing_lock(environment: MatrixEnvironment) -> None:
    lock_path(environment).unlink()

    error = refusal(environment)

    assert load_lock(environment) is None
    assert error.message == f"demo-cu130 has no lock: {lock_path(environment)}"
    assert error.hint == "run `envkit lock demo-cu130`"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("six==1.17.0", "six==1.16.0"),
        ("--hash=sha256:0", "--hash=sha256:1"),
        ("numpy==2.0.0", "# numpy==2.0.0"),
        ("triton==", "extra==1.0\ntriton=="),
    ],
)
def test_a_lock_that_was_edited_by_hand(environment: MatrixEnvironment, old: str, new: str) -> None:
    path = lock_path(environment)
    path.write_text(path.read_text().replace(old, new))
    body = path.read_text().split("# resolver: uv 0.0.0\n")[1]

    error = refusal(environment)

    assert error.message == f"a lock was edited by hand: {path}"
    assert error.details == (
        f"it hashes to         {hashlib.sha256(body.encode()).hexdigest()}\n"
        f"its header expects   {demo_lock(environment).sha256}"
    )
    assert error.hint == (
        f"put the change into envmatrix.yaml; `rm {path}` and `envkit lock demo-cu130` make the lock again"
    )


@pytest.mark.parametrize("change", ["edit", "remove"])
def test_a_build_lock_that_was_edited_by_hand(environment: MatrixEnvironment, change: str) -> None:
    path = environment.folder / "build.lock"
    if change == "edit":
        path.write_text(path.read_text().replace("wheel==", "wheel==9."))
    else:
        path.unlink()

    assert refusal(environment).message == f"a lock was edited by hand: {path}"


@pytest.mark.parametrize(("key", "named"), [("# packages: ", "packages"), ("# exclude-newer: ", "exclude-newer")])
def test_a_lock_without_its_header(environment: MatrixEnvironment, key: str, named: str) -> None:
    path = lock_path(environment)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if not line.startswith(key)))

    error = refusal(environment)

    assert (error.message, error.details) == (f"not a lock of envkit: {path}", f"its header lacks: {named}")


def test_a_file_that_is_no_lock_at_all(environment: MatrixEnvironment) -> None:
    lock_path(environment).write_text("six==1.17.0\n")

    assert refusal(environment).details == "its header lacks: build, exclude-newer, inputs, packages, resolver"


# Freshness ------------------------------------------------------------------------------------------------------------


def test_a_lock_is_stale_after_the_matrix_has_changed(share: Path, environment: MatrixEnvironment) -> None:
    file = share / "envmatrix.yaml"
    file.write_text(file.read_text().replace("[iniconfig==2.1.0, six==1.17.0]", "[iniconfig==2.1.0, six==1.16.0]"))
    changed = load_matrix().environment("demo-cu130")

    error = refusal(changed)

    assert error.message == (
        f"the lock of demo-cu130 does not follow from envmatrix.yaml any more: {lock_path(environment)}"
    )
    assert error.hint == "run `envkit lock demo-cu130`"
    assert load_lock(changed) == demo_lock(environment)  # it is what the next resolution starts from


def test_everything_that_decides_a_lock_is_part_of_its_inputs(environment: MatrixEnvironment) -> None:
    entry, stack, base = environment.entry, environment.stack, environment.base
    bound = Constraint(requirement="six<2", reason="invented", source="invented")
    changes = [
        environment,
        replace(environment, entry=_with(entry, require=["iniconfig==2.1.0"])),
        replace(environment, entry=_with(entry, constrain=[])),
        replace(environment, entry=_with(entry, constrain=[*entry.constrain, bound])),
        replace(environment, entry=_with(entry, python="3.12")),
        replace(environment, stack=_with(stack, torchaudio="2.10.0")),
        replace(environment, base=_with(base, glibc="2.28")),
        replace(environment, build_requires=("uv==0.13.8",)),
        replace(environment, entry=_with(entry, build_settings={"six": ["cmake.define.NATIVE=OFF"]})),
    ]

    assert len({inputs_hash(each) for each in changes}) == len(changes)


def test_what_does_not_decide_a_lock_is_no_part_of_its_inputs(environment: MatrixEnvironment) -> None:
    entry, base = environment.entry, environment.base
    reasoned = [_with(each, reason="a better one") for each in entry.constrain]
    same = [
        replace(environment, entry=_with(entry, note="for old drivers", constrain=reasoned)),
        replace(environment, base=_with(base, name="ubuntu:24.04", digest="sha256:0", system_packages=[])),
        replace(environment, build_requires=environment.build_requires[::-1]),
        replace(environment, torch_layer=("torch",)),
    ]

    assert {inputs_hash(each) for each in same} == {inputs_hash(environment)}


def _with(value: object, **changes: object) -> object:
    import msgspec

    return msgspec.structs.replace(value, **changes)


# What the resolver is asked for ---------------------------------------------------------------------------------------


def test_what_the_resolver_is_asked_for(environment: MatrixEnvironment) -> None:
    assert requirements(environment).splitlines() == [
        "iniconfig==2.1.0",
        "six==1.17.0",
        "torch==2.11.0",
        "torchvision==0.26.0",
        "torchaudio==2.11.0",
        "triton==3.6.0",
    ]
    assert constraints(environment) == "numpy<3\n"
    assert python_platform(environment) == "x86_64-manylinux_2_36"


def test_a_lock_written_twice_is_the_same_bytes(environment: MatrixEnvironment) -> None:
    before = {each.name: each.read_bytes() for each in environment.folder.iterdir()}
    write_lock(environment, read_lock(environment))

    assert {each.name: each.read_bytes() for each in environment.folder.iterdir()} == before
    assert sorted(before) == ["build.lock", "requirements.lock", "torch.lock"]
