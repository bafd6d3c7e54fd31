"""Where Docker's and NVIDIA's packages are taken from: addresses that were asked, and answered with the right thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import structs

from envkit.bootstrap.choose import Sources
from envkit.bootstrap.knowledge import knowledge
from envkit.host.mirrors import questions
from envkit.host.probes.mirrors import Measured, best, measure
from envkit.matrix.mirrors import addresses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envkit.bootstrap.knowledge import Distribution
    from envkit.host.mirrors import Question
    from envkit.matrix.schema import Mirror

_HUB = "https://registry-1.docker.io"
_REGISTRIES = 3
"""Mirrors of Docker Hub that are written down: the engine asks one after the other."""
_KINDS: tuple[Literal["docker", "toolkit"], ...] = ("docker", "toolkit")


def find_sources(
    distribution: Distribution, first: Mirror | None, others: Iterable[Mirror]
) -> tuple[Sources, dict[str, list[Measured]]]:
    """The best of the addresses, and what became of each, by purpose; takes seconds.

    `first` is the set that was asked for, whose addresses win where they answer; then come the usual ones and `others`.
    """
    named = [first] if first else []
    asked: list[tuple[str, str, Question]] = []
    for kind in _KINDS:
        known = knowledge().repositories[kind]
        question = known.answer[distribution.family]
        path = question.path.format_map(structs.asdict(distribution))
        every = [*addresses(named, f"{kind}_packages"), known.address, *addresses(others, f"{kind}_packages")]
        asked += [(kind, each, structs.replace(question, path=path)) for each in dict.fromkeys(every)]
    hubs = [f"https://{each}" for each in addresses(named, "docker_hub")]
    hubs += [_HUB, *(f"https://{each}" for each in addresses(others, "docker_hub"))]
    asked += [("hub", each, questions().docker_hub) for each in dict.fromkeys(hubs)]
    answers: dict[str, list[Measured]] = {}
    for (purpose, address, _), answer in zip(asked, measure((each[1], each[2]) for each in asked), strict=True):
        answers.setdefault(purpose, []).append(structs.replace(answer, address=address))
    found = {kind: _choose(answers[kind], preferred=bool(named)) for kind in _KINDS}
    return Sources(found["docker"], found["toolkit"], _registries(answers["hub"], preferred=bool(named))), answers


def named_sources(mirror: Mirror | None) -> Sources:
    """The addresses of a set, and the usual ones, without asking any: for another machine."""
    known = knowledge().repositories
    hub = mirror and mirror.docker_hub
    return Sources(
        docker=(mirror and mirror.docker_packages) or known["docker"].address,
        toolkit=(mirror and mirror.toolkit_packages) or known["toolkit"].address,
        registries=(f"https://{hub}",) if hub else (),
    )


def _choose(answers: list[Measured], *, preferred: bool) -> str | None:
    """The first where it was asked for and answers, else the best."""
    if preferred and not answers[0].problem:
        return answers[0].address
    found = best(answers)
    return found.address if found else None


def _registries(answers: list[Measured], *, preferred: bool) -> tuple[str, ...]:
    """Mirrors of Docker Hub that answer: where they were asked for, or where the hub itself does not do."""
    first = _choose(answers, preferred=preferred)
    if first in (None, _HUB):
        return ()
    alive = sorted((each for each in answers if not each.problem), key=lambda each: each.seconds)
    mirrors = [each.address for each in alive if each.address != _HUB]
    if preferred:
        mirrors.sort(key=lambda each: each != first)  # the rest keeps its order
    return tuple(mirrors[:_REGISTRIES])
