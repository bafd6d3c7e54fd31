"""What would have to change for an environment to have other packages: what follows, what stands against it, what is nearest.

The matrix' own inputs are kept, its overrides and bounds among them; only pins are given up, and only where nothing else
works. Every answer is one pass of the resolver; there are a handful of them at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from envkit.errors import StaleLockError, UsageError
from envkit.lock.lockfile import Lock, chosen, read_lock
from envkit.lock.overlay import free_name
from envkit.lock.refusal import Refusal, read_refusal
from envkit.lock.resolver import Refused, look_up, solve, this_hour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from envkit.matrix.load import Matrix, MatrixEnvironment

Kind = Literal["pin", "stack", "constraint", "override", "metadata", "release"]
_PINS_ALONE = 3
"""How many pins are tried one by one."""
_STACKS = 2
"""How many other torch stacks are tried."""
_KEPT: tuple[Kind, ...] = ("stack", "constraint")


@dataclass(frozen=True)
class Change:
    """One package, against the lock."""

    package: str
    before: str | None
    """None: it is added."""
    after: str | None
    """None: it is removed."""
    torch_layer: bool
    """Whether it is part of the layer that environments on one torch stack share."""
    wheel: bool = True
    """Whether there is a wheel of it: else it is built from source where it is installed."""


@dataclass(frozen=True)
class Against:
    """A constraint that stands against what is wished, and who says so."""

    kind: Kind
    requirement: str
    by: str
    """A package with its release, or a key of the matrix."""
    reason: str = ""
    source: str = ""


@dataclass(frozen=True)
class Proposal:
    """A set that resolves."""

    name: str
    """One that no environment has yet."""
    environment: MatrixEnvironment
    """As it would stand in the matrix under that name, all its pins exact."""
    changes: tuple[Change, ...]
    has: tuple[str, ...]
    """The wished packages in it: `name==version`."""
    packages: dict[str, str]
    """All of it: version by name."""
    gives_up: tuple[str, ...]
    """Pins of the matrix that move for it."""
    moment: str
    """Nothing published after it was looked at."""


@dataclass(frozen=True)
class Explanation:
    """What came of the wishes."""

    lock: Lock
    has: tuple[str, ...] = ()
    """The lock has all of it already, in these versions."""
    proposal: Proposal | None = None
    """What would make it so; None where the lock is so, or where it is refused."""
    against: tuple[Against, ...] = ()
    """What it is refused for."""
    words: str = ""
    """The resolver's own."""
    nearest: Proposal | None = None
    """Where it is refused: the wishes with fewer pins, or on another stack; else other releases of what is wished."""
    tried: tuple[str, ...] = ()
    """What was given up and did not help."""
    elsewhere: tuple[str, ...] = ()
    """Environments whose locks have it, those of the same framework first."""

    @property
    def refused(self) -> bool:
        """Whether the environment cannot have it as the matrix stands."""
        return not self.has and self.proposal is None


def parse_wishes(texts: Sequence[str]) -> tuple[Requirement, ...]:
    """What was typed as requirements; raises `UsageError` for what is none, or cannot be asked of an index."""
    wishes: dict[str, Requirement] = {}
    for text in texts:
        hint = "write it as pip does: `transformers==5.6.0`, or a name alone"
        try:
            wish = Requirement(text)
        except InvalidRequirement as error:
            raise UsageError(f"not a requirement: {text!r}", hint=hint) from error
        if wish.url or wish.marker:
            raise UsageError(f"a requirement with {'an address' if wish.url else 'a condition'}: {text!r}", hint=hint)
        if (name := canonicalize_name(wish.name)) in wishes:
            raise UsageError(f"wished twice: {name}", hint=f"put both bounds into one: `{name}>=1,<2`")
        wishes[name] = wish
    return tuple(wishes.values())


def explain(
    matrix: Matrix, environment: MatrixEnvironment, wishes: Sequence[Requirement], told: Callable[[str], None]
) -> Explanation:
    """What it takes for the environment to have what is wished; `told` hears what is tried, before it is.

    Raises `StaleLockError` where there is no fresh lock to compare with, `ResolutionError` where the resolver could not
    work.
    """
    lock = read_lock(environment)
    if _satisfied(lock.packages, wishes) and not any(each.extras for each in wishes):
        return Explanation(lock, has=_versions(lock.packages, wishes))
    return _Search(matrix, environment, lock, tuple(wishes), told).run()


