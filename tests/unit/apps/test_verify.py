"""What a look at an environment is worth as evidence."""

from __future__ import annotations

import pytest

from envkit.apps.verify import LEVELS, Report, evidence_of
from envkit.audit.check import Check, CheckName, Result, overall


def report(**results: Result) -> Report:
    names: list[CheckName] = [name for names in LEVELS.values() for name in names]
    checks = tuple(Check(name, results.get(name, "pass"), f"{name} was looked at") for name in names)
    return Report("demo-cu130", "venv", "cpu", checks, overall(checks))


def test_each_level_is_seen() -> None:
    seen = evidence_of(report(), machine="Debian 12", date="2026-11-21")

    assert [(each.level, each.result, each.detail) for each in seen] == [
        ("installed", "pass", ""),
        ("linked", "pass", ""),
        ("imports", "pass", ""),
    ]


@pytest.mark.parametrize("result", ["fail", "error"])
def test_a_level_is_no_better_than_the_worst_of_its_checks(result: Result) -> None:
    seen = evidence_of(report(companions=result), machine="Debian 12", date="2026-11-21")

    assert [(each.level, each.result) for each in seen] == [
        ("installed", "pass"),
        ("linked", result),
        ("imports", "pass"),
    ]
    assert seen[1].detail == "companions: companions was looked at"


def test_of_a_level_with_a_check_that_could_not_be_made_nothing_was_seen() -> None:
    seen = evidence_of(report(cli="skip"), machine="Debian 12", date="2026-11-21")

    assert [each.level for each in seen] == ["installed", "linked"]


def test_a_fault_beside_a_check_that_could_not_be_made_is_told() -> None:
    seen = evidence_of(report(imports="fail", cli="skip"), machine="Debian 12", date="2026-11-21")

    assert (seen[2].level, seen[2].result) == ("imports", "fail")
