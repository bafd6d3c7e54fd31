"""Opens a page in a real headless browser, as a user would: Chromium, told what to do over a pipe, and no library for it.

The Chrome DevTools Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import psutil
import yaml
from msgspec import Struct, convert
from msgspec.structs import asdict

from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_WIDTH, _HEIGHT = 1280, 900
_ANSWER_SECONDS = 30
_LOOK_SECONDS = 0.3

_FIELDS = """
[...document.querySelectorAll($label)]
  .filter(each => each.getClientRects().length)
  .map(each => each.innerText.trim().split('\\n')[0])
"""
"""The labels of fields that can be seen."""
_ERRORS = """
[...document.querySelectorAll($error)]
  .filter(each => each.getClientRects().length)
  .map(each => each.innerText.trim())
"""
"""The page's own way to show an error."""
_PLACE = """
(() => {
  const label = [...document.querySelectorAll($label)]
    .find(each => each.getClientRects().length && each.innerText.trim().split('\\n')[0] === $name);
  const block = label && (label.closest($block) || label.parentElement);
  const input = block && block.querySelector($field);
  if (!input) return null;
  input.scrollIntoView({block: 'center'});
  const box = input.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()
"""
"""Where the field with that label is."""
_CHOICES = """
[...document.querySelectorAll($choice)]
  .map(each => each.innerText.trim())
  .map(each => each.startsWith($chosen) ? each.slice($chosen.length).trim() : each)
"""
"""What the field that is open offers."""


