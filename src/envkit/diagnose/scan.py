"""A log is read once: the lines that entries match, the exceptions, and how the program fared."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from envkit.diagnose.blocks import PIECE
from envkit.diagnose.normalise import normalise
from envkit.diagnose.patterns import compiled
from envkit.diagnose.report import Line
from envkit.diagnose.structure import BOX, HEADER, IGNORED, LINKS, Reader, raised_by
from envkit.diagnose.watch import Rule, Watch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from envkit.diagnose.normalise import Said
    from envkit.diagnose.patterns import Match
    from envkit.diagnose.schema import Entry
    from envkit.diagnose.signs import Signs
    from envkit.diagnose.structure import Chain, Text
    from envkit.diagnose.watch import Purpose

_EVIDENCE = 3
"""Lines that are kept of each entry; more prove no more."""
_FAILURES = 20
_READERS = 256
_WIDTH = 400
"""Characters of a line that are shown."""
_NOT_WORDS = re.compile(r"\\.|\[[^\]]*\]|\(\?P?<\w+>")
_APART = 200
"""Lines between two chains that have nothing to do with one another."""


@dataclass
class Proof:
    """What the log holds of one entry."""

    entry: Entry
    lines: list[Line] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    """What the groups of its patterns caught."""
    chain: Chain | None = None
    """Of the first line."""
    where: str = ""
    weight: tuple[int, int] = (0, 0)
    """How much of the first line was matched, and how much of that word by word; the more special entry has more."""
    quoted: bool = False
    """Whether the lines are code that a traceback shows, which holds the message before it is filled in."""
    passing: bool = False
    """Whether the program says in all of the lines that it goes on."""
    retried: int = 0
    """The last of them, where it says that it tries again."""
    also: bool = False
    unless: bool = False

    def add(self, line: Line) -> None:
        """One more line; of one that was seen in parts the longest."""
        same = next((each for each in self.lines if each.line == line.line), None)
        if same is None:
            self.lines.append(line)
        elif len(line.text) > len(same.text):
            self.lines[self.lines.index(same)] = line


@dataclass
class Failure:
    """A line that says that something failed, outside of any traceback."""

    line: Line
    kind: str
    message: str
    where: str


@dataclass
class Seen:
    """All that is kept of a log; its size does not depend on the log's."""

    proofs: dict[str, Proof]
    """By id."""
    chains: list[Chain]
    """The last ones that belong together."""
    failures: list[Failure]
    lines: int
    succeeded: bool
    """Whether it came through at some time."""


@dataclass(frozen=True)
class Rules:
    """All that is looked for."""

    entries: dict[str, Entry]
    """By id."""
    of: dict[str, list[Rule]]
    """By the entry's id; those that tell how the program fared are no entry's."""
    all: tuple[Rule, ...]

    @classmethod
    def made_of(cls, entries: Iterable[Entry], signs: Signs) -> Rules:
        """The patterns of the entries and of the signs."""
        by_id = {entry.id: entry for entry in entries}
        of = {
            name: [Rule(purpose, pattern, name) for purpose, patterns in _patterns(entry) for pattern in patterns]
            for name, entry in by_id.items()
        }
        fared = [Rule("success", pattern) for pattern in signs.success]
        fared += [Rule("failure", pattern) for pattern in signs.failure]
        return cls(by_id, of, (*(rule for rules in of.values() for rule in rules), *fared))


