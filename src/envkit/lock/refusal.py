"""The resolver's refusal, read: which package's metadata asks for what, and what there is no release of.

uv tells a proof in sentences (crates/uv-resolver/src/pubgrub/report.rs). Only its fixed phrases are read; a sentence of
another form is left out, and who shows a refusal shows the words too where nothing was read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

_TERM = r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?(?:\{[^}]*\})?(?:(?:===|==|~=|!=|<=|>=|<|>)[^\s,]+(?:,(?:===|==|~=|!=|<=|>=|<|>)[^\s,]+)*)?"
_ASKS = re.compile(
    rf"(?P<by>{_TERM}) depends? on (?:one of: (?P<several>{_TERM}(?: (?!and\b){_TERM})*)|(?P<one>{_TERM}))"
)
_REQUIRED = re.compile(rf"you require (?P<first>{_TERM})(?: and (?P<second>{_TERM})(?= and |,|$))?")
_NO_RELEASE = re.compile(
    rf"there (?:is|are) no versions? of (?P<version>{_TERM})|(?P<name>{_TERM}) was not found in the package registry"
    rf"|(?P<file>{_TERM}) has no (?:usable )?wheels"
)
_MARKERS = re.compile(r"\{[^}]*\}")


@dataclass(frozen=True)
class Ask:
    """What a package's metadata asks for, as far as it stands in the way."""

    by: str
    """Which releases of which package: `llamafactory>=0.9.5`."""
    alternatives: tuple[str, ...]
    """Requirements on one package, any of which would do."""

    @property
    def requirement(self) -> str:
        """All of it in one line, the package named once."""
        name = _name(self.alternatives[0])
        return " or ".join([self.alternatives[0], *(each[len(name) :] for each in self.alternatives[1:])])


@dataclass(frozen=True)
class Refusal:
    """What a refusal rests on."""

    words: str
    asks: tuple[Ask, ...]
    required: tuple[str, ...]
    """Of what the resolver was asked for and bound to, that which the proof needs."""
    missing: tuple[str, ...]
    """What there is no release, or no usable file, of."""

    @property
    def names(self) -> set[str]:
        """The packages whose wished or pinned versions the proof needs."""
        return {canonicalize_name(_name(each)) for each in (*self.required, *self.missing)}

    def requires(self, requirement: str) -> bool:
        """Whether the proof needs this line of what was asked for."""
        ours = Requirement(requirement)
        return any(
            canonicalize_name(each.name) == canonicalize_name(ours.name) and each.specifier == ours.specifier
            for each in map(_parsed, self.required)
            if each
        )


def read_refusal(words: str) -> Refusal:
    """What the resolver's words say in the phrases that are known."""
    text = _MARKERS.sub("", " ".join(words.split("\n\nhint:")[0].split()))
    asks = []
    for match in _ASKS.finditer(text):
        found = tuple((match["several"] or match["one"]).split(" "))
        if len({_name(each) for each in found}) == 1:
            asks.append(Ask(match["by"], found))
    required = [each for match in _REQUIRED.finditer(text) for each in match.group("first", "second") if each]
    # "we can conclude that you require one of: …" follows from the rest, and is nobody's wish.
    followed = set(re.findall(rf"conclude that you require ({_TERM})", text))
    missing = [each for match in _NO_RELEASE.finditer(text) for each in match.groups() if each]
    return Refusal(
        words,
        tuple(dict.fromkeys(asks)),
        tuple(dict.fromkeys(each for each in required if each not in followed and each != "one")),
        tuple(dict.fromkeys(missing)),
    )


def _name(term: str) -> str:
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", term)
    return found[0] if found else term


def _parsed(term: str) -> Requirement | None:
    try:
        return Requirement(term)
    except InvalidRequirement:
        return None
