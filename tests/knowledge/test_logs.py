"""Logs as users posted them: the cause of each comes first, and a log without one gets no diagnosis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from envkit.diagnose.knowledge import known
from envkit.diagnose.match import diagnose

LOGS = yaml.safe_load(Path(__file__).with_name("logs.yaml").read_text(encoding="utf-8"))
FAILED = [
    pytest.param(log["log"], set(log["accept"]), id=f"{batch}-{number}-{log['accept'][0]}")
    for batch, each in enumerate(LOGS["batches"], 1)
    for number, log in enumerate(each["logs"], 1)
]


@pytest.mark.parametrize(("log", "accepted"), FAILED)
def test_the_cause_of_a_failure_comes_first(log: str, accepted: set[str]) -> None:
    told = [each.id for each in diagnose([log.encode()]).diagnoses] or ["unknown"]

    assert told[0] in accepted


@pytest.mark.parametrize("log", [pytest.param(each["log"], id=each["of"]) for each in LOGS["healthy"]])
def test_nothing_is_told_of_a_log_without_a_failure(log: str) -> None:
    assert [each.id for each in diagnose([log.encode()]).diagnoses] == []


def test_what_is_accepted_exists() -> None:
    ids = {each.id for each in known()} | {"unknown"}
    every: list[dict[str, Any]] = [log for batch in LOGS["batches"] for log in batch["logs"]]

    assert {each for log in every for each in log["accept"]} - ids == set()
    assert all(log["source"].startswith("https://") or log["source"] == "invented" for log in every)
    assert all(0 <= batch["first"] <= len(batch["logs"]) for batch in LOGS["batches"])