class Scan:
    """Reads blocks in their order."""

    def __init__(self, rules: Rules, signs: Signs) -> None:
        """Nothing seen yet."""
        self._rules = rules
        self._signs = signs
        self._watch = Watch(rules.all, (HEADER, IGNORED, BOX, *LINKS))
        self._proofs: dict[str, Proof] = {}
        self._chains: list[Chain] = []
        self._failures: list[Failure] = []
        self._readers: dict[tuple[str, str], Reader] = {}
        self._busy: set[tuple[str, str]] = set()
        self._opened: dict[str, tuple[str, str]] = {}
        """By container, who began a traceback whose other lines may come without a prefix."""
        self._chained_until = 0
        self._last: Said | None = None
        self._number = 1
        self._succeeded = False

    def feed(self, block: bytes) -> None:
        """Takes whole lines; each ends with a break (see `blocks.py`)."""
        self._watch.refresh()
        place = counted = 0
        while place < len(block):
            hit = place if self._busy else self._watch.next_place(block, place)
            if hit < 0:
                break
            start = max(block.rfind(b"\n", place, hit), block.rfind(b"\r", place, hit)) + 1 or place
            self._number += block.count(b"\n", counted, start)
            end = _end(block, hit)
            self._take(self._number, block[start:end])
            place, counted = end + 1, start
        self._number += block.count(b"\n", counted)

    def result(self) -> Seen:
        """What was seen so far."""
        return Seen(self._proofs, self._chains, self._failures, self._number - 1, self._succeeded)

    def _take(self, number: int, piece: bytes) -> None:
        said = self._last = normalise(piece.decode(errors="replace"), self._last)
        who = self._whose(said)
        reader = self._readers.get(who) or self._new_reader(who)
        texts = reader.take(number, said.text)
        if texts != [(number, said.text)] or self._watch.next_place(piece, 0) >= 0:
            self._look_at(number, texts, said, reader.chain_at(number))
        (self._busy.add if reader.busy else self._busy.discard)(who)
        if said.who and reader.busy and HEADER in said.text:
            self._opened[said.where] = who

    def _whose(self, said: Said) -> tuple[str, str]:
        """Who goes on with this line: of a traceback, SGLang puts the rank before the first line alone."""
        own = (said.where, said.who)
        opened = self._opened.get(said.where)
        if opened is None or own in self._busy - {opened}:
            return own
        if said.who:
            if own == opened:  # its lines carry the prefix
                del self._opened[said.where]
            return own
        return opened if opened in self._busy else own

    def _look_at(self, number: int, texts: list[Text], said: Said, chain: Chain | None) -> None:
        told = {id(rule) for at, text in texts for rule in self._look(at, text, said, chain)}
        if texts and said.whole != said.text:  # a pattern may be about what was taken for a prefix
            self._look(number, said.whole, said, chain, told)

    def _new_reader(self, who: tuple[str, str]) -> Reader:
        if len(self._readers) >= _READERS:
            oldest = next(iter(self._readers))
            self._busy.discard(oldest)
            del self._readers[oldest]
        reader = self._readers[who] = Reader(who[0], self._chained)
        return reader

    def _chained(self, chain: Chain) -> None:
        """Keeps the chains that stand together at the end of the log: what came long before is another matter."""
        if self._chains and chain.began - self._chained_until > _APART:
            self._chains = []
        if not any(chain is each for each in self._chains[-8:]) and len(self._chains) < _READERS:
            self._chains.append(chain)
        self._chained_until = chain.ended

    def _look(
        self, number: int, text: str, said: Said, chain: Chain | None, told: Collection[int] = ()
    ) -> Iterable[Rule]:
        """Keeps what the text shows; the rules that it matched. `told` are those that need not be looked for."""
        matched = [each for each in self._watch.matches(text) if id(each[0]) not in told]
        for rule, found in matched:
            if rule.purpose == "success":
                self._succeed(said.where)
            elif rule.purpose == "failure":
                self._fail(number, text, said, found, chain)
            else:
                self._prove(rule, Line(number, _shown(text, found)), found, said, chain)
        return [rule for rule, _ in matched]

    def _prove(self, rule: Rule, line: Line, found: Match, said: Said, chain: Chain | None) -> None:
        entry = self._rules.entries[rule.owner]
        if rule.purpose == "match" and _raised_elsewhere(entry, line.line, chain):
            return
        proof = self._proofs.get(rule.owner) or self._proofs.setdefault(rule.owner, Proof(entry))
        caught = {name: value.rstrip(".,;:") for name, value in found.groupdict().items() if value}  # ends of sentences
        if rule.purpose == "match":
            retried = _any(self._signs.retrying, said.whole)
            passing = retried or _any(self._signs.warning, said.whole)
            if passing and proof.lines and not proof.passing:
                return
            quoted = chain is not None and all(each.line != line.line for each in chain.raised)
            if (proof.passing and not passing) or (proof.quoted and not quoted):
                proof.lines, proof.weight = [], (0, 0)
            proof.quoted = quoted and (proof.quoted or not proof.lines)
            proof.passing = passing
            proof.retried = line.line if retried else 0
            if not proof.lines:
                proof.chain, proof.where = chain, said.where
                proof.values = {**proof.values, **caught}
            if not proof.lines or proof.lines[0].line == line.line:
                proof.weight = max(proof.weight, _weight(rule, found))
            if len(proof.lines) < _EVIDENCE:
                proof.add(line)
            done = len(proof.lines) >= _EVIDENCE and not (passing or proof.quoted)
        else:
            proof.values = {**caught, **proof.values}
            setattr(proof, "also" if rule.purpose == "with" else "unless", True)
            done = True
        if done:
            purpose = rule.purpose
            self._watch.retire(each for each in self._rules.of[rule.owner] if each.purpose == purpose)

    def _fail(self, number: int, text: str, said: Said, found: Match, chain: Chain | None) -> None:
        if chain or any(each.line.line == number for each in self._failures):
            return
        line = Line(number, _shown(text, found))
        caught, raised = found.groupdict(), raised_by(number, text)
        kind = caught.get("kind") or (raised.kind if raised else "")
        message = caught.get("message") or (raised.message if raised else "")
        self._failures.append(Failure(line, kind, message.strip(), said.where))
        if len(self._failures) >= _FAILURES:
            self._watch.retire(each for each in self._watch.rules if each.purpose == "failure")

    def _succeed(self, where: str) -> None:
        """What the same container printed before did not break it."""
        self._succeeded = True
        gone = [
            name
            for name, proof in self._proofs.items()
            if proof.lines and proof.where == where and proof.entry.severity != "partial"
        ]
        for name in gone:
            del self._proofs[name]
            self._watch.revive(self._rules.of[name])
        self._failures = [each for each in self._failures if each.where != where]
        self._watch.revive(each for each in self._watch.rules if each.purpose == "failure")
        self._chains = [each for each in self._chains if each.where != where]


