"""What can be wrong with a machine: small pure checks over its facts, in the order in which causes come before effects."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from envkit.errors import NoPlanError
from envkit.host.facts import Engine, HostFacts, KernelDriver, System, Toolkit
from envkit.matrix.plan import Plan, make_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from envkit.matrix.load import Matrix

    Seen = Iterator[Mapping[str, str]]
    """For each finding, the values that its words name."""


@dataclass(frozen=True)
class Machine:
    """What checks look at: a machine's facts, and what the frameworks ask of it."""

    facts: HostFacts
    matrix: Matrix
    frameworks: tuple[str, ...]
    """Those that the user wants to run here."""

    @property
    def system(self) -> System:
        """The operating system; all unknown where nobody looked."""
        return self.facts.system or System()

    @property
    def kernel(self) -> KernelDriver:
        """The driver's part in the kernel."""
        return self.facts.kernel_driver or KernelDriver()

    @property
    def toolkit(self) -> Toolkit:
        """The NVIDIA Container Toolkit."""
        return self.facts.toolkit or Toolkit()

    @property
    def docker(self) -> Engine | None:
        """The Docker engine, where it can be used."""
        return self.facts.engine if self.facts.engine and self.facts.engine.state == "usable" else None

    @property
    def podman(self) -> Engine | None:
        """Podman, where it can be used."""
        return self.facts.podman if self.facts.podman and self.facts.podman.state == "usable" else None

    @property
    def runs_venvs(self) -> bool:
        """Whether environments run as venvs unless the user says otherwise: the engines are known to be of no use."""
        known = self.facts.engine is not None and self.facts.podman is not None
        return known and self.docker is None and self.podman is None

    @cached_property
    def plans(self) -> dict[str, Plan | NoPlanError]:
        """For each framework, its plan or why it has none."""
        made: dict[str, Plan | NoPlanError] = {}
        for framework in self.frameworks:
            try:
                made[framework] = make_plan(self.matrix, framework, self.facts)
            except NoPlanError as error:
                made[framework] = error
        return made

    @property
    def planned(self) -> list[Plan]:
        """The plans that there are."""
        return [each for each in self.plans.values() if isinstance(each, Plan)]


@dataclass(frozen=True)
class Check:
    """One thing that can be wrong."""

    id: str
    look: Callable[[Machine], Seen]
    after: frozenset[str]
    """Findings that explain this one: where one of them was made, this is not looked for."""


REGISTRY: dict[str, Check] = {}


def check(
    name: str, *, after: set[str] | None = None
) -> Callable[[Callable[[Machine], Seen]], Callable[[Machine], Seen]]:
    """Registers a check under the id of its finding; a check yields nothing when it does not know."""

    def register(look: Callable[[Machine], Seen]) -> Callable[[Machine], Seen]:
        REGISTRY[name] = Check(name, look, frozenset(after or ()))
        return look

    return register