class _Search:
    """The passes for one question, in order."""

    def __init__(
        self,
        matrix: Matrix,
        environment: MatrixEnvironment,
        lock: Lock,
        wishes: tuple[Requirement, ...],
        told: Callable[[str], None],
    ) -> None:
        self._matrix, self._environment, self._lock, self._told = matrix, environment, lock, told
        self._wishes = wishes
        self._moment = lock.exclude_newer
        self._tried: list[str] = []
        self._refusals: list[Refusal] = []

    def run(self) -> Explanation:
        wished = ", ".join(map(str, self._wishes))
        answer = self._pass(f"{wished}, with all that the matrix says", with_wishes(self._environment, self._wishes))
        if isinstance(answer, Refusal):
            missing, younger = self._missing()
            if younger:
                self._moment, self._refusals = this_hour(), []
                answer = self._pass(f"{wished}, as of {self._moment}", with_wishes(self._environment, self._wishes))
            if missing:
                self._refusals = [missing]
        if not isinstance(answer, Refusal):
            return Explanation(self._lock, proposal=self._with_wheels(answer))
        nearest = None if missing else self._relaxed()
        nearest = nearest or self._nearest_release()
        return Explanation(
            self._lock,
            against=tuple(dict.fromkeys(each for refusal in self._refusals for each in self._against(refusal))),
            words="\n\n".join(dict.fromkeys(each.words for each in self._refusals)),
            nearest=nearest and self._with_wheels(nearest),
            tried=tuple(self._tried),
            elsewhere=tuple(_elsewhere(self._matrix, self._environment, self._wishes)),
        )

    # Giving up pins ---------------------------------------------------------------------------------------------------

    def _relaxed(self) -> Proposal | None:
        """The wishes without pins of the matrix: one where one is enough, then all, then another framework or stack."""
        asked = with_wishes(self._environment, self._wishes)
        pins = [name for name in self._pins() if name != canonicalize_name(asked.package)]
        if pins and not self._beyond_pins():
            answer = self._pass("without its pins on other packages", without_pins(asked, pins), gives_up=pins)
            if not isinstance(answer, Refusal):
                return self._with_one_pin_less(asked, answer) or answer
            self._refusals.append(answer)
            self._tried.append("other releases of " + ", ".join(pins))
        for name in self._other_stacks():
            moved = without_pins(on_stack(self._matrix, asked, name), pins)
            answer = self._pass(f"on the torch stack {name}", moved, gives_up=pins)
            if not isinstance(answer, Refusal):
                return answer
            self._refusals.append(answer)
            self._tried.append(f"the torch stack {name}")
        return None if self._beyond_pins() else self._newer_framework(asked, pins)

    def _beyond_pins(self) -> bool:
        """Whether a wish contradicts what is never given up: bounds and overrides of the matrix, and its torch."""
        if any(
            _same_name(wish, Requirement(each.requirement))
            for wish in self._wishes
            for each in self._environment.entry.override
        ):
            return True
        kept = [Requirement(each.requirement) for each in _matrix_lines(self._environment) if each.kind in _KEPT]
        asked = [
            term
            for refusal in self._refusals
            for ask in refusal.asks
            if self._is_wished(ask.by)
            for term in ask.alternatives
            if len(ask.alternatives) == 1
        ]
        wanted = [*self._wishes, *(each for each in map(_parsed, asked) if each)]
        return any(_same_name(wish, bound) and _contradict(wish, bound) for wish in wanted for bound in kept)

    def _is_wished(self, term: str) -> bool:
        """Whether it is exactly a release that is wished."""
        return any(_exact(each) and term == f"{each.name}=={_exact(each)}" for each in self._wishes)

    def _with_one_pin_less(self, asked: MatrixEnvironment, loosest: Proposal) -> Proposal | None:
        if len(loosest.gives_up) <= 1:
            return None
        for name in loosest.gives_up[:_PINS_ALONE]:
            answer = self._pass(f"without its pin on {name} alone", without_pins(asked, [name]), gives_up=[name])
            if not isinstance(answer, Refusal):
                return answer
        return None

    def _newer_framework(self, asked: MatrixEnvironment, pins: list[str]) -> Proposal | None:
        """With a later release of the framework, where it is the framework that refuses."""
        package, own = canonicalize_name(asked.package), self._environment.version
        refuses = any(_is_of(ask.by, package) for refusal in self._refusals for ask in refusal.asks)
        if not refuses or any(canonicalize_name(each.name) == package for each in self._wishes):
            return None
        later = with_wishes(without_pins(asked, pins), [Requirement(f"{asked.package}>{own}")])
        answer = self._pass(
            f"with a later {asked.package} than {own}", later, gives_up=[*pins, package], moment=this_hour()
        )
        if isinstance(answer, Refusal):
            self._tried.append(f"a later {asked.package} than {own}")
            return None
        return answer

    def _pins(self) -> list[str]:
        """Packages that the environment pins, and that nobody wished for."""
        wished = {canonicalize_name(each.name) for each in self._wishes}
        names = [canonicalize_name(Requirement(each).name) for each in self._environment.entry.require]
        return [each for each in names if each not in wished]

    def _other_stacks(self) -> list[str]:
        """The torch stacks that have what is asked of torch, where the environment's own has not; its variant first."""
        terms = [text for refusal in self._refusals for ask in refusal.asks for text in ask.alternatives[:1]]
        parsed = [*self._wishes, *(each for each in map(_parsed, terms) if each)]
        asked = [each for each in parsed if _pin(self._environment.stack.pins, each.name)]
        against = [each for each in asked if not _allows(self._environment.stack.pins, each)]
        if not against:
            return []
        stacks = self._matrix.file.torch_stacks
        wished = [each for each in self._wishes if _pin(self._environment.stack.pins, each.name)] or against
        found = [
            name
            for name, stack in stacks.items()
            if name != self._environment.entry.stack and all(_allows(stack.pins, each) for each in wished)
        ]
        if not found:
            self._tried.append(f"another torch stack: none has {', '.join(dict.fromkeys(map(str, wished)))}")
        found.sort(key=lambda name: stacks[name].variant != self._environment.stack.variant)
        return found[:_STACKS]

    # Other releases of what is wished -----------------------------------------------------------------------------

    def _nearest_release(self) -> Proposal | None:
        """With those releases of what is refused that are nearest to the wished ones, and all other wishes as they are."""
        able: dict[str, Requirement] = {
            canonicalize_name(each.name): each for each in self._wishes if self._has_others(each)
        }
        loose: dict[str, Requirement] = {}
        refusal = self._refusals[0]
        while able:
            blamed = {name: wish for name, wish in able.items() if name in refusal.names} or able
            if loose and not blamed.keys() <= loose.keys():
                self._refusals.append(refusal)  # what stands against the next one
            if blamed.keys() <= loose.keys():
                answer = self._other_releases(loose, ">")
                return None if isinstance(answer, Refusal) else answer
            loose |= blamed
            answer = self._other_releases(loose, "<")
            if not isinstance(answer, Refusal):
                return self._nearer(answer, loose)
            refusal = answer
        return None

    def _has_others(self, wish: Requirement) -> bool:
        """Whether it names one release of several that may be taken."""
        unknown = any(canonicalize_name(wish.name) in refusal.missing for refusal in self._refusals)
        return _exact(wish) is not None and not unknown and not _pin(self._environment.stack.pins, wish.name)

    def _other_releases(self, loose: dict[str, Requirement], sign: Literal["<", ">"]) -> Proposal | Refusal:
        wishes = tuple(
            Requirement(f"{each.name}{_extras(each)}{sign}{_exact(each)}")
            if canonicalize_name(each.name) in loose
            else each
            for each in self._wishes
        )
        what = "older" if sign == "<" else "newer"
        asked = with_wishes(self._environment, wishes)
        return self._pass(f"with {what} releases of {', '.join(loose)}", asked, wishes=wishes, lowest=sign == ">")

    def _nearer(self, older: Proposal, loose: dict[str, Requirement]) -> Proposal:
        """The older release, or a newer one that is fewer steps away: an older one may be ancient, and ask for nothing."""
        if len(loose) > 1 or not older.changes:
            return older
        newer = self._other_releases(loose, ">")
        if isinstance(newer, Refusal):
            return older
        (name, wish), *_ = loose.items()
        return min(older, newer, key=lambda each: _distance(wish, each.packages[name]))

    def _missing(self) -> tuple[Refusal | None, bool]:
        """What there is no release of, if anything; else whether a release is younger than the lock."""
        wanted = [str(each) for each in self._wishes]
        self._told("whether there are such releases")
        answer = look_up(self._environment, wanted, self._moment)
        if not isinstance(answer, Refused) or not read_refusal(answer.words).missing:
            return None, False
        answer = look_up(self._environment, wanted, this_hour())
        if isinstance(answer, Refused) and (read := read_refusal(answer.words)).missing:
            return read, False
        return None, True

    # One pass ---------------------------------------------------------------------------------------------------------

    def _pass(
        self,
        what: str,
        environment: MatrixEnvironment,
        *,
        gives_up: Iterable[str] = (),
        wishes: tuple[Requirement, ...] | None = None,
        moment: str | None = None,
        lowest: bool = False,
    ) -> Proposal | Refusal:
        self._told(what)
        wishes = self._wishes if wishes is None else wishes
        moment = moment or self._moment
        prefer = self._lock.subset(("*", *(f"!{canonicalize_name(each.name)}" for each in wishes)))
        body = solve(environment, moment, prefer=prefer, lowest=lowest)
        if isinstance(body, Refused):
            refusal = read_refusal(body.words)
            if not self._refusals:
                self._refusals.append(refusal)
            return refusal
        packages = Lock(environment.name, "", moment, "", body, "").packages
        if not _satisfied(packages, wishes):
            refusal = Refusal("", (), (), ())
            if not self._refusals:
                self._refusals.append(refusal)
            return refusal
        changes = tuple(self._changes(packages))
        moved = {each.package for each in changes}
        return Proposal(
            name=free_name(environment, self._matrix.file.environments),
            environment=pinned(environment, packages),
            changes=changes,
            has=_versions(packages, wishes),
            packages=packages,
            gives_up=tuple(each for each in gives_up if each in moved),
            moment=moment,
        )

    def _changes(self, packages: dict[str, str]) -> Iterator[Change]:
        before = self._lock.packages
        for name in sorted(before.keys() | packages.keys()):
            if before.get(name) != packages.get(name):
                in_layer = chosen(name, self._environment.torch_layer)
                yield Change(name, before.get(name), packages.get(name), in_layer)

    def _with_wheels(self, proposal: Proposal) -> Proposal:
        """The proposal, with what must be built from source marked."""
        wanted = [f"{each.package}=={each.after}" for each in proposal.changes if each.after]
        if not wanted:
            return proposal
        self._told("whether there are wheels")
        wheels = look_up(self._environment, wanted, proposal.moment)
        if isinstance(wheels, Refused):
            return proposal
        marked = (replace(each, wheel=wheels.get(each.package, True)) for each in proposal.changes)
        return replace(proposal, changes=tuple(marked))

    # Who says so ------------------------------------------------------------------------------------------------------

    def _against(self, refusal: Refusal) -> Iterator[Against]:
        """Each constraint that the refusal rests on, those of the matrix first; wishes are none of them."""
        for each in _matrix_lines(self._environment):
            ours = Requirement(each.requirement)
            wish = next((one for one in self._wishes if _same_name(one, ours)), None)
            if each.kind == "override":
                if wish:
                    yield each
            elif wish and each.kind == "pin":
                continue  # what is wished stands in its place
            elif refusal.requires(each.requirement) or (wish and _contradict(wish, ours)):
                yield each
        for ask in refusal.asks:
            yield Against("metadata", ask.requirement, self._release(ask.by))
        for term in refusal.missing:
            yield Against("release", term, "the package index")

    def _release(self, term: str) -> str:
        """`llamafactory>=0.9.5` as the release that is meant, where one is pinned."""
        name = re.split(r"[\[=<>!~]", term)[0]
        pins = with_wishes(self._environment, self._wishes)
        version = _pin([*pins.entry.require, *pins.stack.pins], name)
        if version is None and (exact := re.fullmatch(r"[^=<>!~]+==([^,*]+)", term)):
            version = exact[1]
        return f"{name} {version}" if version else term