def _patterns(entry: Entry) -> tuple[tuple[Purpose, list[str]], ...]:
    return (("match", entry.match), ("with", entry.also), ("unless", entry.unless))


def _raised_elsewhere(entry: Entry, number: int, chain: Chain | None) -> bool:
    """Whether that line ends a traceback, and the exception is of other code than the entry is about."""
    raised = chain.raised if chain and entry.frame else []
    told = {each.message for each in raised if each.line == number}  # pools raise again what a worker raised
    frames = [each.frame for each in raised if each.frame and each.message in told]
    return any(not compiled(entry.frame or "").search(frame) for frame in frames)


def _any(patterns: Iterable[str], text: str) -> bool:
    return any(compiled(each).search(text) for each in patterns)


def _weight(rule: Rule, found: Match) -> tuple[int, int]:
    return (found.span()[1] - found.span()[0], sum(each.isalnum() for each in _NOT_WORDS.sub("", rule.pattern)))


def _end(block: bytes, place: int) -> int:
    """Where the piece ends that `place` is in."""
    last = min(len(block), place + PIECE + 1)
    end = block.find(b"\n", place, last)
    end = last if end < 0 else end
    cut = block.find(b"\r", place, end)
    return end if cut < 0 else cut


def _shown(text: str, found: Match) -> str:
    """The text, or of a long one the part around what was found."""
    if len(text) <= _WIDTH:
        return text.strip()
    start = max(0, min(found.span()[0] - 80, len(text) - _WIDTH))
    return f"{'…' if start else ''}{text[start : start + _WIDTH].strip()}{'…' if start + _WIDTH < len(text) else ''}"
