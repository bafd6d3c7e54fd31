"""Where models come from: the order, the variables, and that caches are those of the frameworks."""

from __future__ import annotations

import pytest

from envkit.errors import UsageError
from envkit.hub.connect import token_of
from envkit.hub.sources import caches, choose_sources, read_sources
from envkit.matrix.load import load_matrix

KNOWN = read_sources()


def test_caches_are_where_every_framework_has_them() -> None:
    for framework in load_matrix().frameworks.values():
        for hub, facts in KNOWN.hubs.items():
            assert framework.caches.get(hub, facts.cache) == facts.cache, framework.name


def test_auto_tries_all_in_their_order_and_modelscope_first_where_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USE_MODELSCOPE_HUB", raising=False)
    assert list(choose_sources("auto", KNOWN.sources)) == ["hf", "hf-mirror", "modelscope"]
    monkeypatch.setenv("USE_MODELSCOPE_HUB", "1")
    assert list(choose_sources("auto", KNOWN.sources)) == ["modelscope", "hf", "hf-mirror"]


def test_one_that_is_named_is_tried_alone() -> None:
    assert list(choose_sources("hf-mirror", KNOWN.sources)) == ["hf-mirror"]
    with pytest.raises(UsageError) as caught:
        choose_sources("github", KNOWN.sources)
    assert caught.value.hint == "there are: auto, hf, hf-mirror, modelscope"


def test_a_slash_at_the_end_of_hf_endpoint_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")

    assert KNOWN.sources["hf"].address == "https://hf-mirror.com"
    assert KNOWN.sources["hf-mirror"].mirror


def test_caches_and_tokens_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", "/data/hf")
    monkeypatch.setenv("MODELSCOPE_CACHE", "/data/ms")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "hf_x")
    monkeypatch.delenv("HF_TOKEN", raising=False)

    assert {hub: str(folder) for hub, folder in caches(KNOWN.hubs).items()} == {
        "huggingface": "/data/hf",
        "modelscope": "/data/ms",
    }
    assert token_of(KNOWN.hubs["huggingface"]) == "hf_x"
