"""What is known of logs, checked: every fault is told with file, line and key. Tests do that, and no ordinary start."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from envkit.diagnose.knowledge import FIELD
from envkit.diagnose.literals import LEAST, required
from envkit.diagnose.patterns import PatternError, compiled
from envkit.diagnose.schema import Entry
from envkit.errors import MatrixError
from envkit.matrix.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def load_entries(folder: Path) -> tuple[Entry, ...]:
    """The entries of every file in `folder`, by file and place; raises `MatrixError` with all their faults."""
    source = Source()
    places: dict[str, Path] = {}
    entries: list[Entry] = []
    for path in sorted(folder.glob("*.yaml")):
        family: list[Entry] = source.read(path, list[Entry]) or []
        for number, entry in enumerate(family):
            at = str(number)
            if entry.id in places:
                source.fault((at, "id"), f"{entry.id} stands in {places[entry.id].name} already", path)
            places.setdefault(entry.id, path)
            for keys, text in _faults(entry):
                source.fault((at, *keys), text, path)
        entries += family
    _check_names(folder, source, places)
    if source.faults:
        raise MatrixError(source.faults, subject="the diagnoses have", again="./dev test -k test_diagnoses")
    return tuple(entries)


def _check_names(folder: Path, source: Source, places: dict[str, Path]) -> None:
    """Adds a fault for every `beats` that leads nowhere."""
    for path in sorted(folder.glob("*.yaml")):
        for number, entry in enumerate(source.read(path, list[Entry]) or [] if not source.faults else []):
            for place, name in enumerate(entry.beats):
                if not any(fnmatchcase(each, name) for each in places if each != entry.id):
                    source.fault((str(number), "beats", str(place)), f"no other entry has the id {name}", path)


def _faults(entry: Entry) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong inside of an entry: its keys, and a sentence."""
    names: list[set[str]] = []
    needed: set[str] = set()
    frames = [entry.frame] if entry.frame else []
    for key, patterns in (("match", entry.match), ("with", entry.also), ("unless", entry.unless), ("frame", frames)):
        for number, pattern in enumerate(patterns):
            try:
                groups = set(compiled(pattern).groupindex)
            except PatternError as error:
                yield (key, str(number)), f"not a pattern of RE2: {error}: {pattern!r}"
                continue
            if not required(pattern).texts:
                yield (key, str(number)), f"{LEAST} characters in a row must stand for themselves: {pattern!r}"
            if key == "match":
                names.append(groups)
            elif key == "with":
                needed |= groups
    yield from _unfilled(entry, names, needed)
    for number, condition in enumerate(entry.facts):
        given = [each for each in (condition.equals, condition.below, condition.at_least) if each is not None]
        if len(given) != 1:
            yield ("facts", str(number)), "one of `is`, `below` and `at_least` is needed"


def _unfilled(entry: Entry, names: list[set[str]], needed: set[str]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names in braces that a pattern does not fill; those in `needed` are filled by a line of `with`."""
    always, sometimes = set.intersection(*names) if names else set(), set().union(*names)
    for keys, text in _texts(entry):
        for name, otherwise in FIELD.findall(text):
            if name not in sometimes | needed:
                yield keys, f"no pattern of `match` or `with` has a group {name!r}"
            elif name not in always | needed and not otherwise:
                yield keys, f"not every pattern of `match` has a group {name!r}: write `{{{name}|something}}`"


def _texts(entry: Entry) -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("title",), entry.title
    yield ("cause",), entry.cause
    for key, texts in (("fix", entry.fix), ("check", entry.check)):
        for number, text in enumerate(texts):
            yield (key, str(number)), text
