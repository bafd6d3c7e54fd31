"""Whole machines, recorded or described: what each framework gets there, and what doctor finds.

`tests/hosts/<machine>/facts.json` is what `envkit doctor --record` writes; `expected.yaml` beside it says where the facts
are from and what is made of them. `--update-golden` writes what envkit makes of them today.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import pytest
import yaml
from msgspec import Struct, field

from envkit.cli import main
from envkit.doctor.checks import Machine
from envkit.doctor.record import anonymise
from envkit.doctor.report import examine
from envkit.errors import NoPlanError
from envkit.host.facts import HostFacts
from envkit.matrix.plan import make_plan
from tests.conftest import TESTS

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix

HOSTS = sorted(each for each in (TESTS / "hosts").iterdir() if each.is_dir())


class Expected(Struct, frozen=True, forbid_unknown_fields=True):
    """What envkit is to make of a machine."""

    origin: Literal["recorded", "described"]
    """Written by --record on such a machine, or by hand from documents."""
    from_: str = field(name="from")
    """Which machine, or which documents."""
    plans: dict[str, str]
    """For each framework its environment, `cpu`, or `refused: ` with the reason."""
    findings: dict[str, str]
    """Ids with their severity, in the order that they are told in."""


def facts_of(host: Path) -> HostFacts:
    return msgspec.json.decode((host / "facts.json").read_bytes(), type=HostFacts)


def expected_of(host: Path) -> Expected:
    return msgspec.convert(yaml.safe_load((host / "expected.yaml").read_text(encoding="utf-8")), Expected)


def plan_of(matrix: Matrix, framework: str, facts: HostFacts) -> str:
    try:
        plan = make_plan(matrix, framework, facts)
    except NoPlanError as error:
        return f"refused: {error.message}"
    return "cpu" if plan.device == "cpu" else plan.environment.name


def call(*argv: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    """Exit status and JSON of a call of the command line, on the shipped matrix alone."""
    monkeypatch.setattr("sys.argv", ["envkit", *argv, "--json", "--matrix", os.devnull])
    monkeypatch.setattr(sys.modules["__main__"], "__package__", None)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_machine_gets_the_plans_and_the_findings_that_are_expected(
    host: Path,
    shipped: Matrix,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    facts = facts_of(host)
    plans = {framework: plan_of(shipped, framework, facts) for framework in sorted(shipped.frameworks)}

    status, told = call("doctor", "--facts", str(host / "facts.json"), monkeypatch=monkeypatch, capsys=capsys)
    findings = {each["id"]: each["severity"] for each in told["findings"]}
    if request.config.getoption("--update-golden"):
        made = msgspec.to_builtins(msgspec.structs.replace(expected_of(host), plans=plans, findings=findings))
        (host / "expected.yaml").write_text(yaml.safe_dump(made, sort_keys=False, width=118, allow_unicode=True))

    expected = expected_of(host)
    assert plans == expected.plans
    assert list(findings.items()) == list(expected.findings.items())
    assert len(told["findings"]) == len(findings)
    assert status == (1 if "error" in findings.values() else 0)
    assert told["ok"] is (status == 0)


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_facts_are_whole_and_tell_of_nobody(host: Path) -> None:
    """As --record writes them: every field of this release, and nothing that it would take out."""
    text = (host / "facts.json").read_bytes()
    facts = facts_of(host)

    assert text == msgspec.json.format(msgspec.json.encode(facts), indent=2) + b"\n"
    assert anonymise(facts, users={"root", "user"}, host="host", home="/root", public={"huggingface.co"}) == facts


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_a_record_of_a_machine_gives_the_same_findings(host: Path, shipped: Matrix) -> None:
    facts, frameworks = facts_of(host), tuple(shipped.frameworks)
    recorded = anonymise(facts, users={"nvidia", "engine"}, host="docker", home="/var", public=())
    told = [[each.id for each in examine(Machine(each, shipped, frameworks)).findings] for each in (facts, recorded)]

    assert told[0] == told[1]


def test_the_machines_are_many_and_one_is_real() -> None:
    expected = {host.name: expected_of(host) for host in HOSTS}

    assert len(expected) >= 16
    assert "recorded" in {each.origin for each in expected.values()}
    assert all(len(each.from_) > 20 for each in expected.values())
    assert any(not each.findings for each in expected.values())
