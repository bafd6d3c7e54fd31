"""`envkit model check`: what it prints, and its exit status."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

from envkit.hub.known import Known
from envkit.hub.remote import Listing
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


def test_of_a_download_that_broke_off_early_the_first_files_are_shown_and_one_command_names_all(
    tmp_path: Path, envkit: Envkit
) -> None:
    shards = [f"model-{number:05}-of-00040.safetensors" for number in range(1, 41)]
    listed = json.dumps({"weight_map": {f"layer.{name}": name for name in shards}}).encode()
    cut = dict.fromkeys(shards[:20], b"")
    folder = write(
        tmp_path, {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors.index.json": listed, **cut}
    )

    result = envkit("model", "check", str(folder))

    lines = result.out.splitlines()
    assert sum(line.endswith("  safetensors-incomplete") for line in lines) == 4
    assert "… and 16 more of safetensors-incomplete: `--json` has them all" in lines
    assert max(len(line) for line in lines[:-1]) < len(str(folder)) + 400
    assert [name for name in shards if f"--include {name}" not in lines[-1]] == []


def test_a_broken_one_ends_with_the_command_that_mends_it(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    (folder / FIRST).resolve().write_bytes(WHOLE[FIRST][:-3])

    result = envkit("model", "check", "Qwen/tiny")

    assert result.status == 1
    assert result.out.endswith(f"1 error\n\nfetch again: envkit model pull Qwen/tiny --force --include {FIRST}\n")


def test_json_has_the_files_and_the_command(envkit: Envkit, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**WHOLE, FIRST: WHOLE[FIRST][:-3]})

    result = envkit("model", "check", str(folder), "--json")

    assert result.status == 1
    data = result.data
    assert {key: data[key] for key in ("repository", "hub", "revision", "files", "tensors", "hashed", "ok", "again")} == {
        "repository": None, "hub": None, "revision": None, "files": 6, "tensors": 1, "hashed": 0, "ok": False, "again": [FIRST],
    }  # fmt: skip
    assert data["command"] == f"envkit model pull OWNER/NAME --to {folder} --force --include {FIRST}"
    assert data["findings"][0]["id"] == "safetensors-incomplete"


def test_what_is_nowhere(envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms"))

    named, path = envkit("model", "check", "Qwen/none"), envkit("model", "check", "./none")

    assert (named.status, path.status) == (2, 2)
    assert named.err == (
        f"error: Qwen/none is no folder, and not in the caches: {tmp_path}/hf/hub and {tmp_path}/ms\n\n"
        "hint: `envkit model pull Qwen/none`\n"
    )
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "large"))
    assert f"not in the caches: {tmp_path}/large and {tmp_path}/ms\n" in envkit("model", "check", "Qwen/none").err
    assert path.err == "error: no such folder: ./none\n\nhint: name a folder, or a model as `owner/name`\n"


def test_hashes_that_nobody_knows_are_told(envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "m", WHOLE)
    monkeypatch.setattr("envkit.hub.connect.is_installed", lambda _: False)

    unnamed, named = (envkit("model", "check", str(folder), "--hashes", *more) for more in ((), ("--as", "Qwen/tiny")))

    assert unnamed.err == "  what the hub lists is not known: name the repository with `--as OWNER/NAME`\n"
    assert named.err == "  the hub was not asked for hashes: modelscope_hub is not installed beside envkit\n"
    assert (unnamed.status, named.status) == (0, 0)
    assert "; 0 compared with their hashes" in named.out


def test_the_hub_is_asked_for_what_the_cache_knows_without_a_hash(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(WHOLE["config.json"])
    listed = {"config.json": Known(size, git="0" * 40)}
    remembered = json.dumps({"files": {"config.json": {"size": size}}}).encode()
    folder = write(tmp_path / "m", {**WHOLE, ".cache/huggingface/trees/x.json": remembered})
    monkeypatch.setattr(
        "envkit.cli.model.ask_listing", lambda *_: (Listing("Qwen/tiny", "model", "", "c0ffee", listed), "")
    )

    result = envkit("model", "check", str(folder), "--hashes", "--as", "Qwen/tiny", "--json")

    assert (result.data["hashed"], result.data["again"]) == (1, ["config.json"])


def test_a_name_that_is_none(envkit: Envkit) -> None:
    for command in (("pull", "tiny"), ("push", ".", "tiny", "--to", "hf")):
        result = envkit("model", *command)

        assert result.status == 2
        assert result.err == (
            "error: not the name of a model: tiny\n\nhint: write owner and name, such as `Qwen/Qwen2.5-7B-Instruct`\n"
        )


def test_a_source_that_is_not_known(envkit: Envkit) -> None:
    result = envkit("model", "pull", "Qwen/tiny", "--from", "hf-mirrors")

    assert result.status == 2
    assert result.err == "error: unknown source: hf-mirrors\n\nhint: did you mean `hf-mirror`?\n"


def test_a_mirror_takes_no_uploads(envkit: Envkit, tmp_path: Path) -> None:
    result = envkit("model", "push", str(tmp_path), "me/tiny", "--to", "hf-mirror")

    assert result.status == 2
    assert result.err == "error: hf-mirror takes no uploads\n\nhint: `--to hf`, or `--to modelscope`\n"


def test_what_would_be_sent_is_shown_and_nothing_goes(envkit: Envkit, tmp_path: Path) -> None:
    folder = write(tmp_path / "m", {**WHOLE, ".env": b"KEY=1"})

    result = envkit("model", "push", str(folder), "me/tiny", "--to", "hf", "--dry-run")

    assert result.status == 0
    assert result.out == ""
    assert "stays  .env: its name is that of a secret, or of half a file\n" in result.err
    assert result.err.endswith("6 files, 572 B, to https://huggingface.co/me/tiny; private, if it is new\n")
    data = envkit("model", "push", str(folder), "me/tiny", "--to", "modelscope", "--dry-run", "--json").data
    assert (data["bytes"], data["private"], data["left"], data["address"]) == (572, True, [".env"], None)


def test_nothing_is_sent_where_nobody_says_yes(envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())

    result = envkit("model", "push", str(write(tmp_path / "m", WHOLE)), "me/tiny", "--to", "hf")

    assert result.status == 2
    assert "error: nobody is there to be asked\n\nhint: add --yes, or --dry-run\n" in result.err


def test_a_token_that_nobody_is_there_to_type_is_asked_of_a_variable(
    envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.setattr("envkit.cli.model.token_of", lambda _: None)

    result = envkit("model", "push", str(write(tmp_path / "m", WHOLE)), "me/tiny", "--to", "hf", "--yes")

    assert result.status == 2
    asked = "error: nobody is there to be asked for the token for https://huggingface.co\n\nhint: set HF_TOKEN\n"
    assert asked in result.err


def test_without_the_library_the_command_that_installs_it_is_told(
    envkit: Envkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envkit.hub.connect.is_installed", lambda _: False)
    monkeypatch.setattr("envkit.cli.model.is_installed", lambda _: False)

    result = envkit("model", "pull", "Qwen/tiny", "--from", "hf")

    assert result.status == 7
    assert result.err.startswith("error: huggingface_hub is not installed beside envkit\n\nhint: `")
    assert "pip install --python" in result.err


def test_a_users_own_source_is_used_and_its_faults_are_told(envkit: Envkit, tmp_path: Path) -> None:
    from envkit.hub.sources import read_sources
    from envkit.share import overlay_file

    own = overlay_file().with_name("sources.yaml")
    own.parent.mkdir(parents=True)
    own.write_text(
        "sources:\n  company: {hub: huggingface, about: ours, endpoint: 'https://hub.example/', source: mail}\n"
    )
    assert read_sources().sources["company"].address == "https://hub.example"
    assert list(read_sources().sources)[:3] == ["hf", "hf-mirror", "modelscope"]
    own.write_text("sources:\n  company: {hub: github, endpoint: x}\n")

    result = envkit("model", "pull", "Qwen/tiny")

    assert result.status == 3
    assert "sources.company" in result.err
