"""How BuildKit is called; a real build is in tests/integration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from envkit.backends.base import Recipe, Silent
from envkit.backends.build_log import BuildLog
from envkit.backends.buildkit import build_command, build_hint, build_options, recipe_hash
from envkit.process import Completed
from envkit.render.templates import build_context

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (0, ["docker", "buildx", "build", "--load", "--progress", "plain"]),
        (1, ["docker", "build", "--progress", "plain"]),
    ],
)
def test_buildx_is_used_where_the_plugin_exists(
    monkeypatch: pytest.MonkeyPatch, status: int, command: list[str]
) -> None:
    asked = []
    monkeypatch.setattr("envkit.process.run", lambda argv: asked.append(argv) or Completed(status, "", ""))

    assert build_command() == command
    assert asked == [["docker", "buildx", "version"]]


def test_a_plain_build(recipe: Recipe, tmp_path: Path) -> None:
    assert build_options(recipe, tmp_path) == [
        "--label", f"io.envkit.recipe={recipe_hash(recipe)}",
        "--tag", "envkit/demo:2.1.0-cu130",
        str(tmp_path / "context"),
    ]  # fmt: skip
    written = {each.name: each.read_text() for each in (tmp_path / "context").iterdir()}
    assert written == build_context(recipe.environment, recipe.lock)


def test_a_build_with_everything_that_the_machine_and_the_mirror_say(
    matrix: Matrix, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.crt"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://machine.example/simple")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:8080")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    options = build_options(replace(recipe, mirror=matrix.mirror("near")), tmp_path)

    assert options[:-5] == [
        "--secret", f"id=index,src={tmp_path}/index",
        "--secret", f"id=ca,src={bundle}",
        "--build-arg", "APT_MIRROR=http://apt.example/debian",
        "--build-arg", "BASE_IMAGE=hub.example/library/debian:bookworm-slim",
        "--label", "io.envkit.base=hub.example/library/debian:bookworm-slim",
        "--build-arg", "HTTPS_PROXY",
        "--build-arg", "no_proxy",
    ]  # fmt: skip
    assert (tmp_path / "index").read_text() == "https://index.example/simple"
    assert "secret@" not in " ".join(options)


def test_credentials_of_an_index_are_in_a_secret_and_neither_in_argv_nor_in_the_context(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://me:hunter2@index.example/simple")

    options = build_options(recipe, tmp_path)

    assert (tmp_path / "index").read_text() == "https://me:hunter2@index.example/simple"
    assert "hunter2" not in " ".join(options)
    assert not any("hunter2" in each.read_text() for each in (tmp_path / "context").iterdir())


def test_a_named_base_image_wins_over_the_mirror_s(matrix: Matrix, recipe: Recipe, tmp_path: Path) -> None:
    options = build_options(replace(recipe, mirror=matrix.mirror("near"), base_image="mine:1"), tmp_path)

    assert [each for each in options if each.startswith("BASE_IMAGE")] == ["BASE_IMAGE=mine:1"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("http_proxy", "http://127.0.0.1:7897"), ("UV_DEFAULT_INDEX", "http://localhost:3141/simple")],
)
def test_what_listens_on_this_machine_alone_is_reached_through_the_host_s_network(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)

    options = build_options(recipe, tmp_path)

    assert options[options.index("--network") + 1] == "host"


def test_the_recipe_s_hash_changes_with_every_file_and_with_nothing_else(recipe: Recipe, matrix: Matrix) -> None:
    other = replace(recipe.lock, body=recipe.lock.body.replace("six==1.17.0", "six==1.16.0"))
    changes = [
        recipe,
        replace(recipe, lock=other),
        replace(recipe, lock=replace(recipe.lock, build="")),
        replace(recipe, environment=replace(recipe.environment, torch_layer=("torch",))),
    ]

    assert len({recipe_hash(each) for each in changes}) == len(changes)
    assert recipe_hash(replace(recipe, mirror=matrix.mirror("near"))) == recipe_hash(recipe)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "write /opt/venv/lib: No space left on device",
            (
                "make room where the engine keeps its data: `docker system df` shows what is there,"
                " `docker builder prune` frees caches"
            ),
        ),
        (
            "error: Hash mismatch for `six==1.17.0`",
            (
                "what the package index serves is not what was locked; nothing was installed from it:"
                " choose another index with `--mirror`"
            ),
        ),
        (
            "exit code: 3",
            "fix the cause and run the same command again: the steps before it are cached",
        ),
    ],
)
def test_what_to_do_about_a_failed_build(words: str, hint: str) -> None:
    assert build_hint(words, "docker") == hint


def test_who_served_another_file_is_named(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://me:hush@mine.example/simple")
    words = "error: Hash mismatch for `six==1.17.0`"

    assert "what https://***@mine.example/simple serves is not what was locked" in build_hint(words, "docker")
    assert "what https://index.example/simple serves is not what was locked" in build_hint(
        words, "docker", matrix.mirror("near")
    )


def test_what_to_do_about_a_base_image_that_cannot_be_pulled() -> None:
    log = BuildLog(Silent())
    for line in (Path(__file__).parent / "no-base-image.txt").read_text().splitlines():
        log.feed(line)

    assert build_hint(log.failure()[1], "docker") == (
        "the base image could not be pulled: load it first, or name another with `--base-image IMAGE`"
        " or a mirror with `--mirror cn`"
    )
