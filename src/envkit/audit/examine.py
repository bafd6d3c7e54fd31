"""Everything that is wrong with an environment, and what explains what; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from envkit.audit.companions import built_with, companion_faults
from envkit.audit.fault import Fault, Subject, tell
from envkit.audit.files import file_faults
from envkit.audit.known import known
from envkit.audit.linking import linking_faults
from envkit.audit.machine import machine_faults
from envkit.audit.requirements import requirement_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.audit.seen import Seen
    from envkit.finding import Finding
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix


_SAID_LATER = ("companion-of-another-cuda", "companion-of-a-near-cuda")
"""What a package says once its libraries are loaded."""


def examine(seen: Seen, matrix: Matrix, facts: HostFacts | None = None) -> list[Finding]:
    """The findings, errors first; with the facts of the machine that it is to run on, also what that one says to it."""
    subject = Subject(
        seen,
        known(),
        stacks=tuple(matrix.file.torch_stacks.values()),
        deliberate=_deliberate(seen, matrix),
        facts=facts,
        drivers=matrix.file.drivers,
    )
    return tell(faults_of(subject))


def faults_of(subject: Subject) -> list[Fault]:
    """All faults, without those that follow from another one."""
    linking = list(linking_faults(subject))
    torn = {each.about for each in linking if each.id in ("built-for-another-torch", "built-for-another-cuda")}
    requirements = [each for each in requirement_faults(subject) if not _explained(each, torn)]
    return [
        *machine_faults(subject),
        *(each for each in companion_faults(subject) if not (each.id in _SAID_LATER and each.about in torn)),
        *linking,
        *_built_with_another_torch(subject, torn),
        *requirements,
        *file_faults(subject),
    ]


def _explained(fault: Fault, torn: set[str]) -> bool:
    """Whether libraries that do not load say the same, and more of it."""
    return fault.id == "requirement-contradicted" and fault.values["name"] == "torch" and fault.values["by"] in torn


def _built_with_another_torch(subject: Subject, torn: set[str]) -> Iterator[Fault]:
    """Packages that say so themselves, and load all the same."""
    seen = subject.seen
    torch, cuda = seen.versions.get("torch", "").partition("+")[0], seen.torch_cuda
    for name in sorted({*seen.stated, *(each for each, _ in seen.distributions)} - torn - set(seen.cuda)):
        own, own_cuda = built_with(subject, name)
        same_torch = not own or not torch or torch.startswith(f"{own}.") or torch == own
        same_cuda = not own_cuda or not cuda or own_cuda.partition(".")[0] == cuda.partition(".")[0]
        if name in seen.versions and torch and not (same_torch and same_cuda):
            said = [f"torch {own}" if own else "", f"CUDA {own_cuda}" if own_cuda else ""]
            values = {
                "name": name,
                "version": seen.versions[name],
                "own": " and ".join(filter(None, said)),
                "torch": torch,
                "cuda": cuda or "none",
            }
            yield Fault("built-with-another-torch", name, values)


def _deliberate(seen: Seen, matrix: Matrix) -> tuple[Requirement, ...]:
    """What the matrix puts in place of packages' own words in environments of the framework that is there."""
    versions = seen.versions
    found = {
        each.requirement: Requirement(each.requirement)
        for environment in matrix.environments()
        if versions.get(canonicalize_name(environment.package)) == environment.version
        for each in environment.entry.override
    }
    return tuple(found.values())
