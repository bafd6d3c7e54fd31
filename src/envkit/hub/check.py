"""What is wrong with a model's files: their headers, lengths, indexes and, where asked for, hashes; no tensor is loaded."""

from __future__ import annotations

import os
import re
import shlex
import zipfile
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from envkit.finding import read_words, told
from envkit.host.files import is_file, is_folder, read
from envkit.hub.known import Known, digest
from envkit.hub.modelscope import DEFAULT
from envkit.hub.tensors import BrokenHeaderError, Header, WrongLengthError, read_header

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.finding import Finding, Words
    from envkit.hub.places import Place
    from envkit.hub.sources import Kind

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.IGNORECASE)
SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.safetensors|\.bin)")
"""How a file is called that holds one part of the weights."""
_INDEXES = (".safetensors.index.json", ".bin.index.json")
_WEIGHTS = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
_PICKLES = (".bin", ".pt", ".pth")
_CONFIGS = ("config.json", "adapter_config.json", "model_index.json")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json", "sentencepiece.bpe.model")  # fmt: skip
_LEFT = (".incomplete", ".parallel_tmp")
"""How both hubs' libraries call files that are not whole yet."""
_BESIDE = {".git", ".cache", ".lock", ".msc", ".mv"}
"""Folders that are no part of a model."""
_LARGEST_JSON = 256 << 20
_NAMED = 4
"""How many files the command in a finding names; the last one, of all findings, names all."""


class Watcher(Protocol):
    """Hears how far a long work is; all in bytes."""

    def begin(self, total: int) -> None:
        """How much there is to do."""

    def advance(self, number: int) -> None:
        """So much more is done."""


class Silent:
    """Hears nothing."""

    def begin(self, total: int) -> None:
        """Nothing."""

    def advance(self, number: int) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Checked:
    """What was seen."""

    place: Place
    files: int
    bytes: int
    tensors: int
    parameters: int
    """Numbers in all tensors of safetensors files."""
    hashed: int
    """Files whose content was compared."""
    findings: tuple[Finding, ...]
    again: tuple[str, ...]
    """Files to fetch again."""
    command: str
    """That fetches them; empty: nothing to fetch."""

    @property
    def ok(self) -> bool:
        """Whether nothing is an error."""
        return not any(each.severity == "error" for each in self.findings)


@cache
def words() -> dict[str, Words]:
    """The words of every finding, by id."""
    return read_words(Path(__file__).with_name("findings.yaml"))


def check_model(
    place: Place,
    known: Mapping[str, Known],
    *,
    hashes: bool = False,
    kind: Kind = "model",
    watcher: Watcher | None = None,
) -> Checked:
    """Looks at every file of the folder; `known` is what its hub says of them, and `hashes` reads them all."""
    looking = _Looking(place, known, kind)
    looking.files()
    if kind == "model":
        looking.model()
    looking.downloads()
    if hashes:
        looking.hashes(watcher or Silent())
    return looking.result()


@dataclass(frozen=True)
class _Fault:
    """Something that is wrong."""

    values: dict[str, str]
    fetch: list[str]