# Environments that are nearly the one of the matrix -------------------------------------------------------------------


def with_wishes(environment: MatrixEnvironment, wishes: Sequence[Requirement]) -> MatrixEnvironment:
    """The environment with the wishes in place of its own pins on these packages, or after them."""
    left = {canonicalize_name(each.name): str(each) for each in wishes}
    kept = [left.pop(canonicalize_name(Requirement(each).name), each) for each in environment.entry.require]
    return _requiring(environment, [*kept, *left.values()])


def without_pins(environment: MatrixEnvironment, names: Sequence[str]) -> MatrixEnvironment:
    """The environment with these packages in any version."""
    parsed = map(Requirement, environment.entry.require)
    return _requiring(
        environment,
        [f"{each.name}{_extras(each)}" if canonicalize_name(each.name) in names else str(each) for each in parsed],
    )


def on_stack(matrix: Matrix, environment: MatrixEnvironment, name: str) -> MatrixEnvironment:
    """The environment on another torch stack of the matrix."""
    stack = matrix.file.torch_stacks[name]
    return replace(
        environment,
        entry=msgspec.structs.replace(environment.entry, stack=name),
        stack=stack,
        variant=matrix.file.variants[stack.variant],
        compiled=matrix.file.compiled if stack.toolkit else {},
    )


