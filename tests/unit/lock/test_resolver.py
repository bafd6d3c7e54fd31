"""One pass of uv becomes a lock, and its refusal becomes an error that says what to change."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envkit.errors import ResolutionError
from envkit.lock.resolver import resolve, write_lock
from tests.fakes import FakeResolver, demo_lock

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix, MatrixEnvironment


@pytest.fixture
def environment(matrix: Matrix) -> MatrixEnvironment:
    return matrix.environment("demo-cu130")


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> FakeResolver:
    fake = FakeResolver()
    monkeypatch.setattr("envkit.process.run", fake)
    return fake


def test_the_environment_is_resolved_in_one_pass_and_its_builders_in_another(
    environment: MatrixEnvironment, uv: FakeResolver
) -> None:
    lock = resolve(environment)

    asked, builders = uv.files
    assert asked["requirements.in"].split() == [*environment.entry.require, *environment.stack.pins]
    assert asked["constraints.txt"] == "numpy<3\n"
    assert builders["requirements.in"].split() == ["uv==0.13.8", "wheel==0.46.1"]
    assert builders["constraints.txt"] == ""
    assert sorted(lock.packages) == ["iniconfig", "six", "torch", "torchaudio", "torchvision", "triton"]
    assert [line.split()[0] for line in lock.build.splitlines() if "==" in line] == ["uv==0.13.8", "wheel==0.46.1"]
    assert lock.resolver == "uv 9.9.9"


def test_the_pass_is_for_linux_with_hashes_and_without_addresses(
    environment: MatrixEnvironment, uv: FakeResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_PRERELEASE", "allow")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.example/simple")

    resolve(environment)

    assert uv.calls[0] == [
        "pip", "compile", "requirements.in", "--constraint", "constraints.txt", "--output-file", "requirements.lock",
        "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36",
        "--exclude-newer", "2026-01-01T00:00:00Z",
        "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
    ]  # fmt: skip
    assert uv.calls[1] == uv.calls[0]
    assert uv.environs[0]["UV_DEFAULT_INDEX"] == "https://index.example/simple"
    assert "UV_PRERELEASE" not in uv.environs[0]


def test_an_existing_lock_keeps_its_moment_and_its_versions(environment: MatrixEnvironment, uv: FakeResolver) -> None:
    old = demo_lock(environment)

    assert resolve(environment).exclude_newer == old.exclude_newer
    assert uv.files[0]["requirements.lock"] == old.body


def test_an_upgrade_looks_at_everything_that_is_published_now(environment: MatrixEnvironment, uv: FakeResolver) -> None:
    lock = resolve(environment, upgrade=True)

    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:00:00Z", lock.exclude_newer)
    assert lock.exclude_newer > "2026-01-01T00:00:00Z"
    assert uv.files[0]["requirements.lock"] == ""
    assert uv.calls[0][uv.calls[0].index("--exclude-newer") + 1] == lock.exclude_newer


def test_a_second_resolution_gives_the_same_lock(environment: MatrixEnvironment, uv: FakeResolver) -> None:
    write_lock(environment, resolve(environment))

    assert resolve(environment).text() == resolve(environment).text()


def test_a_refusal_is_shown_in_full_with_what_to_change(environment: MatrixEnvironment, uv: FakeResolver) -> None:
    uv.refusal = """\
Using CPython 3.11.7
warning: the file is old
error: No solution found when resolving dependencies
  cause: Because you require six==1.17.0 and six<1, we can conclude that your requirements are unsatisfiable.
"""

    with pytest.raises(ResolutionError) as caught:
        resolve(environment)

    error = caught.value
    assert error.message == "no set of versions satisfies demo-cu130"
    assert error.details == (
        "error: No solution found when resolving dependencies\n"
        "  cause: Because you require six==1.17.0 and six<1, we can conclude that your requirements are unsatisfiable."
    )
    assert error.hint == (
        "change `require` or `constrain` of demo-cu130 in envmatrix.yaml"
        " (only what was published before 2026-01-01T00:00:00Z counts; `--upgrade` moves that to now)"
    )
    assert error.exit_code == 5


def test_an_index_that_does_not_answer_is_not_blamed_on_the_versions(
    environment: MatrixEnvironment, uv: FakeResolver
) -> None:
    uv.refusal = """\
error: Failed to fetch: http://127.0.0.1:9/simple/six/
  cause: tcp connect error
  cause: Connection refused (os error 111)
"""

    with pytest.raises(ResolutionError) as caught:
        resolve(environment)

    error = caught.value
    assert error.message == "the resolver could not work on demo-cu130"
    assert error.details == uv.refusal.strip()
    assert error.hint == (
        "check the network and the package index; UV_DEFAULT_INDEX chooses another index, which must tell upload times"
    )
