"""What is made of answers of mirrors; the answers come from a server in this process."""

from __future__ import annotations

import http.server
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from envkit.host.mirrors import IndexQuestion, Question, questions
from envkit.host.probes.mirrors import Measured, best, made_at, measure
from envkit.process import Completed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOW = datetime.now(timezone.utc)
RELEASE = "Origin: Docker\nSuite: bookworm\nDate: {}\n"
ASKED = Question(path="dists/InRelease", source="invented", says="Origin: Docker", days=30)
LOGIN = Question(path="v2/", source="invented")


@pytest.fixture
def server() -> Iterator[tuple[str, dict[str, tuple[int, str]]]]:
    """Its address, and what it answers by path: a status and a text."""
    answers: dict[str, tuple[int, str]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = answers.get(self.path, (404, "not found"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
            """Says nothing."""

    found = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}", answers
    found.shutdown()
    found.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def dated(days: int) -> str:
    return RELEASE.format(format_datetime(NOW - timedelta(days=days), usegmt=True))


@pytest.mark.parametrize(
    ("status", "text", "question", "problem"),
    [
        (200, dated(1), ASKED, ""),
        (200, dated(100), ASKED, "it was last brought up to date 100 days ago"),
        (200, "Origin: Docker\n", ASKED, "what it serves has no date"),
        (200, "<html>buy this domain</html>", ASKED, "what it serves is something else: 'Origin: Docker' is not in it"),
        (404, "", ASKED, "HTTP Error 404: Not Found"),
        (401, "", ASKED, "HTTP Error 401: Unauthorized"),
        (401, "", LOGIN, ""),
        (200, "{}", LOGIN, ""),
        (503, "", LOGIN, "HTTP Error 503: Service Unavailable"),
    ],
)
def test_only_the_right_and_fresh_answer_counts(
    server: tuple[str, dict[str, tuple[int, str]]], status: int, text: str, question: Question, problem: str
) -> None:
    address, answers = server
    answers[f"/mirror/{question.path}"] = (status, text)

    measured = measure([(f"{address}/mirror/", question)])

    assert [(each.address, each.problem) for each in measured] == [(f"{address}/mirror/", problem)]


def test_who_does_not_answer_says_why_and_holds_nobody_up(
    server: tuple[str, dict[str, tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envkit.host.probes.mirrors._LIMIT", 1.3)
    address, answers = server
    answers["/dists/InRelease"] = (200, dated(0))
    real = measure.__globals__["_get"]
    monkeypatch.setattr(
        "envkit.host.probes.mirrors._get", lambda where: time.sleep(4) if "slow" in where else real(where)
    )

    began = time.monotonic()
    found = measure([("http://slow.example", ASKED), ("http://127.0.0.1:9", ASKED), (address, ASKED)])

    assert time.monotonic() - began < 3
    assert [each.problem for each in found] == ["no answer within 1.3 s", "[Errno 111] Connection refused", ""]


def test_dates_of_both_kinds_of_repositories() -> None:
    assert made_at("Date: Fri, 20 Nov 2026 14:02:03 UTC\n") == datetime(2026, 11, 20, 14, 2, 3, tzinfo=timezone.utc)
    assert made_at("<revision>1763647323</revision>") == datetime(2025, 11, 20, 14, 2, 3, tzinfo=timezone.utc)
    assert made_at("neither") is None


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Completed(0, "demo==1.0 \\\n    --hash=sha256:aa\n", ""), ""),
        (Completed(0, "demo==1.0 \\\n    --hash=sha256:bb\n", ""), "what it serves as demo==1.0 is another file"),
        (Completed(1, "", "  × No solution found\n  ╰─▶ there is no version of demo==1.0\n"), "there is no version of demo==1.0"),
        (Completed(2, "", ""), "uv could not read it"),
    ],
)  # fmt: skip
def test_an_index_must_have_the_very_file(monkeypatch: pytest.MonkeyPatch, answer: Completed, problem: str) -> None:
    given: dict[str, Any] = {}

    def run(argv: Sequence[str], **settings: Any) -> Completed:
        given.update(settings)
        return answer

    monkeypatch.setattr("envkit.process.run", run)
    asked = IndexQuestion(requirement="demo==1.0", hash="sha256:aa", source="invented")

    assert [each.problem for each in measure([("https://me:pw@near.example/simple", asked)])] == [problem]
    assert given["env"]["UV_DEFAULT_INDEX"] == "https://me:pw@near.example/simple"


@pytest.mark.parametrize(
    ("measured", "address"),
    [
        ([("usual", 1.0, ""), ("near", 0.6, "")], "usual"),  # a little faster is no reason
        ([("usual", 1.0, ""), ("near", 0.4, "")], "near"),
        ([("usual", 1.0, "dead"), ("near", 5.0, ""), ("nearer", 2.0, "")], "nearer"),
        ([("usual", 1.0, "dead")], None),
        ([], None),
    ],
)
def test_the_usual_address_stays_unless_another_is_much_faster(
    measured: list[tuple[str, float, str]], address: str | None
) -> None:
    found = best([Measured(*each) for each in measured])

    assert (found.address if found else None) == address


def test_the_shipped_questions_can_be_asked() -> None:
    asked = questions()

    assert asked.index.hash.startswith("sha256:")
    assert asked.apt.days > 0
