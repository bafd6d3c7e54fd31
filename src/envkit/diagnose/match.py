"""Which entries a log proves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.diagnose.knowledge import FIELD, known
from envkit.diagnose.normalise import normalise
from envkit.diagnose.patterns import compiled
from envkit.diagnose.report import Diagnosis, Line, Report

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envkit.diagnose.schema import Entry

_RANK = {"fatal": 0, "warning": 1, "wrapper": 2}


def diagnose(lines: Iterable[str], entries: Sequence[Entry] | None = None) -> Report:
    """What the log's lines prove, the cause first."""
    entries = known() if entries is None else entries
    first: dict[str, tuple[Line, Mapping[str, str]]] = {}
    also: set[str] = set()
    unless: set[str] = set()
    for number, raw in enumerate(lines, 1):
        line = normalise(raw)
        for entry in entries:
            if any(compiled(each).search(line) for each in entry.also):
                also.add(entry.id)
            if any(compiled(each).search(line) for each in entry.unless):
                unless.add(entry.id)
            for pattern in entry.match:
                if entry.id not in first and (found := compiled(pattern).search(line)):
                    values = {name: value for name, value in found.groupdict().items() if value is not None}
                    first[entry.id] = (Line(number, line), values)
    proven = [
        entry
        for entry in entries
        if entry.id in first and entry.id not in unless and (not entry.also or entry.id in also)
    ]
    return _ranked(proven, first)


def _ranked(proven: list[Entry], first: Mapping[str, tuple[Line, Mapping[str, str]]]) -> Report:
    proven.sort(key=lambda entry: first[entry.id][0].line)
    beaten = {each for entry in proven for each in entry.beats}
    causes = sorted((entry for entry in proven if entry.id not in beaten), key=lambda entry: _RANK[entry.severity])
    fatal = [entry for entry in causes if entry.severity == "fatal"]
    told = [_told(entry, *first[entry.id]) for entry in (fatal or causes)]
    return Report(tuple(told), tuple(entry.id for entry in proven))


def _told(entry: Entry, line: Line, values: Mapping[str, str]) -> Diagnosis:
    def fill(text: str) -> str:
        return FIELD.sub(lambda field: values.get(field[1]) or field[2] or field[0], text)

    return Diagnosis(
        id=entry.id,
        title=fill(entry.title),
        severity=entry.severity,
        cause=fill(entry.cause),
        fix=tuple(map(fill, entry.fix)),
        evidence=(line,),
        source=entry.source,
        check=tuple(map(fill, entry.check)),
    )
