"""What hangs together in a log: Python's tracebacks with their chains, and the boxes that rich draws.

One `Reader` follows one process, so the lines of other ranks do not get in between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = "Traceback (most recent call last)"
IGNORED = "Exception ignored "
LINKS = ("During handling of the above exception", "The above exception was the direct cause")
BOX = "╭─"

_FRAME = re.compile(r' *File "([^"]{1,400})", line (\d+), in (.{1,200})')
_BOXED_FRAME = re.compile(r" *(\S{1,400}):(\d+) in (\S{1,200})")
_RAISED = re.compile(r"(?P<kind>[A-Za-z_]\w*(?:\.[A-Za-z_<]\w*>?)*(?:\([\w.]+\))?)(?:: (?P<message>.*)|:?)$")
_KIND = re.compile(
    r"\w*(?:Error|Exception|Warning|Interrupt|Exit|Iteration|Timeout|Failure|Fault|Abort\w*|Empty|Full|Group|error)"
)
_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"})
_ERROR = re.compile(r"╭─+ Error ─+╮$")
_MARGIN = re.compile(r"[ |+-]*")
_CUT = re.compile(r' *File "(?:[^"]{20,400}|[^"]{1,400}"(?!, line \d+(?:$|, in .)).{0,40})$')
"""The first part of a frame's line that a terminal broke at its edge."""
_TERMINAL = 80
"""Columns of most terminals."""
_HEAD = 2000
_FOREIGN = 20
"""Lines of somebody else inside a traceback, before it is given up."""
_LONGEST = 20_000
_BOX_LINES = 100
_NEAR = 500
"""Lines between an exception and the one that followed from it: their messages can be long."""

Text = tuple[int, str]
"""A line's number, and what to look at."""


@dataclass
class Raised:
    """An exception, as its traceback tells it."""

    line: int
    kind: str
    message: str
    frame: str = ""
    """The last one: file, line and function."""


@dataclass
class Chain:
    """Exceptions that led to one another; the first is the root."""

    began: int
    where: str
    """The container that it happened in."""
    ignored: bool
    """Raised where nothing could be done about it, such as in `__del__`."""
    raised: list[Raised] = field(default_factory=list)
    ended: int = 0

    def add(self, raised: Raised) -> None:
        """One more; of very long chains the middle is dropped."""
        self.raised = [*self.raised[:8], raised]
        self.ended = raised.line


@dataclass
class _Traceback:
    chain: Chain
    margin: int
    frame: str = ""
    lines: int = 0
    foreign: int = 0
    flat: bool = False
    """Whether it has lost its indentation, as logs do that were copied."""
    cut: str = ""
    """A frame's line that goes on in the next one."""
    width: int = _TERMINAL
    """Of the terminal that it was copied from, if it was."""


@dataclass
class _Box:
    began: int
    width: int
    chain: Chain | None
    """Of the traceback that it holds."""
    title: str = ""
    frame: str = ""
    count: int = 0
    lines: list[str] = field(default_factory=list)
    """The first of them."""


@dataclass
class _Wrapped:
    """An exception that goes on in the next lines: rich breaks it at its box's width, a terminal at its own."""

    width: int
    chain: Chain
    frame: str
    line: int = 0
    text: str = ""
    last: str = ""
    raised: Raised | None = None