class Parts(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a page has what is looked for, as CSS selectors; `pages.yaml` explains each."""

    label: str
    block: str
    field: str
    choice: str
    chosen: str
    error: str
    source: str


@cache
def parts() -> Parts:
    """What the file says."""
    text = Path(__file__).with_name("pages.yaml").read_text(encoding="utf-8")
    return convert(yaml.safe_load(text), Parts)


def _script(text: str, **more: str) -> str:
    """An expression of JavaScript with the parts of pages, and `more`, in their places."""
    return Template(text).substitute({name: json.dumps(each) for name, each in (asdict(parts()) | more).items()})


@dataclass(frozen=True)
class Sight:
    """What a browser shows of a page."""

    status: int
    title: str
    fields: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]
    """By the label of each field that was opened."""
    errors: tuple[str, ...]
    screenshot: bytes
    """PNG."""
    seconds: float


def find_browser() -> str | None:
    """The browser of this machine, if it has one."""
    return next((path for each in PROGRAMS if (path := shutil.which(each))), None)


def see(
    program: str,
    url: str,
    *,
    fields: Sequence[str],
    open_fields: Sequence[str],
    within_seconds: float,
    given_up: Callable[[], bool],
) -> Sight:
    """The page once it shows all `fields`, or when the time is over; each of `open_fields` is opened after that.

    Raises `BackendError` where the browser itself fails, and where nobody wants to see it any more.
    """
    began = time.monotonic()
    with _browser(program) as browser:
        browser.open(url)
        deadline = began + within_seconds
        labels: list[str] = []
        while time.monotonic() < deadline:
            if given_up():
                raise BackendError("interrupted")
            labels = browser.evaluate(_script(_FIELDS)) or []
            if {*fields} <= {*labels}:
                break
            browser.listen(_LOOK_SECONDS)
        screenshot = browser.screenshot()
        choices = {label: tuple(browser.choices(label)) for label in open_fields if label in labels}
        return Sight(
            status=browser.status,
            title=browser.evaluate("document.title") or "",
            fields=tuple(labels),
            choices=choices,
            errors=(*browser.exceptions, *(browser.evaluate(_script(_ERRORS)) or ())),
            screenshot=screenshot,
            seconds=time.monotonic() - began,
        )


class _Browser:
    """One page in a browser that answers over a pipe."""

    def __init__(self, send: int, receive: int) -> None:
        """The pipe's ends."""
        self.status = 0
        """Of the page itself."""
        self.exceptions: list[str] = []
        """That nobody caught."""
        self._send, self._receive = send, receive
        self._number, self._session = 0, ""
        self._rest = b""

    def open(self, url: str) -> None:
        """Goes to the page, and returns when its address has answered."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            self._ask(f"{domain}.enable")
        self._ask("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:  # any value of JavaScript
        """The value of an expression, or None while the page changes under it."""
        answer = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in answer else answer["result"].get("value")

    def choices(self, label: str) -> list[str]:
        """What the field of that label offers once somebody clicks on it; Escape closes it again."""
        place = self.evaluate(_script(_PLACE, name=label))
        if not place:
            return []
        for kind in ("mousePressed", "mouseReleased"):
            self._ask("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
        deadline = time.monotonic() + _ANSWER_SECONDS
        found: list[str] = []
        while not found and time.monotonic() < deadline:
            self.listen(_LOOK_SECONDS)
            found = self.evaluate(_script(_CHOICES)) or []
        for kind in ("keyDown", "keyUp"):
            self._ask("Input.dispatchKeyEvent", type=kind, key="Escape", code="Escape", windowsVirtualKeyCode=27)
        return found

    def screenshot(self) -> bytes:
        """What can be seen, as PNG."""
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png")["data"])

    def listen(self, seconds: float) -> None:
        """Takes what the page does of itself for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if message := self._next(left):
                self._notice(message)

    def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        self._number += 1
        session = {"sessionId": self._session} if self._session else {}
        asked = {"id": self._number, "method": method, "params": parameters, **session}
        with suppress(BrokenPipeError):  # it has ended: that is told below
            os.write(self._send, json.dumps(asked).encode() + b"\0")
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            message = self._next(left)
            if message and message.get("id") == self._number:
                if "error" in message:
                    raise BackendError(f"the browser refused {method}: {message['error'].get('message')}")
                return dict(message["result"])
            if message:
                self._notice(message)
        raise BackendError(f"the browser gave no answer to {method} within {_ANSWER_SECONDS} s")

    def _next(self, seconds: float) -> dict[str, Any] | None:
        """The next message, or None where none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\0" not in self._rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._receive], [], [], left)[0]:
                return None
            piece = os.read(self._receive, 1 << 20)
            if not piece:
                raise BackendError("the browser ended", hint="start it by hand with `--headless`: it says why")
            self._rest += piece
        message, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(message))

    def _notice(self, message: dict[str, Any]) -> None:
        told = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = told["exceptionDetails"]
                thrown = details.get("exception", {}).get("description") or details.get("text", "")
                self.exceptions.append(thrown.splitlines()[0] if thrown else "an exception without words")
            case "Network.responseReceived" if told.get("type") == "Document" and not self.status:
                self.status = int(told["response"]["status"])


@contextmanager
def _browser(program: str) -> Iterator[_Browser]:
    """A browser without a profile, which knows no address but this machine's; it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="envkit-browser-", ignore_cleanup_errors=True) as profile:
        theirs_to_read, send = _pipe()
        receive, theirs_to_write = _pipe()
        argv = [
            program,
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            f"--window-size={_WIDTH},{_HEIGHT}",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--lang=en-US",
            "--no-first-run",
            "--no-proxy-server",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # it refuses root otherwise
        ]
        quiet = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
        pipes = [(os.POSIX_SPAWN_DUP2, theirs_to_read, 3), (os.POSIX_SPAWN_DUP2, theirs_to_write, 4)]
        environ = {**os.environ, "HOME": profile}
        pid = os.posix_spawn(program, argv, environ, file_actions=[*quiet, *pipes], setsid=True)
        try:
            os.close(theirs_to_read)
            os.close(theirs_to_write)
            yield _Browser(send, receive)
        finally:
            _end(pid)
            os.close(send)
            os.close(receive)


def _pipe() -> tuple[int, int]:
    """Where to read and where to write, with numbers that stand in nobody's way."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]


def _end(pid: int) -> None:
    """The browser with all its processes."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(pid).children(recursive=True)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=3)
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)
