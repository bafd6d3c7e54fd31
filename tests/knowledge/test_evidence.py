"""The evidence that is committed: written by envkit, of machines that are not named, and of jobs that are explained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envkit.evidence import Evidence, evidence_path, evidence_text, load_evidence
from envkit.lock.lockfile import read_lock
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import MatrixEnvironment

PAGES = [REPOSITORY / "docs/environments.md", REPOSITORY / "README.zh-CN.md"]


@pytest.fixture
def evidence(environment: MatrixEnvironment) -> Evidence:
    return load_evidence(environment, read_lock(environment))


def test_it_is_as_envkit_writes_it(environment: MatrixEnvironment, evidence: Evidence) -> None:
    if evidence.seen:
        assert evidence_path(environment).read_text(encoding="utf-8") == evidence_text(evidence)


def test_no_machine_is_named(evidence: Evidence) -> None:
    for seen in evidence.seen:
        assert not re.search(r"(^|\s)[/~]|@|://|\d+\.\d+\.\d+\.\d+", seen.machine)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_job_is_explained(path: Path, evidence: Evidence) -> None:
    levels = re.findall(r"(?m)^\| `(?:cpu|gpu)` \|.*$", path.read_text(encoding="utf-8"))

    assert len(levels) == 2
    assert {each.job for each in evidence.seen if each.job} <= set(re.findall(r"`([a-z0-9-]+)`", levels[0]))
