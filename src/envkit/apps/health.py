"""Waits until an app answers."""

from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until_up(url: str, within_seconds: float, is_alive: Callable[[], bool]) -> str | None:
    """None once `url` answers with anything but a server error (with a key set, an app that is up says 401).

    Else the reason: the app has ended, or the time is over.
    """
    deadline = time.monotonic() + within_seconds
    while time.monotonic() < deadline:
        if _answers(url):
            return None
        if not is_alive():
            return "it ended before it answered"
        time.sleep(0.2)
    return f"it gave no answer within {within_seconds:g} s"


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
