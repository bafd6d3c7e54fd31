"""All checks over a machine: the order, and what a finding explains away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.doctor.checks import Check, Machine
from envkit.doctor.finding import Finding, all_words
from envkit.doctor.report import Report, examine
from envkit.host.facts import HostFacts
from tests.unit.doctor.triggers import GOOD, HOST, TRIGGERS, silent, with_

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.matrix.load import Matrix


def finds(name: str, after: set[str]) -> Check:
    def look(machine: Machine) -> Iterator[Mapping[str, str]]:
        yield {}

    return Check(name, look, frozenset(after))


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three checks that always find something; the last one would follow from the first or the second."""
    after: dict[str, set[str]] = {
        "nvml-no-permission": set(),
        "gpu-lost": {"nvml-no-permission"},
        "uvm-missing": {"gpu-lost"},
    }
    monkeypatch.setattr("envkit.doctor.report.REGISTRY", {name: finds(name, each) for name, each in after.items()})
    monkeypatch.setattr(
        "envkit.doctor.report.tell",
        lambda name, _: Finding(name, all_words()[name].severity, "", "", "", (), (), ""),
    )


def test_a_finding_silences_what_it_explains_and_a_check_that_was_not_made_silences_nothing(
    matrix: Matrix, three: None
) -> None:
    report = examine(Machine(HostFacts(), matrix, ()))

    assert [each.id for each in report.findings] == ["nvml-no-permission", "uvm-missing"]
    assert report.skipped == (("gpu-lost", "nvml-no-permission"),)


def test_errors_go_first_then_warnings_then_notes_each_in_the_order_of_the_checks(matrix: Matrix) -> None:
    facts = with_(
        driver="550.54.14",
        system=HOST,
        kernel_driver=None,
        engine=None,
        endpoints=next(each.facts.endpoints for each in TRIGGERS if each.id == "index-unreachable"),
        unknown={"docker": "no answer within 3 s", "podman": "no answer within 3 s"},
    )
    report = examine(Machine(facts, matrix, ("demo",)))

    assert [(each.severity, each.id, each.title) for each in report.findings] == [
        ("error", "index-unreachable", "the package index does not answer"),
        ("warning", "probe-silent", "docker could not be looked at"),
        ("warning", "probe-silent", "podman could not be looked at"),
        ("note", "driver-holds-back", "a newer driver would allow demo-cu130"),
    ]


def test_a_missing_driver_leaves_nothing_to_be_said_of_gpus(matrix: Matrix) -> None:
    report = examine(Machine(silent("LIBRARY_NOT_FOUND"), matrix, ("demo",)))

    assert [each.id for each in report.findings] == ["driver-missing"]
    assert {because for _, because in report.skipped} == {"driver-missing"}
    assert {"driver-too-old", "uvm-missing", "toolkit-missing", "cdi-stale", "gpus-lost-on-reload"} <= {
        name for name, _ in report.skipped
    }


@pytest.mark.parametrize("severity", ["error", "warning", "note"])
def test_a_report_is_ok_unless_there_is_an_error(severity: str) -> None:
    names = {words.severity: name for name, words in all_words().items()}
    finding = Finding(names[severity], severity, "", "", "", (), (), "")  # type: ignore[arg-type]

    assert Report((finding,), ()).ok is (severity != "error")
    assert Report((), ()).ok is True


def test_the_same_machine_gives_the_same_report(matrix: Matrix) -> None:
    assert examine(Machine(GOOD, matrix, ("demo",))) == examine(Machine(GOOD, matrix, ("demo",)))
