"""A fault of an environment: what `envkit doctor` tells as a finding, and `envkit verify` as a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.finding import SEVERITIES, Finding, Words, read_words, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from packaging.requirements import Requirement

    from envkit.audit.known import Known
    from envkit.audit.seen import Seen
    from envkit.host.facts import HostFacts
    from envkit.matrix.schema import Driver, TorchStack


@dataclass(frozen=True)
class Subject:
    """What is judged, and what it is judged by."""

    seen: Seen
    known: Known
    stacks: tuple[TorchStack, ...] = ()
    """Torches and companions that are known to go together."""
    deliberate: tuple[Requirement, ...] = ()
    """What takes the place of packages' own words on purpose; one whose marker is never true leaves a package out."""
    facts: HostFacts | None = None
    """Of the machine that the environment is to run on."""
    drivers: Mapping[str, Driver] = field(default_factory=dict)
    """By CUDA major version."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong."""

    id: str
    about: str
    """A package or a library: faults of one id about one thing are told together."""
    values: Mapping[str, str]
    """What the words of that id name."""

    @property
    def line(self) -> str:
        """What was seen, in one sentence."""
        return words()[self.id].evidence.format_map(self.values)


@cache
def words() -> dict[str, Words]:
    """The words of every fault, by id."""
    return read_words(Path(__file__).with_name("findings.yaml"))


def tell(faults: Iterable[Fault]) -> list[Finding]:
    """The faults as findings, errors first."""
    together: dict[tuple[str, str], list[Fault]] = {}
    for each in faults:
        together.setdefault((each.id, each.about), []).append(each)
    findings = [
        told(name, words()[name], *(each.values for each in several)) for (name, _), several in together.items()
    ]
    return sorted(findings, key=lambda each: SEVERITIES.index(each.severity))
