"""Hubs on loopback: they answer what huggingface_hub and modelscope_hub ask of the real ones, and fail as they are told."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

LARGE = 1000
"""Bytes from which on a file is kept apart, as Git LFS keeps it."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What goes wrong at the next requests whose path, with its query, holds `path`."""

    path: str
    kind: str
    """cut, longer, other, page, dead, gated, or an HTTP status."""
    times: int = 1
    method: str = "GET"


@dataclass
class Hub:
    """One server; repositories by name, files by path."""

    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    token: str = ""
    """What private repositories want to see."""
    private: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path with query, headers of every request."""
    made: list[dict[str, Any]] = field(default_factory=list)
    """Repositories that were asked for."""
    sent: dict[str, bytes] = field(default_factory=dict)
    """Files that were committed."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    """Large ones, by SHA-256."""

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, method: str, path: str) -> Fault | None:
        """The one that this request meets, once less."""
        for each in self.faults:
            if each.path in path and each.times and each.method in (method, "any"):
                each.times -= 1
                return each
        return None

    def requests(self, part: str, method: str = "GET") -> list[dict[str, str]]:
        """The headers of those whose path holds it."""
        return [headers for verb, path, headers in self.asked if part in path and verb == method]


def dead_address() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer("GET")

    def do_HEAD(self) -> None:
        self._answer("HEAD")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def _answer(self, method: str) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = self._chunks()
        self.hub.asked.append((method, unquote(self.path), dict(self.headers.items())))
        self.wrong = self.hub.fault(method, unquote(self.path))
        if self.wrong and self.wrong.kind.isdigit():
            headers = {"Retry-After": "0"} if self.wrong.kind == "429" else {}
            self._send(int(self.wrong.kind), b"{}", headers)
        elif self.wrong and self.wrong.kind == "gated":
            self._send(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"})
        elif self.wrong and self.wrong.kind == "page":
            self._send(200, b"<!DOCTYPE html><html>a portal</html>", {"Content-Type": "text/html"})
        else:
            path = urlsplit(self.path)
            self._route(method, unquote(path.path), {key: value[0] for key, value in parse_qs(path.query).items()})

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().strip() or b"0", 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _route(self, method: str, path: str, query: dict[str, str]) -> None:
        for pattern, answer in _ROUTES:
            if found := re.fullmatch(pattern, path):
                answer(self, method, query, **found.groupdict())
                return
        self._json({}, 404)

    # What both share ------------------------------------------------------------------------------------------------

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **(headers or {})}
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers)

    def _content(self, content: bytes, headers: dict[str, str] | None = None) -> None:
        """A file, or what is left of it from Range on; with the faults that a file may have."""
        kind = self.wrong.kind if self.wrong else ""
        if kind == "longer":
            content += b"surplus"
        if kind == "other":
            content = bytes(len(content))
        begin = int((re.match(r"bytes=(\d+)-", self.headers.get("Range") or "") or [0, 0])[1])
        rest = content[begin:]
        answer = {**(headers or {}), "Content-Length": str(len(rest)), "Accept-Ranges": "bytes"}
        if begin:
            answer["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if begin else 200)
        for name, value in answer.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if kind == "cut":
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(rest)

    def _files(self, name: str) -> dict[str, bytes] | None:
        """Of a repository that this caller may see."""
        sent = self.headers.get("Authorization", "")
        if name in self.hub.private and sent != f"Bearer {self.hub.token}":
            return None
        return self.hub.repositories.get(name)

    # Hugging Face ---------------------------------------------------------------------------------------------------

    def _hf_missing(self) -> None:
        self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    def _hf_info(self, method: str, query: dict[str, str], name: str, revision: str | None = None) -> None:
        files = self._files(name)
        if files is None:
            self._hf_missing()
        elif revision not in (None, "main", COMMIT):
            self._json({"error": "no"}, 404, {"X-Error-Code": "RevisionNotFound"})
        else:
            self._json({"id": name, "sha": COMMIT, "siblings": [{"rfilename": each} for each in files], "tags": []})

    def _hf_tree(self, method: str, query: dict[str, str], name: str, revision: str) -> None:
        files = self._files(name)
        if files is None:
            self._hf_missing()
            return
        entries = []
        for path, content in files.items():
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        self._json(entries)

    def _hf_file(self, method: str, query: dict[str, str], name: str, revision: str, path: str) -> None:
        files = self._files(name)
        if files is None:
            self._hf_missing()
        elif path not in files:
            self._json({}, 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif len(files[path]) < LARGE:
            self._content(files[path], {"X-Repo-Commit": COMMIT, "ETag": f'"{git_id(files[path])}"'})
        else:
            known = sha256(files[path])
            self.hub.blobs[known] = files[path]
            base = (
                dead_address()
                if self.wrong and self.wrong.kind == "dead"
                else self.hub.address.replace("127.0.0.1", "localhost")
            )
            headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{known}"', "X-Linked-Size": str(len(files[path]))}
            self._send(302, b"", {**headers, "Location": f"{base}/blob/{known}"})

    def _blob(self, method: str, query: dict[str, str], known: str) -> None:
        if method == "PUT":
            self.hub.blobs[known] = self.body
            self._json({})
        else:
            self._content(self.hub.blobs[known])

    def _hf_create(self, method: str, query: dict[str, str]) -> None:
        asked = json.loads(self.body)
        self.hub.made.append(asked)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        self.hub.repositories.setdefault(name, {})
        self._json({"url": f"{self.hub.address}/{name}", "name": name})

    def _hf_preupload(self, method: str, query: dict[str, str], name: str, revision: str) -> None:
        files = json.loads(self.body)["files"]
        modes = [
            {"path": each["path"], "uploadMode": "lfs" if each["size"] >= LARGE else "regular", "shouldIgnore": False}
            for each in files
        ]
        self._json({"files": modes})

    def _hf_lfs(self, method: str, query: dict[str, str], name: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.address}/blob/{each['oid']}", "header": {}}}}
            for each in json.loads(self.body)["objects"]
        ]
        self._json({"transfer": "basic", "objects": objects}, 200, {"Content-Type": "application/vnd.git-lfs+json"})

    def _hf_commit(self, method: str, query: dict[str, str], name: str, revision: str) -> None:
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.sent[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.sent[value["path"]] = self.hub.blobs[value["oid"]]
        self._json({"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT, "success": True})

    def _hf_card(self, method: str, query: dict[str, str]) -> None:
        self._json({"errors": [], "warnings": []})

    def _hf_whoami(self, method: str, query: dict[str, str]) -> None:
        self._json({"type": "user", "name": "me", "orgs": []})

    # ModelScope -----------------------------------------------------------------------------------------------------

    def _ms_files(self, method: str, query: dict[str, str], name: str) -> None:
        files = self.hub.repositories.get(name)
        if files is None or query.get("Revision") not in ("master", None):
            self._json({"Code": 10010205001, "Success": False, "Message": "not found"}, 404)
            return
        entries = [
            {
                "Path": path,
                "Name": path.rpartition("/")[2],
                "Type": "blob",
                "Size": len(content),
                "Sha256": sha256(content),
            }
            for path, content in files.items()
        ]
        self._json({"Code": 200, "Success": True, "Data": {"Files": entries}})

    def _ms_file(self, method: str, query: dict[str, str], name: str) -> None:
        content = self.hub.repositories[name][query["FilePath"]]
        if self.wrong and self.wrong.kind == "dead":
            self._send(302, b"", {"Location": f"{dead_address()}/x"})
        else:
            self._content(content)

    def _ms_repo(self, method: str, query: dict[str, str], name: str) -> None:
        if name in self.hub.repositories:
            self._json({"success": True, "data": {"id": name, "name": name}})
        else:
            self._json({"success": False, "message": "not found"}, 404)

    def _ms_create(self, method: str, query: dict[str, str]) -> None:
        asked = json.loads(self.body)
        if f"{asked['Path']}/{asked['Name']}" in self.hub.repositories:
            self._json({"Code": 409, "Success": False, "Message": "the repository already exists"}, 409)
            return
        self.hub.made.append(asked)
        self.hub.repositories[f"{asked['Path']}/{asked['Name']}"] = {}
        self._json({"Code": 200, "Success": True, "Data": {"Id": 1, **asked}})

    def _ms_lfs(self, method: str, query: dict[str, str], name: str) -> None:
        objects = [
            {**each, "actions": {"upload": {"href": f"{self.hub.address}/blob/{each['oid']}"}}}
            for each in json.loads(self.body)["objects"]
        ]
        self._json({"Code": 200, "Success": True, "Data": {"objects": objects}})

    def _ms_commit(self, method: str, query: dict[str, str], name: str, revision: str) -> None:
        for each in json.loads(self.body)["actions"]:
            content = self.hub.blobs[each["sha256"]] if each["type"] == "lfs" else base64.b64decode(each["content"])
            self.hub.sent[each["path"]] = content
        self._json({"Code": 200, "Success": True, "Data": {"oid": COMMIT}})

    def _ms_region(self, method: str, query: dict[str, str]) -> None:
        self._json({"Data": {}})


_NAME = r"(?P<name>[\w.-]+/[\w.-]+)"
_KIND = r"(?:models|datasets)"
_ROUTES: list[tuple[str, Any]] = [
    (rf"/api/{_KIND}/{_NAME}", _Handler._hf_info),
    (rf"/api/{_KIND}/{_NAME}/revision/(?P<revision>[^/]+)", _Handler._hf_info),
    (rf"/api/{_KIND}/{_NAME}/tree/(?P<revision>[^/]+)/?", _Handler._hf_tree),
    (rf"(?:/datasets)?/{_NAME}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler._hf_file),
    (r"/blob/(?P<known>[0-9a-f]{64})", _Handler._blob),
    (r"/api/repos/create", _Handler._hf_create),
    (r"/api/validate-yaml", _Handler._hf_card),
    (r"/api/whoami-v2", _Handler._hf_whoami),
    (rf"/api/{_KIND}/{_NAME}/preupload/(?P<revision>[^/]+)", _Handler._hf_preupload),
    (rf"(?:/datasets)?/{_NAME}\.git/info/lfs/objects/batch", _Handler._hf_lfs),
    (rf"/api/{_KIND}/{_NAME}/commit/(?P<revision>[^/]+)", _Handler._hf_commit),
    (rf"/api/v1/{_KIND}/{_NAME}/repo/(?:files|tree)", _Handler._ms_files),
    (rf"/api/v1/{_KIND}/{_NAME}/repo", _Handler._ms_file),
    (rf"/openapi/v1/{_KIND}/{_NAME}", _Handler._ms_repo),
    (rf"/api/v1/{_KIND}", _Handler._ms_create),
    (rf"/api/v1/repos/{_KIND}/{_NAME}/info/lfs/objects/batch", _Handler._ms_lfs),
    (rf"/api/v1/repos/{_KIND}/{_NAME}/commit/(?P<revision>[^/]+)", _Handler._ms_commit),
    (r"/api/v1/repos/internalAccelerationInfo", _Handler._ms_region),
]
