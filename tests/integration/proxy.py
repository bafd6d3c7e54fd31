"""A forward proxy on loopback that wants a password and remembers who was asked for."""

from __future__ import annotations

import base64
import http.client
import http.server
import select
import socket
import threading
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "transfer-encoding"}


class Proxy(http.server.ThreadingHTTPServer):
    """Serves CONNECT and plain GET; a context manager."""

    daemon_threads = True

    def __init__(self, *, user: str, password: str) -> None:
        """Not yet serving."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.url = f"http://{user}:{password}@127.0.0.1:{self.server_port}"
        self.seen: list[str] = []
        """What was asked for, in order: `host:port`, or an address."""

    def __enter__(self) -> Proxy:  # noqa: PYI034  # Self is not in Python 3.10
        """Serving."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Closed."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has gone, and minds no more."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_CONNECT(self) -> None:
        if self._allowed():
            host, port = self.path.rsplit(":", 1)
            with socket.create_connection((host.strip("[]"), int(port)), timeout=60) as there:
                self.send_response(200)
                self.end_headers()
                _splice(self.connection, there)

    def do_GET(self) -> None:
        if self._allowed():
            to = urlsplit(self.path)
            connection = http.client.HTTPConnection(to.hostname or "", to.port or 80, timeout=60)
            path = f"{to.path}?{to.query}" if to.query else to.path
            connection.request("GET", path, headers=dict(_end_to_end(self.headers.items())))
            answer = connection.getresponse()
            self.send_response(answer.status)
            for name, value in _end_to_end(answer.getheaders()):
                self.send_header(name, value)
            self.end_headers()
            while chunk := answer.read(65536):
                self.wfile.write(chunk)
            connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Says nothing."""

    def _allowed(self) -> bool:
        proxy = cast(Proxy, self.server)
        self.close_connection = True
        if self.headers.get("Proxy-Authorization") == proxy.expected:
            proxy.seen.append(self.path)
            return True
        self.send_response(407)
        self.send_header("Proxy-Authenticate", 'Basic realm="tests"')
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False


def _end_to_end(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in _HOP_BY_HOP]


def _splice(here: socket.socket, there: socket.socket) -> None:
    pair = {here: there, there: here}
    while True:
        ready, _, _ = select.select(list(pair), [], [], 120)
        if not ready:
            return
        for each in ready:
            chunk = each.recv(65536)
            if not chunk:
                return
            pair[each].sendall(chunk)
