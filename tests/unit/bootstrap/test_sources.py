"""Which of the addresses that answered are written into a configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from envkit.bootstrap.choose import Sources
from envkit.bootstrap.knowledge import knowledge
from envkit.bootstrap.sources import find_sources, named_sources
from envkit.host.probes.mirrors import Measured
from envkit.matrix.schema import Mirror

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from envkit.host.mirrors import Question

DOCKER = "https://download.docker.com"
TOOLKIT = "https://nvidia.github.io/libnvidia-container"
HUB = "https://registry-1.docker.io"
NEAR = Mirror(
    about="near",
    docker_packages="https://near.example/docker-ce",
    toolkit_packages="https://near.example/toolkit",
    docker_hub="hub.near.example",
)
OTHER = Mirror(about="other", docker_packages="https://other.example/docker-ce", docker_hub="hub.other.example")
Alive = dict[str, float]


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Callable[[Alive], list[tuple[str, str]]]:
    """Lets these addresses answer, each after its seconds, and no others; what was asked."""
    asked: list[tuple[str, str]] = []

    def install(answers: Alive) -> list[tuple[str, str]]:
        def measure(pairs: Iterable[tuple[str, Question]]) -> list[Measured]:
            known = list(pairs)
            asked.extend((address, question.path) for address, question in known)
            return [Measured(each, answers.get(each, 6.0), "" if each in answers else "dead") for each, _ in known]

        monkeypatch.setattr("envkit.bootstrap.sources.measure", measure)
        return asked

    return install


@pytest.mark.parametrize(
    ("answers", "first", "expected"),
    [
        ({DOCKER: 1, TOOLKIT: 1, HUB: 1}, None, Sources(DOCKER, TOOLKIT)),
        ({}, None, Sources(None, None)),
        ({}, NEAR, Sources(None, None)),
        (
            {"https://near.example/docker-ce": 1, "https://near.example/toolkit": 2},
            None,
            Sources("https://near.example/docker-ce", "https://near.example/toolkit"),
        ),
        # asked for by name: taken though the usual one is faster; the dead one falls back
        (
            {DOCKER: 0.1, TOOLKIT: 0.1, HUB: 0.1, "https://near.example/docker-ce": 3, "https://hub.near.example": 1},
            NEAR,
            Sources("https://near.example/docker-ce", TOOLKIT, ("https://hub.near.example",)),
        ),
        # the hub does not answer: its mirrors, the fastest first
        (
            {"https://hub.near.example": 2, "https://hub.other.example": 1},
            None,
            Sources(None, None, ("https://hub.other.example", "https://hub.near.example")),
        ),
        # the set's own mirror is dead, and the hub answers
        ({HUB: 1}, NEAR, Sources(None, None)),
    ],
)
def test_what_is_dead_is_never_written_down(
    alive: Callable[[Alive], object], answers: Alive, first: Mirror | None, expected: Sources
) -> None:
    alive(answers)

    found, _ = find_sources(knowledge().distributions["debian-12"], first, [NEAR, OTHER])

    assert found == expected


def test_each_distribution_s_own_part_is_asked_for(alive: Callable[[Alive], list[tuple[str, str]]]) -> None:
    asked = alive({})
    find_sources(knowledge().distributions["ubuntu-24.04"], None, [])
    find_sources(knowledge().distributions["rocky-9"], None, [])

    assert asked == [
        (DOCKER, "linux/ubuntu/dists/noble/InRelease"),
        (TOOLKIT, "stable/deb/amd64/InRelease"),
        (HUB, "v2/"),
        (DOCKER, "linux/rhel/9/x86_64/stable/repodata/repomd.xml"),
        (TOOLKIT, "stable/rpm/x86_64/repodata/repomd.xml"),
        (HUB, "v2/"),
    ]


def test_addresses_for_another_machine_are_taken_on_trust() -> None:
    assert named_sources(None) == Sources(DOCKER, TOOLKIT)
    assert named_sources(structs.replace(NEAR, docker_packages=None)) == Sources(
        DOCKER, "https://near.example/toolkit", ("https://hub.near.example",)
    )
