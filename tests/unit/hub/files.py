"""Models for the tests: small, and whole."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}


def tensors(**shapes: list[int]) -> bytes:
    """A safetensors file with fp32 tensors of these shapes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        size = 4
        for each in shape:
            size *= each
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return framed(json.dumps(header).encode()) + bytes(end)


def framed(header: bytes) -> bytes:
    """A header with its length in front."""
    return len(header).to_bytes(8, "little") + header


def pointer(content: bytes) -> bytes:
    """What Git LFS leaves instead of it."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(content)}\nsize {len(content)}\n".encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
SHARDS = {FIRST: tensors(a=[2, 3], b=[4]), SECOND: tensors(c=[5])}
INDEX = {"metadata": {}, "weight_map": {"a": FIRST, "b": FIRST, "c": SECOND}}
WHOLE: dict[str, bytes] = {
    "config.json": json.dumps(CONFIG).encode(),
    "tokenizer.json": b"{}",
    "README.md": b"<html> is fine here",
    "model.safetensors.index.json": json.dumps(INDEX).encode(),
    **SHARDS,
}


def write(folder: Path, files: dict[str, bytes | None]) -> Path:
    """Puts them there; None leaves one out."""
    for name, content in files.items():
        if content is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def write_cache(cache: Path, name: str, files: dict[str, bytes], commit: str = "c" * 40) -> Path:
    """The same as huggingface_hub keeps it: blobs, links to them, a ref and the listing."""
    store = cache / f"models--{name.replace('/', '--')}"
    snapshot = store / "snapshots" / commit
    listing: dict[str, Any] = {}
    for each, content in files.items():
        large = each.endswith(".safetensors")
        blob = sha256(content) if large else git_id(content)
        write(store / "blobs", {blob: content})
        (snapshot / each).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / each).symlink_to(f"../../blobs/{blob}")
        listing[each] = {"size": len(content), "blob_id": git_id(content)}
        if large:
            listing[each] |= {"lfs_sha256": blob, "lfs_size": len(content)}
    write(store, {"refs/main": commit.encode()})
    write(store, {f"trees/{commit}.json": json.dumps({"format_version": 1, "files": listing}).encode()})
    return snapshot
