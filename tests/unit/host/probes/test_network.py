"""How the answers of an index, a registry and a hub are read; nobody is asked here."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from contextlib import nullcontext
from email.message import Message
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import docker
import pytest
from docker.errors import APIError, DockerException, ImageNotFound

from envkit.errors import BackendError
from envkit.host.facts import Endpoint
from envkit.host.probes import network, probe_network
from envkit.process import Completed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

IMAGE = "debian:12-slim"


def ask(name: network.Purpose) -> Endpoint:
    probe, _ = network.endpoint_probes(IMAGE)[name]
    return probe()["endpoint"]


# The index ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes uv answer; the variables and the words that it was given."""
    given: dict[str, Any] = {}

    def install(answer: Completed | Exception) -> dict[str, Any]:
        def run(argv: Sequence[str], *, env: Mapping[str, str], **settings: Any) -> Completed:
            given.update(argv=argv[1:], env=env, **settings)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr("envkit.process.run", run)
        return given

    monkeypatch.setattr("envkit.host.index._PIP_CONFIGS", ())
    return install


def test_an_index_that_answers(uv: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_INDEX_URL", "https://me:secret@mirror.example/simple")
    given = uv(Completed(0, "packaging==26.0\n", ""))

    assert ask("index") == Endpoint("index", "https://***@mirror.example/simple")
    assert given["argv"] == ["pip", "compile", "-", "--no-deps", "--no-cache", "--no-header", "--quiet"]
    assert given["env"]["UV_DEFAULT_INDEX"] == "https://me:secret@mirror.example/simple"
    assert (given["stdin"], given["timeout"]) == ("packaging\n", 7.0)


def test_an_index_that_does_not_answer_is_told_in_uv_s_last_words(uv: Any) -> None:
    uv(Completed(2, "", "error: Request failed\n  ╰─▶ tcp connect error\n  ├─▶ x\n  ╰─▶ Connection refused\n"))

    assert ask("index") == Endpoint("index", "uv's default index", "Connection refused")


def test_an_index_that_takes_too_long(uv: Any) -> None:
    uv(BackendError("`uv` gave no answer within 7 s"))

    assert ask("index") == Endpoint("index", "", "`uv` gave no answer within 7 s")


# The registry ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the engine answer for an image that it has, and for one in the registry."""

    def install(
        *, connect: Exception | None = None, has: Exception | None = None, get: Exception | None = None
    ) -> None:
        def give(error: Exception | None) -> Any:
            if error:
                raise error
            return SimpleNamespace(images=images)

        images = SimpleNamespace(get=lambda _: give(has), get_registry_data=lambda _: give(get))
        monkeypatch.setattr(docker, "from_env", lambda **_: give(connect))

    return install


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({}, ""),
        ({"has": ImageNotFound("none")}, ""),
        ({"connect": DockerException("no engine")}, ""),  # which the engine's own fact tells
        ({"has": DockerException("odd: http://me:secret@proxy")}, "odd: http://***@proxy"),
        (
            {"has": ImageNotFound("none"), "get": APIError("500", explanation="Get https://me:secret@r/v2/: timeout")},
            "Get https://***@r/v2/: timeout",
        ),
        ({"has": ImageNotFound("none"), "get": OSError("Read timed out.")}, "Read timed out."),
    ],
)
def test_the_registry_by_way_of_the_engine(engine: Any, answers: dict[str, Exception], problem: str) -> None:
    engine(**answers)

    assert ask("registry") == Endpoint("registry", IMAGE, problem)


# Hugging Face ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (None, ""),
        (urllib.error.HTTPError("u", 403, "Forbidden", Message(), None), ""),
        (urllib.error.HTTPError("u", 502, "Bad Gateway", Message(), None), "HTTP Error 502: Bad Gateway"),
        (urllib.error.URLError("Connection refused"), "Connection refused"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.BadStatusLine("nonsense"), "nonsense"),
    ],
)
def test_hugging_face(monkeypatch: pytest.MonkeyPatch, answer: Exception | None, problem: str) -> None:
    def urlopen(request: urllib.request.Request, **settings: Any) -> Any:
        assert (request.method, request.full_url) == ("HEAD", "https://me:secret@hub.example")
        if answer:
            raise answer
        return nullcontext()

    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@hub.example")
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)

    assert ask("huggingface") == Endpoint("huggingface", "https://***@hub.example", problem)


def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "hub.example")

    assert ask("huggingface") == Endpoint("huggingface", "hub.example", "unknown url type: 'hub.example'")


# All of them ----------------------------------------------------------------------------------------------------------


def test_whoever_cannot_be_asked_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Endpoint:
        raise RuntimeError("a bug")

    monkeypatch.setattr(network, "_index", fail)
    monkeypatch.setattr(network, "_registry", lambda image: Endpoint("registry", image))
    monkeypatch.setattr(network, "_huggingface", lambda: Endpoint("huggingface", "h", "refused"))

    assert probe_network(IMAGE) == (
        Endpoint("index", "", "RuntimeError: a bug"),
        Endpoint("registry", IMAGE),
        Endpoint("huggingface", "h", "refused"),
    )
