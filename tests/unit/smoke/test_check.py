"""What several checks come to, and what of them is evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import pytest

from envkit.audit.check import Result
from envkit.smoke.check import Check, Report, evidence_of, judged, result_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def checks(**results: Result) -> list[Check]:
    return [Check(name=name, result=result, detail="said") for name, result in results.items()]


@pytest.mark.parametrize(
    ("found", "asked", "result"),
    [
        (checks(a="pass", b="pass"), [], "pass"),
        (checks(a="pass", b="skip"), [], "pass"),
        (checks(a="pass", b="skip"), ["b"], "fail"),
        (checks(a="pass", b="skip"), ["a", "b"], "fail"),
        (checks(a="error", b="skip"), ["b"], "error"),
        (checks(a="fail", b="skip"), [], "fail"),
        (checks(a="fail", b="error"), [], "error"),
        (checks(a="skip"), [], "skip"),
        ([], [], "skip"),
    ],
)
def test_nothing_passes_that_was_not_seen(found: Sequence[Check], asked: Sequence[str], result: Result) -> None:
    assert result_of(found, asked) == result
    assert result in get_args(Result)


def test_one_fault_is_the_detail_and_more_are_counted() -> None:
    assert judged("a", [], "well") == Check(name="a", result="pass", detail="well")
    assert judged("a", ["x"], "well") == Check(name="a", result="fail", detail="x", faults=("x",))
    assert judged("a", ["x", "y"], "well").detail == "x (and 1 more)"


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_jobs_are_evidence_of_the_device_s_level(device: str) -> None:
    found = [*checks(**{"import": "pass", "cli": "pass", "webui": "skip", "dpo": "fail", "export": "pass"})]
    report = Report(
        environment="demo", backend="venv", device=device, machine="Debian", checks=tuple(found), result="fail"
    )

    seen = evidence_of(report, date="2026-11-21")

    assert [(each.level, each.job, each.result, each.detail) for each in seen] == [
        (device, "dpo", "fail", "said"),
        (device, "export", "pass", ""),
    ]
    assert {(each.backend, each.machine, each.date) for each in seen} == {("venv", "Debian", "2026-11-21")}
