"""Asks an OpenAI-style server on this machine."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    body: bytes
    seconds: float = 0.0

    @property
    def json(self) -> Any:  # whatever the server sends
        """The body as JSON, or None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def start(self) -> str:
        """What a message may show of it."""
        text = self.body.decode(errors="replace").strip()
        return text if len(text) <= 200 else f"{text[:200]}…"


def ask(url: str, path: str, body: object = None, *, key: str = "", timeout: float = 60) -> Answer:
    """The answer, whatever its status; raises `OSError` or `http.client.HTTPException` where there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    began = time.monotonic()
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
    try:
        connection.request(
            "GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers=headers
        )
        response = connection.getresponse()
        return Answer(response.status, response.read(), time.monotonic() - began)
    finally:
        connection.close()