@dataclass
class _Looking:
    """One look at a folder."""

    place: Place
    known: Mapping[str, Known]
    kind: Kind
    sizes: dict[str, int] = field(default_factory=dict)
    headers: dict[str, Header] = field(default_factory=dict)
    faults: dict[tuple[str, str], list[_Fault]] = field(default_factory=lambda: defaultdict(list))
    broken: dict[str, None] = field(default_factory=dict)
    """Files to fetch again."""
    unreadable: set[str] = field(default_factory=set)
    """Those of them that are wrong by themselves, and not beside others."""
    indexed: set[str] = field(default_factory=set)
    """Files that an index names."""
    hashed: int = 0

    def fault(self, name: str, file: str, fetch: list[str] | None = None, *, group: str = "", **values: str) -> None:
        """Notes one; those of the same id and `group` are told together. `fetch` mends it: the file itself."""
        fetch = [file] if fetch is None else fetch
        self.faults[name, group or file].append(
            _Fault({"file": file, "folder": str(self.place.folder), **values}, fetch)
        )
        if words()[name].severity == "error":
            self.broken.update(dict.fromkeys(fetch))

    def command(self, files: list[str]) -> str:
        """What fetches them again."""
        parts = ["envkit model pull", self.place.repository or "OWNER/NAME"]
        if self.kind == "dataset":
            parts.append("--dataset")
        if self.place.hub == "modelscope":
            parts.append("--from modelscope")
        if self.place.revision and self.place.revision != self.usual_revision():
            parts.append(f"--revision {shlex.quote(self.place.revision)}")
        if not self.place.hub:
            parts.append(f"--to {shlex.quote(str(self.place.folder))}")
        if files:  # a file of the right length would stay
            parts.append("--force")
        return " ".join([*parts, *(f"--include {shlex.quote(each)}" for each in files)])

    def usual_revision(self) -> str:
        """The one that a pull brings where none is named."""
        if self.place.hub == "modelscope":
            return DEFAULT
        return (read(self.place.store / "refs" / "main") or "").strip()

    def files(self) -> None:
        """Every file by itself."""
        for path in walk(self.place.folder):
            name = path.relative_to(self.place.folder).as_posix()
            if name.endswith(_LEFT):
                continue
            if path.is_symlink() and not path.exists():
                self.fault("model-link-broken", name, target=str(path.readlink()))
                continue
            if not path.is_file():
                continue  # a pipe would keep us waiting
            self.sizes[name] = path.stat().st_size
            self.file(path, name)
        self.unreadable.update(self.broken)

    def file(self, path: Path, name: str) -> None:
        """One of them: the most telling fault alone."""
        size, wanted = self.sizes[name], self.known.get(name, Known()).size
        with path.open("rb") as file:
            first = file.read(512)
        if first.startswith(_LFS) and size < 1024:
            self.fault("model-lfs-pointer", name, size=str(size), real=_pointed_at(first))
        elif _PAGE.match(first) and not name.endswith((".html", ".htm", ".md", ".txt")):
            self.fault("model-web-page", name, begins=_begins(first))
        elif name.endswith(".safetensors"):
            self.safetensors(path, name, first)
        elif why := _cut(path, name, first):
            self.fault("model-file-incomplete", name, why=why)
        elif name.endswith(".json") and size <= _LARGEST_JSON and (why := _no_json(path)):
            self.fault("model-json-broken", name, why=why)
        if wanted is not None and wanted != size and name not in self.broken:
            self.fault("model-size-differs", name, size=str(size), expected=str(wanted))

    def safetensors(self, path: Path, name: str, first: bytes) -> None:
        """Its header, against its length."""
        try:
            self.headers[name] = read_header(path)
        except WrongLengthError as error:
            difference = (
                f"{abs(error.end - error.size)} bytes {'are missing' if error.size < error.end else 'too many'}"
            )
            self.fault("safetensors-incomplete", name, why=error.why, difference=difference, error=error.name)
        except BrokenHeaderError as error:
            what = "safetensors-header-too-large" if error.name == "HeaderTooLarge" else "safetensors-header-broken"
            self.fault(what, name, why=error.why, error=error.name, begins=_begins(first))

    def model(self) -> None:
        """What a model has to have."""
        top = {each for each in self.sizes if "/" not in each}
        weights = any(each.endswith(_WEIGHTS) for each in self.sizes)
        gguf = any(each.endswith(".gguf") for each in top)
        for index in [each for each in self.sizes if each.endswith(_INDEXES)]:
            self.index(index)
        self.unindexed()
        if not weights and not self.broken:
            self.fault("model-weights-missing", "", [], count=str(len(self.sizes)))
        if weights and not gguf and not top.intersection(_CONFIGS):
            self.fault("model-config-missing", "config.json")
        speaks = "config.json" in top and _model_type(self.place.folder / "config.json")
        if speaks and not gguf and not top.intersection(_TOKENIZERS) and not any(map(_is_tokenizer, top)):
            self.fault("model-tokenizer-missing", "", [], names=", ".join(_TOKENIZERS))

    def index(self, index: str) -> None:
        """The tensors that it names, against those that its files have."""
        try:
            named = msgspec.json.decode((self.place.folder / index).read_bytes(), type=_Index).weight_map
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            if index not in self.broken:
                self.fault("model-json-broken", index, why=str(error))
            return
        folder = index.rpartition("/")[0]
        tensors: dict[str, set[str]] = defaultdict(set)
        for tensor, file in named.items():
            tensors[f"{folder}/{file}" if folder else file].add(tensor)
        self.indexed.update(tensors)
        for file in sorted(tensors):
            if file in self.headers:
                self.compare(index, file, tensors[file], set(self.headers[file].tensors))
            elif file not in self.sizes and file not in self.broken:
                self.fault("model-shard-missing", file, group=index, index=index)

    def compare(self, index: str, file: str, named: set[str], there: set[str]) -> None:
        """One file of an index."""
        for name, differ in (("model-index-wrong", named - there), ("model-index-incomplete", there - named)):
            if differ:
                self.fault(name, file, [index, file], index=index, count=str(len(differ)), tensor=min(differ))

    def unindexed(self) -> None:
        """Numbered files that no index names, and whose index is not there."""
        groups: dict[str, list[str]] = defaultdict(list)
        for name in {**self.sizes, **self.broken}:
            if (found := SHARD.fullmatch(name)) and name not in self.indexed:
                groups[f"{found['stem']}{found['suffix']}.index.json"].append(name)
        for index, files in groups.items():
            if index not in self.sizes:
                self.fault("model-index-missing", files[0], [index], index=index, count=str(len(files)))

    def downloads(self) -> None:
        """Files that a download left."""
        store = self.place.store
        for folder in (self.place.folder, store / "blobs"):
            for path in sorted(folder.rglob("*")) if is_folder(folder) else ():
                if path.name.endswith(_LEFT) and is_file(path):
                    size = f"{path.stat().st_size} bytes of it are there"
                    self.fault("model-download-incomplete", path.name, [], group="all", size=size)

    def hashes(self, watcher: Watcher) -> None:
        """The content of every file that its hub says something of."""
        compared = [
            each for each in self.sizes if each not in self.unreadable and self.known.get(each, Known()).tells_content
        ]
        watcher.begin(sum(self.sizes[each] for each in compared))
        for name in compared:
            algorithm, found, wanted = digest(self.place.folder / name, self.known[name], watcher.advance)
            self.hashed += 1
            if found != wanted:
                self.fault("model-hash-differs", name, algorithm=algorithm, found=found, expected=wanted)

    def told(self, name: str, faults: list[_Fault]) -> Finding:
        """Those of one id, with the one command that mends all of them."""
        files = [file for each in faults for file in each.fetch]
        again = self.command(files[:_NAMED]) + (" …" if len(files) > _NAMED else "")
        return told(name, words()[name], *({**each.values, "again": again} for each in faults))

    def result(self) -> Checked:
        """All of it, the errors first."""
        findings = [self.told(name, faults) for (name, _), faults in self.faults.items()]
        again = tuple(self.broken)
        return Checked(
            place=self.place,
            files=len(self.sizes),
            bytes=sum(self.sizes.values()),
            tensors=sum(len(each.tensors) for each in self.headers.values()),
            parameters=sum(tensor.numbers for each in self.headers.values() for tensor in each.tensors.values()),
            hashed=self.hashed,
            findings=tuple(sorted(findings, key=lambda each: each.severity != "error")),
            again=again,
            command=self.command(list(again)) if again else "",
        )


