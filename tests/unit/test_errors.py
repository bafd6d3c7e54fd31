"""Every kind of error has its exit status, and keeps its parts."""

from __future__ import annotations

from envkit import errors
from envkit.errors import AppError, EnvkitError, NoPlanError


def test_kinds_and_exit_statuses() -> None:
    kinds = [each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, EnvkitError)]

    assert {each.__name__: (each.exit_code, each.kind) for each in kinds} == {
        "EnvkitError": (1, "error"),
        "UsageError": (2, "usage"),
        "MatrixError": (3, "matrix"),
        "NoPlanError": (4, "no-plan"),
        "ResolutionError": (5, "resolution"),
        "StaleLockError": (6, "stale"),
        "BackendError": (7, "backend"),
        "BuildError": (8, "build"),
        "HubError": (9, "hub"),
        "AppError": (1, "app"),
    }


def test_the_reasons_against_every_environment_are_told_one_by_one() -> None:
    error = NoPlanError("nothing fits", rejected=[("a", ("too old", "too small")), ("b", ("too new",))])

    assert error.details == "a: too old\na: too small\nb: too new"


def test_an_app_s_status_is_passed_on_and_is_never_success() -> None:
    assert [AppError("x", status=status).exit_code for status in (7, 137, 0)] == [7, 137, 1]
    assert AppError.exit_code == 1
