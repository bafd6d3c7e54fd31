"""Which of several addresses for the same thing answer, with the right content and not long ago, and how fast."""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from envkit import process
from envkit.errors import BackendError
from envkit.host.index import ca_bundle, uv_command, uv_environ
from envkit.host.mirrors import IndexQuestion
from envkit.host.probes import gather
from envkit.process import redact

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envkit.host.mirrors import Question

_LIMIT = 6.0
"""Seconds; what takes longer for one small answer is of no use for gigabytes."""
_MOST = 2**20
"""Bytes that are read of an answer."""


class Measured(Struct, frozen=True):
    """An address that was asked."""

    address: str
    """Empty: the one that a program has of its own."""
    seconds: float = 0.0
    problem: str = ""
    """Why it is not used; empty: it may be."""


def measure(asked: Iterable[tuple[str, Question | IndexQuestion]]) -> list[Measured]:
    """What became of each question, in this order; takes as long as the slowest, and seconds at most."""
    pairs = list(asked)
    probes = {str(n): (partial(_ask, *pair), _LIMIT) for n, pair in enumerate(pairs)}
    answers, unknown = gather(probes)
    return [
        answers[name]["measured"] if name in answers else Measured(pairs[int(name)][0], _LIMIT, unknown[name])
        for name in probes
    ]


def best(measured: Sequence[Measured]) -> Measured | None:
    """The first that may be used, unless another one answers more than twice as fast; None where none may."""
    usable = [each for each in measured if not each.problem]
    fastest = min(usable, key=lambda each: each.seconds, default=None)
    return next((each for each in usable[:1] if each.seconds <= 2 * (fastest or each).seconds), fastest)


def _ask(address: str, question: Question | IndexQuestion) -> dict[str, Measured]:
    began = time.monotonic()
    try:
        problem = (
            _index_problem(address, question)
            if isinstance(question, IndexQuestion)
            else _problem(_get(f"{address.rstrip('/')}/{question.path}"), question, datetime.now(timezone.utc))
        )
    except urllib.error.HTTPError as error:
        problem = "" if error.code == 401 and not question.says else str(error)  # type: ignore[union-attr]  # of Question
    except (OSError, ValueError, http.client.HTTPException, BackendError) as error:
        problem = str(getattr(error, "reason", error))
    return {"measured": Measured(redact(address), time.monotonic() - began, redact(problem))}


def _get(address: str) -> str:
    bundle = ca_bundle()
    context = ssl.create_default_context(cafile=str(bundle) if bundle else None)
    request = urllib.request.Request(address, headers={"User-Agent": "envkit"})  # noqa: S310  # addresses of the data
    with urllib.request.urlopen(request, timeout=_LIMIT - 1, context=context) as answer:  # noqa: S310
        return bytes(answer.read(_MOST)).decode(errors="replace")


def _problem(text: str, question: Question, now: datetime) -> str:
    if question.says not in text:
        return f"what it serves is something else: {question.says!r} is not in it"
    if not question.days:
        return ""
    made = made_at(text)
    if made is None:
        return "what it serves has no date"
    age = now - made
    return f"it was last brought up to date {age.days} days ago" if age > timedelta(days=question.days) else ""


def made_at(text: str) -> datetime | None:
    """When the index of a package repository says that it was made: apt's `Date:`, dnf's `<revision>`."""
    if date := re.search(r"^Date: (.+)$", text, re.MULTILINE):
        return parsedate_to_datetime(date[1].replace("UTC", "+0000"))
    if revision := re.search(r"<revision>(\d{9,11})</revision>", text):
        return datetime.fromtimestamp(int(revision[1]), timezone.utc)
    return None


def _index_problem(address: str, question: IndexQuestion) -> str:
    argv = ["pip", "compile", "-", "--no-deps", "--no-cache", "--no-header", "--quiet", "--generate-hashes"]
    done = process.run(
        [*uv_command(), *argv],
        env={**uv_environ(address or None), "UV_HTTP_TIMEOUT": "5", "UV_HTTP_RETRIES": "0"},
        stdin=f"{question.requirement}\n",
        timeout=_LIMIT - 1,
    )
    if done.status:
        lines = [line.strip(" │╰─▶├×") for line in done.stderr.splitlines()]
        return lines[-1] if lines else "uv could not read it"
    return "" if question.hash in done.stdout else f"what it serves as {question.requirement} is another file"
