"""`envkit model check`: what it prints, and its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.hub.files import FIRST, WHOLE, write, write_cache

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.unit.cli.conftest import Envkit


def test_a_whole_model(envkit: Envkit, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", WHOLE)

    result = envkit("model", "check", str(folder))

    assert result.status == 0
    assert result.out == f"{folder}: 6 files, 572 B, 3 tensors, 15 parameters\n\nnothing is wrong with these files\n"


def test_a_broken_one_ends_with_the_command_that_mends_it(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    (folder / FIRST).resolve().write_bytes(WHOLE[FIRST][:-3])

    result = envkit("model", "check", "Qwen/tiny")

    assert result.status == 1
    assert result.out.endswith(f"1 error\n\nfetch again: envkit model pull Qwen/tiny --include {FIRST}\n")


def test_json_has_the_files_and_the_command(envkit: Envkit, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**WHOLE, FIRST: WHOLE[FIRST][:-3]})

    result = envkit("model", "check", str(folder), "--json")

    assert result.status == 1
    data = result.data
    assert {key: data[key] for key in ("repository", "hub", "revision", "files", "tensors", "hashed", "ok", "again")} == {
        "repository": None, "hub": None, "revision": None, "files": 6, "tensors": 1, "hashed": 0, "ok": False, "again": [FIRST],
    }  # fmt: skip
    assert data["command"] == f"envkit model pull OWNER/NAME --to {folder} --include {FIRST}"
    assert data["findings"][0]["id"] == "safetensors-incomplete"


def test_what_is_nowhere(envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))

    named, path = envkit("model", "check", "Qwen/none"), envkit("model", "check", "./none")

    assert (named.status, path.status) == (2, 2)
    assert named.err == (
        f"error: Qwen/none is no folder, and not in the caches: {tmp_path}/hf and {tmp_path}/ms\n\n"
        "hint: `envkit model pull Qwen/none`\n"
    )
    assert path.err == "error: no such folder: ./none\n\nhint: name a folder, or a model as `owner/name`\n"
