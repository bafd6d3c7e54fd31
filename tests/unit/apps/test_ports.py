"""Whether a port is free, and who has it otherwise; with real sockets on loopback."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from envkit.apps.ports import claim_port
from envkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def test_a_free_port_is_given_back(taken: int) -> None:
    free = claim_port(0, LOOPBACK)

    assert free != taken
    assert 1024 <= free <= 65535
    assert claim_port(free, LOOPBACK) == free


def test_a_claimed_port_can_be_listened_on_at_once() -> None:
    with socket.create_server((LOOPBACK, claim_port(0, LOOPBACK))):
        pass


@pytest.mark.parametrize("address", [LOOPBACK, "0.0.0.0"])
def test_a_taken_port_names_its_owner_and_one_that_is_free(taken: int, address: str) -> None:
    with pytest.raises(UsageError) as caught:
        claim_port(taken, address)

    me = psutil.Process()
    assert caught.value.message == f"port {taken} is taken by {me.name()} (process {os.getpid()})"
    free = re.fullmatch(r"choose another with `--port (\d+)`", caught.value.hint)
    assert free
    assert claim_port(int(free[1]), LOOPBACK) == int(free[1])
    assert caught.value.exit_code == 2


def test_a_port_of_an_instance_names_the_instance(taken: int) -> None:
    with pytest.raises(UsageError) as caught:
        claim_port(taken, LOOPBACK, instances={taken: "demo-page", 1: "other"})

    assert caught.value.message == (
        f"port {taken} is taken by the envkit instance demo-page: `envkit stop demo-page` ends it"
    )


@pytest.mark.parametrize("answer", [[], psutil.AccessDenied()])
def test_an_owner_whom_this_user_may_not_see(
    taken: int, monkeypatch: pytest.MonkeyPatch, answer: list[object] | Exception
) -> None:
    def net_connections(kind: str) -> list[object]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("psutil.net_connections", net_connections)

    with pytest.raises(UsageError, match=rf"^port {taken} is taken by another program$"):
        claim_port(taken, LOOPBACK)


def test_a_port_that_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: socket.socket, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", bind, raising=False)

    with pytest.raises(UsageError) as caught:
        claim_port(80, LOOPBACK)

    assert (caught.value.message, caught.value.hint) == ("port 80 needs root", "choose one above 1023 with `--port`")