class Reader:
    """Follows one process, line by line."""

    def __init__(self, where: str, finished: Callable[[Chain], None]) -> None:
        """Of the container `where`; `finished` is told of each chain whenever an exception was added to it."""
        self._where, self._finished = where, finished
        self._traceback: _Traceback | None = None
        self._box: _Box | None = None
        self._wrapped: _Wrapped | None = None
        self._untold: Raised | None = None
        """An exception whose message begins on a line of its own."""
        self._chain: Chain | None = None
        self._linked = False
        self._ignored = False

    @property
    def busy(self) -> bool:
        """Whether the next line belongs to what this one began."""
        return bool(self._traceback or self._box or self._wrapped or self._untold)

    def chain_at(self, number: int) -> Chain | None:
        """The chain that a line belongs to, which was taken last."""
        if self._traceback:
            return self._traceback.chain
        if self._box:
            return self._box.chain
        if self._wrapped:
            return self._wrapped.chain
        return self._chain if self._chain and self._chain.ended == number else None

    def take(self, number: int, text: str) -> list[Text]:
        """What to look at: the line itself, and what it is part of once that is whole."""
        if self._wrapped and (texts := self._take_wrapped(number, text)):
            return texts
        if self._box:
            return self._take_boxed(number, text)
        if HEADER in text or text.lstrip().startswith(BOX):
            self._begin(number, text)
        elif IGNORED in text:
            self._ignored = True
        elif text.lstrip(" |").startswith(LINKS):
            self._linked = True
        elif self._traceback:
            self._take_frame(number, text)
        elif self._untold and text.strip():
            self._untold.message, self._untold = text.strip(), None
        return [(number, text)]

    def _begin(self, number: int, text: str) -> None:
        self._untold = None
        chain = self._begin_chain(number) if HEADER in text else None
        if text.lstrip().startswith(BOX):
            self._traceback = None
            title = "Error: " if _ERROR.match(text.strip()) else ""  # click's and typer's
            self._box = _Box(number, len(text.strip()), chain, title)
        elif chain:
            before = text[: text.index(HEADER)].replace("Exception Group ", "")
            found = _MARGIN.fullmatch(before)
            self._traceback = _Traceback(chain, len(before) if found else 0)

    def _begin_chain(self, number: int) -> Chain:
        linked = self._linked and self._chain is not None and number - self._chain.ended < _NEAR
        if not linked or self._chain is None:
            self._chain = Chain(number, self._where, self._ignored, ended=number)
        self._linked = self._ignored = False
        return self._chain

    def _take_frame(self, number: int, text: str) -> None:
        opened = self._traceback
        assert opened is not None  # noqa: S101  # the caller looked
        inner = text[opened.margin :] if not text[: opened.margin].strip(" |+-") else text
        opened.lines += 1
        goes_on = bool(opened.cut)
        inner, opened.cut = opened.cut + inner, ""
        opened.flat |= inner.startswith('File "')
        if not inner or inner[0] in " \t" or inner.startswith('File "'):
            if found := _FRAME.match(inner[:_HEAD]):
                opened.frame = f"{found[1]}:{found[2]} in {found[3]}"
            elif _CUT.match(inner):
                opened.cut, opened.width = inner, max(len(text), opened.width if goes_on else 0)
        elif raised := raised_by(number, inner, opened.frame):
            self._add(opened.chain, raised)
            if len(text) == opened.width:
                self._wrapped = _Wrapped(opened.width, opened.chain, opened.frame, number, text, text, raised)
            again = raised.kind.startswith("ray.exceptions.RayTaskError")  # the worker's frames follow
            self._traceback = _Traceback(opened.chain, opened.margin) if again else None
        elif not opened.flat:  # else it is a line of code
            opened.foreign += 1
        if opened.foreign > _FOREIGN or opened.lines > _LONGEST:
            self._traceback = None

    def _add(self, chain: Chain, raised: Raised) -> None:
        chain.add(raised)
        self._untold = None if raised.message else raised
        self._finished(chain)

    def _take_boxed(self, number: int, text: str) -> list[Text]:
        box, line = self._box, text.strip()
        assert box is not None  # noqa: S101  # the caller looked
        if line.startswith("│") and box.count < _LONGEST:
            content = line[1:].removesuffix("│")
            box.count += 1
            if len(box.lines) < _BOX_LINES and not box.chain:
                box.lines.append(content[:_HEAD])
            if box.chain is None:
                return [(number, content.strip())]
            if found := _BOXED_FRAME.match(content[:_HEAD]):
                box.frame = f"{found[1]}:{found[2]} in {found[3]}"
            return [(number, content.strip())] if "❱" in content else []  # the others show code that did not run
        if line.startswith("├"):
            return []
        self._box = None
        if not line.startswith("╰"):
            return self.take(number, text)
        if box.chain:
            box.chain.ended = number
            self._wrapped = _Wrapped(box.width, box.chain, box.frame)
            return []
        return [(box.began + 1, f"{box.title}{_joined(box.lines)}")]

    def _take_wrapped(self, number: int, text: str) -> list[Text]:
        """The line joined to those before it, where rich broke it; empty where it stands by itself."""
        wrapped = self._wrapped
        assert wrapped is not None  # noqa: S101  # the caller looked
        if not wrapped.text:
            if raised := raised_by(number, text, wrapped.frame):
                wrapped.line, wrapped.text, wrapped.last, wrapped.raised = number, text, text, raised
                self._add(wrapped.chain, raised)
                self._untold = None
                return [(number, text)]
            self._wrapped = None
            return []
        full = len(wrapped.last) >= wrapped.width
        word = text.partition(" ")[0]
        if not word or not (full or len(wrapped.last) + 1 + len(word) > wrapped.width):
            self._wrapped = None
            return []
        wrapped.text = f"{wrapped.text}{'' if full else ' '}{text}"[:_HEAD]
        wrapped.last = text
        if wrapped.raised:
            wrapped.raised.message = wrapped.text.partition(": ")[2]
        return [(number, text), (wrapped.line, wrapped.text)]


def raised_by(number: int, text: str, frame: str = "") -> Raised | None:
    """The exception that a line names, as the last one of a traceback does."""
    found = _RAISED.match(text[:_HEAD])
    if not found or found["kind"] in _LEVELS:
        return None
    kind = found["kind"].partition("(")[0]
    name = kind.rpartition(".")[2]
    told = name[0].isupper() and (found["message"] is not None or name != kind)
    return Raised(number, found["kind"], found["message"] or "", frame) if told or _KIND.fullmatch(name) else None


def _joined(lines: list[str]) -> str:
    """The text of a box: its lines, broken between words, or within one that fills the line."""
    text = lines[0].strip() if lines else ""
    for before, line in pairwise(lines):
        full = len(before.strip()) >= len(before) - 2
        text += f"{'' if full and ' ' not in before.strip() else ' '}{line.strip()}"
        if len(text) > _HEAD:
            break
    return text