def pinned(environment: MatrixEnvironment, packages: dict[str, str]) -> MatrixEnvironment:
    """The environment with everything that it asks for by name pinned to what was resolved."""
    pins = []
    for text in environment.entry.require:
        asked = Requirement(text)
        if asked.extras or not _pin(environment.stack.pins, asked.name):  # else its stack says it already
            version = packages.get(canonicalize_name(asked.name))
            pins.append(f"{asked.name}{_extras(asked)}=={version}" if version else text)
    return _requiring(environment, pins)


def _requiring(environment: MatrixEnvironment, require: list[str]) -> MatrixEnvironment:
    return replace(environment, entry=msgspec.structs.replace(environment.entry, require=require))


def _matrix_lines(environment: MatrixEnvironment) -> Iterator[Against]:
    """All that the matrix says of versions in the environment, and where."""
    entry, stack, at = environment.entry, environment.stack, f"environments.{environment.name}"
    for text in entry.require:
        yield Against("pin", text, f"{at}.require")
    toolkit = stack.toolkit.require if stack.toolkit else []
    for text in stack.pins:
        source = stack.toolkit.source if stack.toolkit and text in toolkit else stack.source
        yield Against("stack", text, f"torch_stacks.{entry.stack}", source=source)
    for each in entry.constrain:
        yield Against("constraint", each.requirement, f"{at}.constrain", each.reason, each.source)
    for each in entry.override:
        yield Against("override", each.requirement, f"{at}.override", each.reason, each.source)


