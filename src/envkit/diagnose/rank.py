"""Of all that a log shows, what is the cause: pure, and the only place that decides."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from envkit.diagnose.facts import sentence
from envkit.diagnose.knowledge import FIELD
from envkit.diagnose.patterns import compiled
from envkit.diagnose.report import Diagnosis, Report, Root

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from envkit.diagnose.facts import Judge
    from envkit.diagnose.scan import Proof, Seen
    from envkit.diagnose.signs import Signs
    from envkit.diagnose.structure import Chain, Raised


def rank(seen: Seen, signs: Signs, judge: Judge) -> Report:
    """The causes first; what follows from them is left out, and what a fact speaks against where there is anything else."""
    proofs = sorted((each for each in seen.proofs.values() if _holds(each)), key=lambda each: each.lines[0].line)
    root = _root(seen, signs)
    if not (root or seen.failures or any(not each.passing and each.entry.severity != "warning" for each in proofs)):
        proofs = [each for each in proofs if not _went_on(each, seen)]
    fatal = [each for each in proofs if each.entry.severity == "fatal"]
    likely = [each for each in fatal if all(judge(fact) is not False for fact in each.entry.facts)]
    causes, consequences = _causes(likely or fatal, seen, judge)
    if not causes:
        causes = _lesser(proofs, root, signs) or _partial(proofs, root)
    return Report(
        diagnoses=tuple(_told(each, judge, consequences.get(each.entry.id, [])) for each in causes),
        exception=root,
        seen=tuple(each.entry.id for each in proofs),
        lines=seen.lines,
        failed=bool(root or seen.failures or any(each.entry.severity in ("fatal", "wrapper") for each in proofs)),
    )


def _holds(proof: Proof) -> bool:
    """Whether the log proves it."""
    return bool(proof.lines) and not proof.unless and (proof.also or not proof.entry.also)


def _went_on(proof: Proof, seen: Seen) -> bool:
    """Whether that is all that it was; a retry at the very end is one that did not help."""
    return proof.passing and not (proof.retried and proof.retried >= seen.lines - 1)


def _causes(proofs: Sequence[Proof], seen: Seen, judge: Judge) -> tuple[list[Proof], dict[str, list[str]]]:
    """Those that nothing else explains, the first to be told first; and by their ids what they explain."""
    explained: dict[str, str] = {}
    for one in proofs:
        for other in proofs:
            if (
                other is not one
                and (beats(one, other) or _hides(one, other, judge))
                and other.entry.id not in explained
            ):
                explained[other.entry.id] = one.entry.id
    causes = [each for each in proofs if each.entry.id not in explained]
    causes = causes or list(proofs[:1])  # entries that beat one another in a circle
    causes.sort(key=lambda each: _order(each, seen))
    consequences: dict[str, list[str]] = {}
    classes = {each.entry.id for each in proofs if each.entry.general}
    for name in (each for each in explained if each not in classes):
        cause, left = name, len(explained)
        while cause in explained and left:
            cause, left = explained[cause], left - 1
        if cause != name:
            consequences.setdefault(cause, []).append(name)
    return causes, consequences


def beats(one: Proof, other: Proof) -> bool:
    """Whether the other follows from the one, as its entry says."""
    return any(fnmatchcase(other.entry.id, pattern) for pattern in one.entry.beats)


def _hides(one: Proof, other: Proof, judge: Judge) -> bool:
    """Whether the other is the same in more general words, or came of the one in the same chain of exceptions."""
    if beats(other, one):
        return False
    if one.lines[0].line == other.lines[0].line:
        return _special(one, judge) > _special(other, judge)
    if one.chain is None or one.chain is not other.chain or one.chain.ignored:
        return False
    if one.entry.general != other.entry.general:
        return other.entry.general
    return one.lines[0].line < other.lines[0].line


def _special(proof: Proof, judge: Judge) -> tuple[bool, int, tuple[int, int], str]:
    """How special: a class comes last, and what needs a fact that nobody knows after what needs none; then by what matched."""
    doubts = sum(1 for each in proof.entry.facts if judge(each) is None)
    certain = len(proof.entry.facts) - doubts
    return (not proof.entry.general, certain - doubts, proof.weight, proof.entry.id)


def _order(proof: Proof, seen: Seen) -> tuple[bool, bool, bool, bool, int]:
    """What nothing could be done about comes last, before it what the program got over, classes, and warnings."""
    chain = proof.chain
    over = chain is not None and bool(seen.chains) and all(chain is not each for each in seen.chains)
    ignored = chain is not None and chain.ignored
    return (ignored, over or bool(proof.retried), proof.entry.general, proof.passing, proof.lines[0].line)


def _lesser(proofs: Sequence[Proof], root: Root | None, signs: Signs) -> list[Proof]:
    """Where nothing fatal is known: warnings whose failure is there too; else what says that there is more further up."""
    warnings = [each for each in proofs if each.entry.severity == "warning" and each.entry.also]
    if warnings:
        return warnings
    wrappers = [each for each in proofs if each.entry.severity == "wrapper"]
    tells_more = (
        root
        and root.kind
        and _short(root.kind) not in signs.reporting
        and not any(_names(each, root) for each in wrappers)
    )
    return [] if tells_more else wrappers[:1]


def _partial(proofs: Sequence[Proof], root: Root | None) -> list[Proof]:
    """What does not work, where no exception ended the program and no line says later that it failed."""
    if root and root.kind:
        return []
    after = root.line if root else 0
    return [each for each in proofs if each.entry.severity == "partial" and each.lines[0].line > after]


def _names(proof: Proof, root: Root) -> bool:
    return any(each.line == root.line for each in proof.lines)


def _root(seen: Seen, signs: Signs) -> Root | None:
    """The first exception of those at the end that is more than a report of another one."""
    chains = [each for each in seen.chains if each.raised]
    wrapped = {line.line for proof in seen.proofs.values() if proof.entry.severity == "wrapper" for line in proof.lines}

    def root_of(chain: Chain) -> Raised | None:
        """The first exception that is more than a report; of what Ray prints, that is the last."""
        return next((each for each in chain.raised if not chain.ignored and not _refers(each, wrapped, signs)), None)

    own = [(root, chain) for chain in chains if (root := root_of(chain))]
    meant = [(root, chain) for root, chain in own if _short(root.kind) not in signs.interrupting]
    if meant:
        return _told_root(*meant[0])
    if own:
        return None
    for failure in seen.failures:
        if _short(failure.kind) not in signs.reporting | signs.interrupting and failure.line.line not in wrapped:
            return Root(failure.kind, failure.message or failure.line.text, failure.line.line)
    return next((_told_root(each.raised[0], each) for each in chains if not each.ignored), None)


def _refers(raised: Raised, wrapped: Collection[int], signs: Signs) -> bool:
    """Whether it only says that something else failed."""
    return (
        raised.line in wrapped
        or _short(raised.kind) in signs.reporting
        or any(compiled(each).search(raised.message[:400]) for each in signs.referring)
    )


def _told_root(root: Raised, chain: Chain) -> Root:
    last = chain.raised[-1]
    ended = "" if last is root else f"{last.kind}: {last.message}" if last.message else last.kind
    return Root(root.kind, root.message, root.line, root.frame, ended)


def _short(kind: str) -> str:
    """The class's own name."""
    return kind.partition("(")[0].rpartition(".")[2]


def _told(proof: Proof, judge: Judge, consequences: Iterable[str]) -> Diagnosis:
    entry = proof.entry

    def fill(text: str) -> str:
        return FIELD.sub(lambda field: proof.values.get(field[1]) or field[2] or field[0], text)

    return Diagnosis(
        id=entry.id,
        title=fill(entry.title),
        severity=entry.severity,
        cause=fill(entry.cause),
        fix=tuple(map(fill, entry.fix)),
        evidence=tuple(proof.lines),
        source=entry.source,
        check=tuple(map(fill, entry.check)),
        confirmed=tuple(sentence(each) for each in entry.facts if judge(each)),
        contradicted=tuple(sentence(each) for each in entry.facts if judge(each) is False),
        unchecked=tuple(sentence(each) for each in entry.facts if judge(each) is None),
        consequences=tuple(consequences),
    )
