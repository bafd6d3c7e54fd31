"""A package index on loopback with packages of its own, which can break off, stall, or serve other bytes than it lists."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import threading
import time
import zipfile
from dataclasses import dataclass
from typing import Literal

Mood = Literal["well", "breaks", "stalls", "lies"]


@dataclass(frozen=True)
class Wheel:
    """A pure Python package in one file."""

    name: str
    version: str
    metadata: bytes
    content: bytes

    @property
    def file(self) -> str:
        """Its file name."""
        return f"{self.name}-{self.version}-py3-none-any.whl"

    @property
    def sha256(self) -> str:
        """What an index says of it."""
        return hashlib.sha256(self.content).hexdigest()


def make_wheel(name: str, version: str, *, ballast: int = 0, requires: tuple[str, ...] = ()) -> Wheel:
    """A wheel with a module of its name; `ballast` is bytes that do not compress."""
    noise = base64.b64encode(hashlib.shake_256(name.encode()).digest(ballast)).decode()
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    files = {
        f"{name}.py": f'VERSION = "{version}"\nBALLAST = "{noise}"\n',
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, date_time=(2020, 1, 1, 0, 0, 0)), text)
    return Wheel(name, version, metadata.encode(), buffer.getvalue())


class Index:
    """Serves wheels by the JSON form of the simple API (PEP 691), with upload times; a context manager."""

    def __init__(self, *wheels: Wheel) -> None:
        """In a good mood: everything is served whole."""
        self.wheels = {each.file: each for each in wheels}
        self.mood: dict[str, Mood] = {}
        """By file name."""
        self.served: list[str] = []
        """The files that were asked for, in order, each time."""
        self.let_go = threading.Event()
        """Ends the waiting of stalled downloads."""
        self._whole = {name: threading.Event() for name in self.wheels}
        index = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                kind, _, rest = self.path.strip("/").partition("/")
                if kind == "simple":
                    index._page(self, rest)
                elif rest.removesuffix(".metadata") in index.wheels.keys() - {rest}:
                    _answer(self, "text/plain", index.wheels[rest.removesuffix(".metadata")].metadata)
                elif rest in index.wheels:
                    index._file(self, rest)
                else:
                    self.send_error(404)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
                """Says nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}/simple"

    def __enter__(self) -> Index:  # noqa: PYI034  # Self is not in Python 3.10
        """Serving."""
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Closed."""
        self.let_go.set()
        self._server.shutdown()
        self._server.server_close()

    def _page(self, request: http.server.BaseHTTPRequestHandler, name: str) -> None:
        found = [each for each in self.wheels.values() if each.name.replace("_", "-") == name]
        if not found:
            request.send_error(404)
            return
        body = json.dumps(
            {
                "meta": {"api-version": "1.1"},
                "name": name,
                "versions": [each.version for each in found],
                "files": [
                    {
                        "filename": each.file,
                        "url": f"/files/{each.file}",
                        "hashes": {"sha256": each.sha256},
                        "core-metadata": {"sha256": hashlib.sha256(each.metadata).hexdigest()},
                        "size": len(each.content),
                        "upload-time": "2020-01-01T00:00:00.000000Z",
                    }
                    for each in found
                ],
            }
        ).encode()
        _answer(request, "application/vnd.pypi.simple.v1+json", body)

    def _file(self, request: http.server.BaseHTTPRequestHandler, file: str) -> None:
        content = self.wheels[file].content
        self.served.append(file)
        mood = self.mood.get(file, "well")
        if mood == "lies":
            content = make_wheel(self.wheels[file].name, self.wheels[file].version, ballast=10).content
        _head(request, "application/octet-stream", len(content))
        if mood in ("breaks", "stalls"):
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            # Whatever else was asked for arrives first, so that a test can tell what is fetched twice.
            for other, whole in self._whole.items():
                if other in self.served and other not in self.mood:
                    whole.wait(timeout=10)
            time.sleep(0.5)
            request.close_connection = True
            if mood == "breaks":
                return
            self.let_go.wait(timeout=120)
            content = content[len(content) // 2 :]
        try:
            request.wfile.write(content)
        except OSError:  # whoever asked was killed
            return
        self._whole[file].set()


def _head(request: http.server.BaseHTTPRequestHandler, kind: str, length: int) -> None:
    request.send_response(200)
    request.send_header("Content-Type", kind)
    request.send_header("Content-Length", str(length))
    request.end_headers()


def _answer(request: http.server.BaseHTTPRequestHandler, kind: str, body: bytes) -> None:
    _head(request, kind, len(body))
    request.wfile.write(body)