def _elsewhere(matrix: Matrix, environment: MatrixEnvironment, wishes: Sequence[Requirement]) -> Iterator[str]:
    others = [each for each in matrix.environments() if each.name != environment.name]
    for each in sorted(others, key=lambda other: other.framework.name != environment.framework.name):
        try:
            if _satisfied(read_lock(each).packages, wishes):
                yield each.name
        except StaleLockError:
            continue


# Requirements -----------------------------------------------------------------------------------------------------


def _satisfied(packages: dict[str, str], wishes: Iterable[Requirement]) -> bool:
    return all(
        (version := packages.get(canonicalize_name(each.name))) and each.specifier.contains(version, prereleases=True)
        for each in wishes
    )


def _versions(packages: dict[str, str], wishes: Iterable[Requirement]) -> tuple[str, ...]:
    names = [canonicalize_name(each.name) for each in wishes]
    return tuple(f"{name}=={packages[name]}" for name in names)


def _pin(pins: Iterable[str], name: str) -> str | None:
    """The version that an exact pin on the package names."""
    found = next(
        (each for each in map(Requirement, pins) if canonicalize_name(each.name) == canonicalize_name(name)), None
    )
    return _exact(found) if found else None


def _allows(pins: Iterable[str], asked: Requirement) -> bool:
    version = _pin(pins, asked.name)
    return version is not None and asked.specifier.contains(version, prereleases=True)


def _exact(requirement: Requirement) -> str | None:
    """The version of `name==version`; None for anything wider."""
    clauses = list(requirement.specifier)
    return clauses[0].version if [each.operator for each in clauses] == ["=="] and "*" not in str(clauses[0]) else None


def _distance(wish: Requirement, version: str) -> list[int]:
    """How far a release is from the wished one: the numbers of its version compared, the first ones first."""
    wished, found = (Version(each).release for each in (_exact(wish) or "0", version))
    return [abs(one - other) for one, other in zip_longest(wished, found, fillvalue=0)]


def _contradict(wish: Requirement, bound: Requirement) -> bool:
    """Whether no version satisfies both, as far as an exact one tells."""
    for one, other in ((wish, bound), (bound, wish)):
        if (version := _exact(one)) is not None:
            return not SpecifierSet(str(other.specifier)).contains(version, prereleases=True)
    return False


def _same_name(one: Requirement, other: Requirement) -> bool:
    return canonicalize_name(one.name) == canonicalize_name(other.name)


def _is_of(term: str, package: str) -> bool:
    return canonicalize_name(re.split(r"[\[=<>!~]", term)[0]) == package


def _parsed(term: str) -> Requirement | None:
    try:
        return Requirement(term)
    except InvalidRequirement:
        return None


def _extras(requirement: Requirement) -> str:
    return f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