class _Index(msgspec.Struct):
    """Which file has which tensor."""

    weight_map: dict[str, str]


def walk(folder: Path) -> Iterator[Path]:
    """Every file and link of the model, in order."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if each not in _BESIDE)
        yield from (Path(where, each) for each in sorted(files))


def _pointed_at(pointer: bytes) -> str:
    size = re.search(rb"^size (\d+)$", pointer, re.MULTILINE)
    return f"{int(size[1])} bytes" if size else "a large one"


def _begins(first: bytes) -> str:
    return repr(first[:32].decode("utf-8", errors="backslashreplace"))


def _cut(path: Path, name: str, first: bytes) -> str:
    """Why a file of GGUF or PyTorch is no whole one; empty: it looks whole."""
    if name.endswith(".gguf"):
        return "" if first.startswith(b"GGUF") else f"a GGUF file begins with GGUF, and it with {_begins(first)}"
    if name.endswith(_PICKLES):
        if not first:
            return "it is empty"
        if first.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
            return f"it is a zip archive whose end is missing, after {path.stat().st_size} bytes"
    return ""


def _no_json(path: Path) -> str:
    try:
        msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, RecursionError) as error:
        return str(error)
    return ""


def _model_type(path: Path) -> str:
    """What config.json calls the model; empty where it has no name, or cannot be read."""
    try:
        config: Any = msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, OSError):
        return ""
    return str(config.get("model_type") or "") if isinstance(config, dict) else ""


def _is_tokenizer(name: str) -> bool:
    return name.endswith(".tiktoken") or name.startswith("tokenization_")
