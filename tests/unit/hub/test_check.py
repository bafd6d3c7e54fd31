"""What is found in a model's files: every kind of damage, the file to fetch again, and nothing in whole ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from envkit.hub.check import check_model, words
from envkit.hub.known import Known, known_files
from envkit.hub.places import Place, find_place
from tests.unit.hub.files import (
    FIRST,
    INDEX,
    SECOND,
    SHARDS,
    WHOLE,
    framed,
    git_id,
    pointer,
    sha256,
    tensors,
    write,
    write_cache,
)

FILE = SHARDS[FIRST]
INDEX_FILE = "model.safetensors.index.json"
PAGE = b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>"


def index(**changes: str) -> bytes:
    return json.dumps({"weight_map": {**INDEX["weight_map"], **changes}}).encode()


DAMAGE: dict[str, tuple[dict[str, bytes | None], list[str], str]] = {
    "cut": ({FIRST: FILE[:-7]}, ["safetensors-incomplete"], FIRST),
    "longer": ({FIRST: FILE + b"x"}, ["safetensors-incomplete"], FIRST),
    "empty": ({FIRST: b""}, ["safetensors-incomplete"], FIRST),
    "noise": ({FIRST: b"\xff" * 500}, ["safetensors-header-too-large"], FIRST),
    "header": ({FIRST: framed(b"{]") + bytes(9)}, ["safetensors-header-broken"], FIRST),
    "pointer": ({FIRST: pointer(FILE)}, ["model-lfs-pointer"], FIRST),
    "pointer-tokenizer": ({"tokenizer.json": pointer(b"x" * 5000)}, ["model-lfs-pointer"], "tokenizer.json"),
    "page": ({FIRST: PAGE}, ["model-web-page"], FIRST),
    "page-config": ({"config.json": PAGE}, ["model-web-page"], "config.json"),
    "json": ({"tokenizer.json": b'{"a": 1'}, ["model-json-broken"], "tokenizer.json"),
    "json-index": ({INDEX_FILE: b'{"weight_map": 3}'}, ["model-json-broken"], INDEX_FILE),
    "shard": ({SECOND: None}, ["model-shard-missing"], SECOND),
    "index": ({INDEX_FILE: None}, ["model-index-missing"], INDEX_FILE),
    "index-wrong": ({INDEX_FILE: index(d=SECOND)}, ["model-index-wrong"], f"{INDEX_FILE} {SECOND}"),
    "index-short": ({SECOND: tensors(c=[5], d=[1])}, ["model-index-incomplete"], ""),
    "torch": ({"extra.bin": b"PK\x03\x04" + bytes(50)}, ["model-file-incomplete"], "extra.bin"),
    "gguf": ({"x.gguf": b"nothing"}, ["model-file-incomplete"], "x.gguf"),
    "config": ({"config.json": None}, ["model-config-missing"], "config.json"),
    "tokenizer": ({"tokenizer.json": None}, ["model-tokenizer-missing"], ""),
    "weights": ({FIRST: None, SECOND: None, INDEX_FILE: None}, ["model-weights-missing"], ""),
    "left": ({f"{FIRST}.incomplete": b"123"}, ["model-download-incomplete"], ""),
    "left-beside": ({".cache/huggingface/download/x.incomplete": b"123"}, ["model-download-incomplete"], ""),
}  # fmt: skip
"""What is done to a whole model, what is found, and which files are to be fetched again."""
ERRORS = {name for name, said in words().items() if said.severity == "error"}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_nothing_else(tmp_path: Path, name: str) -> None:
    damage, found, again = DAMAGE[name]
    write(tmp_path, {**WHOLE, **damage})

    checked = check_model(Place(tmp_path, "Qwen/tiny"), {})

    assert [each.id for each in checked.findings] == found
    assert list(checked.again) == again.split()
    includes = "".join(f" --include {each}" for each in again.split())
    assert checked.command == (f"envkit model pull Qwen/tiny --to {tmp_path} --force{includes}" if again else "")
    assert checked.ok == (not ERRORS.intersection(found))


def test_nothing_is_found_in_a_whole_model(tmp_path: Path) -> None:
    checked = check_model(Place(write(tmp_path, WHOLE)), {})

    assert checked.findings == ()
    assert (checked.files, checked.tensors, checked.parameters) == (6, 3, 15)
    assert checked.bytes == sum(map(len, WHOLE.values()))


def test_every_entry_of_the_file_is_seen_by_a_test() -> None:
    seen = {each for _, found, _ in DAMAGE.values() for each in found}

    assert seen | {"model-link-broken", "model-size-differs", "model-hash-differs"} == set(words())


@pytest.mark.parametrize("name", words())
def test_words_read_like_the_others(name: str) -> None:
    said = words()[name]
    for text in (said.title, said.evidence, *said.fix):
        assert not text.endswith((".", "!")), text
        assert text.count("`") % 2 == 0, text
    assert said.source.startswith("https://")
    assert said.repair == []


def test_evidence_counts_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, {**WHOLE, FIRST: FILE[:-7]})

    (finding,) = check_model(Place(tmp_path), {}).findings

    assert finding.title == f"{FIRST} is not as long as its header says"
    assert finding.evidence == (
        f"it has {len(FILE) - 7} bytes, and its tensors end at {len(FILE)}: 7 bytes are missing"
    )
    assert finding.otherwise == "SafetensorError: Error while deserializing header: MetadataIncompleteBuffer"
    assert finding.fix == (f"`envkit model pull OWNER/NAME --to {tmp_path} --force --include {FIRST}`",)


def test_several_missing_shards_are_one_finding_with_one_command(tmp_path: Path) -> None:
    write(tmp_path, {**WHOLE, FIRST: None, SECOND: None})

    checked = check_model(Place(tmp_path, "a/b", "modelscope"), {})

    (finding,) = checked.findings
    assert finding.fix == (f"`envkit model pull a/b --from modelscope --force --include {FIRST} --include {SECOND}`",)
    assert checked.again == (FIRST, SECOND)


@pytest.mark.parametrize(
    "files",
    [
        {"adapter_config.json": b"{}", "adapter_model.safetensors": tensors(a=[1])},
        {"model-q4_k_m.gguf": b"GGUF" + bytes(20)},
        {"model_index.json": b"{}", "unet/diffusion.safetensors": tensors(a=[1]), "unet/config.json": b"{}"},
        {"config.json": b"{}", "pytorch_model.bin": b"\x80\x02}q\x00."},
    ],
    ids=["adapter", "gguf", "diffusers", "pickle"],
)  # fmt: skip
def test_other_kinds_of_models_are_whole_too(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert check_model(Place(write(tmp_path, files)), {}).findings == ()


def test_a_data_set_needs_no_weights(tmp_path: Path) -> None:
    write(tmp_path, {"data/train.parquet": b"PAR1", "README.md": b""})

    assert check_model(Place(tmp_path), {}, kind="dataset").findings == ()


# Caches and hashes ----------------------------------------------------------------------------------------------------


def test_a_cached_model_is_found_by_its_name_and_its_hashes_are_compared(tmp_path: Path) -> None:
    write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    place = find_place("Qwen/tiny", {"huggingface": tmp_path, "modelscope": tmp_path / "none"})

    checked = check_model(place, known_files(place), hashes=True)

    assert checked.findings == ()
    assert (checked.files, checked.hashed) == (6, 6)
    assert (place.repository, place.hub, place.revision) == ("Qwen/tiny", "huggingface", "c" * 40)


@pytest.mark.parametrize("listing", [True, False], ids=["by the listing", "by the names of blobs"])
@pytest.mark.parametrize(
    ("name", "other", "evidence"),
    [
        (FIRST, FILE[:-1] + b"x", f"its SHA-256 is {sha256(FILE[:-1] + b'x')}, and {sha256(FILE)} there"),
        ("tokenizer.json", b"[]", f"its SHA-1 in Git is {git_id(b'[]')}, and {git_id(b'{}')} there"),
    ],
)
def test_other_content_of_the_same_length_shows_by_its_hash(
    tmp_path: Path, name: str, other: bytes, evidence: str, listing: bool
) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    (folder / name).resolve().write_bytes(other)
    if not listing:
        next((folder.parent.parent / "trees").iterdir()).unlink()
    place = find_place(str(folder), {})

    assert check_model(place, known_files(place)).findings == ()
    checked = check_model(place, known_files(place), hashes=True)

    (finding,) = checked.findings
    assert (finding.id, finding.evidence) == ("model-hash-differs", evidence)
    assert finding.fix == (f"`envkit model pull Qwen/tiny --force --include {name}`, unless you changed it yourself",)
    assert checked.again == (name,)


def test_a_file_shorter_than_the_listing_says_is_found_without_hashes(tmp_path: Path) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", {**WHOLE, "vocab.txt": b"abc"})
    (folder / "vocab.txt").resolve().write_bytes(b"ab")
    place = find_place(str(folder), {})

    (finding,) = check_model(place, known_files(place)).findings

    assert (finding.id, finding.evidence) == ("model-size-differs", "it has 2 bytes, and 3 there")


def test_a_link_without_its_blob_leads_nowhere(tmp_path: Path) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    (folder / SECOND).resolve().unlink()
    place = find_place(str(folder), {})

    checked = check_model(place, known_files(place))

    assert [each.id for each in checked.findings] == ["model-link-broken"]
    assert checked.again == (SECOND,)


def test_nobody_waits_for_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(write(tmp_path / "m", WHOLE) / "x.safetensors")

    checked = check_model(Place(tmp_path / "m"), {})

    assert (checked.files, checked.findings) == (6, ())


def test_an_older_commit_is_mended_as_that_commit(tmp_path: Path) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    (folder / SECOND).resolve().unlink()
    write(folder.parent.parent, {"refs/main": b"d" * 40})
    place = find_place(str(folder), {})

    checked = check_model(place, known_files(place))

    assert checked.command == f"envkit model pull Qwen/tiny --revision {'c' * 40} --force --include {SECOND}"


@pytest.mark.parametrize(("revision", "named"), [("master", ""), ("v1.0", " --revision v1.0")])
def test_a_revision_of_modelscope_is_mended_as_that_revision(tmp_path: Path, revision: str, named: str) -> None:
    folder = write(tmp_path / "models" / "Qwen--tiny" / "snapshots" / revision, {**WHOLE, FIRST: b""})
    place = find_place(str(folder), {})

    checked = check_model(place, known_files(place))

    assert checked.command == f"envkit model pull Qwen/tiny --from modelscope{named} --force --include {FIRST}"


def test_a_download_that_was_interrupted_is_seen_in_the_cache(tmp_path: Path) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    write(folder.parent.parent / "blobs", {f"{'a' * 64}.incomplete": b"12345"})
    place = find_place(str(folder.parent.parent), {})

    (finding,) = check_model(place, known_files(place)).findings

    assert finding.evidence == f"{'a' * 64}.incomplete, 5 bytes of it are there"


def test_a_listing_of_another_version_is_passed_over(tmp_path: Path) -> None:
    folder = write_cache(tmp_path / "hub", "Qwen/tiny", WHOLE)
    next((folder.parent.parent / "trees").iterdir()).write_text('{"format_version": 9, "files": ["new"]}')
    place = find_place(str(folder), {})

    known = known_files(place)

    assert known[FIRST] == Known(sha256=sha256(FILE))
    assert known["config.json"].git


def test_of_fifteen_gigabytes_the_headers_alone_are_read(tmp_path: Path) -> None:
    weight_map: dict[str, str] = {}
    for shard in range(1, 8):
        name = f"model-{shard:05}-of-00007.safetensors"
        header = {
            f"{shard}.{n}": {"dtype": "F32", "shape": [1], "data_offsets": [4 * n, 4 * n + 4]} for n in range(400)
        }
        header[f"{shard}.large"] = {"dtype": "F32", "shape": [1 << 29], "data_offsets": [1600, 1600 + (2 << 30)]}
        start = framed(json.dumps(header).encode())
        with (tmp_path / name).open("wb") as file:  # sparse: it takes no room
            file.write(start)
            file.truncate(len(start) + 1600 + (2 << 30))
        weight_map |= dict.fromkeys(header, name)
    write(tmp_path, {"config.json": WHOLE["config.json"], "tokenizer.json": b"{}"})
    write(tmp_path, {INDEX_FILE: json.dumps({"weight_map": weight_map}).encode()})
    before = bytes_read()

    checked = check_model(Place(tmp_path), {})

    assert bytes_read() - before < 3_000_000
    assert checked.findings == ()
    assert checked.bytes > 15e9


def bytes_read() -> int:
    """By this process, from anything (proc(5), rchar)."""
    return int(Path("/proc/self/io").read_text(encoding="ascii").split()[1])
