"""What is found in environments, what is not, and what a finding says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from envkit.audit.companions import built_with
from envkit.audit.examine import faults_of
from envkit.audit.fault import Subject, tell, words
from tests.unit.audit.made import fault, with_versions
from tests.unit.audit.triggers import FLASH, NCCL, OLD_BITS, SOUND, TRIGGERS, Trigger, but, on, with_seen


def found(subject: Subject) -> list[str]:
    return [each.id for each in tell(faults_of(subject))]


def test_a_sound_environment_has_no_finding() -> None:
    assert found(SOUND) == []
    assert found(on(SOUND)) == []


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_a_fault_is_found_with_its_evidence_and_the_error_that_it_becomes(trigger: Trigger) -> None:
    told = [each for each in tell(faults_of(trigger.subject)) if each.id == trigger.id]

    assert [(each.evidence, each.otherwise) for each in told] == [(trigger.evidence, trigger.otherwise)]
    assert not trigger.fix or trigger.fix in told[0].fix
    assert "{" not in " ".join([told[0].title, *told[0].fix])


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_what_looks_alike_is_not_taken_for_it(trigger: Trigger) -> None:
    assert [number for number, each in enumerate(trigger.fine) if trigger.id in found(each)] == []


def test_errors_go_first() -> None:
    both = with_seen(with_versions(nvidia_nccl_cu12="2.27.3"), linking=(NCCL,))

    assert [each.severity for each in tell(faults_of(both))] == ["error", "warning"]


def test_the_way_out_is_offered_where_the_near_library_finds_what_it_needs() -> None:
    """A torch for CUDA 12.9 and a bitsandbytes that has 12.8."""
    there = with_seen(
        with_versions(bitsandbytes="0.45.5", nvidia_cudnn_cu13=None),
        members=OLD_BITS,
        cuda={"torch": "12.9"},
        sonames={},
        requires={},
    )
    alone = "`pip install -U bitsandbytes`; another release may carry it"
    near = "or `export BNB_CUDA_VERSION=128`: libbitsandbytes_cuda128.so is there, and finds what it needs"

    (told,) = tell(faults_of(there))
    assert told.fix == (alone, near)

    broken = fault("bitsandbytes/libbitsandbytes_cuda128.so", "missing", "libcusparse.so.12")
    without = replace(there, seen=structs.replace(there.seen, linking=(broken,), members=OLD_BITS[:2] + OLD_BITS[3:]))
    assert [each.fix for each in tell(faults_of(without))] == [(alone,)]


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("flash-attn", {"wheels": {"flash-attn": FLASH}}, ("2.8", "12")),
        ("flash-attn", {"distributions": (("flash-attn", "2.8.3+cu12torch2.8cxx11abifalse"),)}, ("2.8", "12")),
        ("vllm", {"distributions": (("vllm", "0.11.0+cu129"),)}, ("", "12.9")),
        ("auto-gptq", {"distributions": (("auto-gptq", "0.7.1+cu121"),)}, ("", "12.1")),
        ("xformers", {"stated": {"xformers": {"torch": "2.10.0+cu128", "cuda": "1208"}}}, ("2.10.0", "12.8")),
        ("demo", {"distributions": (("demo", "1.0+gitcu12345"),)}, ("", "")),
        ("demo", {}, ("", "")),
    ],
)
def test_what_a_package_was_built_with_is_read_where_it_says_so(
    name: str, changes: dict[str, object], expected: tuple[str, str]
) -> None:
    assert built_with(but(**changes), name) == expected


def test_every_finding_has_a_trigger() -> None:
    assert sorted({each.id for each in TRIGGERS}) == sorted(words())
