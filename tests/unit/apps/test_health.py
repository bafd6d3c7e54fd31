"""When an app counts as up; with real HTTP on loopback."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from envkit.apps.health import wait_until_up
from envkit.apps.ports import claim_port
from tests.fakes import serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def page() -> Iterator[Callable[[int], str]]:
    """Starts a server that answers with a status, and gives its address."""
    servers = []

    def start(status: int) -> str:
        servers.append(serve(0, status))
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for each in servers:
        each.shutdown()
        each.server_close()


@pytest.mark.parametrize("status", [200, 302, 401, 404])
def test_an_app_that_answers_is_up(page: Callable[[int], str], status: int) -> None:
    assert wait_until_up(f"{page(status)}/v1/models", 5, lambda: True) is None


@pytest.mark.parametrize("status", [500, 503])
def test_an_app_that_answers_with_a_server_error_is_not_up_yet(page: Callable[[int], str], status: int) -> None:
    assert wait_until_up(page(status), 0.3, lambda: True) == "it gave no answer within 0.3 s"


def test_the_path_that_is_asked_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = []

        def answer() -> None:
            client, _ = server.accept()
            with client:
                asked.append(client.recv(1000).split(b"\r\n")[0])
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert wait_until_up(f"http://127.0.0.1:{server.getsockname()[1]}/v1/models", 5, lambda: True) is None
        thread.join(timeout=5)

    assert asked == [b"GET /v1/models HTTP/1.1"]


def test_an_app_that_died_is_not_waited_for() -> None:
    began = time.monotonic()
    alive = iter([True, False])

    reason = wait_until_up(f"http://127.0.0.1:{claim_port(0, '127.0.0.1')}", 60, lambda: next(alive))

    assert reason == "it ended before it answered"
    assert time.monotonic() - began < 5


def test_an_app_that_comes_up_later_is_waited_for() -> None:
    port = claim_port(0, "127.0.0.1")
    servers = []
    asked = []

    def alive() -> bool:
        asked.append(port)
        if len(asked) == 2:
            servers.append(serve(port, 200))
        return True

    try:
        assert wait_until_up(f"http://127.0.0.1:{port}", 10, alive) is None
    finally:
        for each in servers:
            each.shutdown()
            each.server_close()
    assert len(asked) == 2


def test_what_speaks_something_else_is_not_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            client, _ = server.accept()
            with client:
                client.recv(1000)
                client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        alive = iter([False])
        reason = wait_until_up(f"http://127.0.0.1:{server.getsockname()[1]}", 5, lambda: next(alive))
        thread.join(timeout=5)

    assert reason == "it ended before it answered"
