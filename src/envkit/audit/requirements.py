"""What packages ask of each other, and what is there; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from envkit.audit.fault import Fault, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.audit.seen import Seen

_ORDER = {each: place for place, each in enumerate((">=", ">", "==", "===", "~=", "!=", "<=", "<"))}


@dataclass(frozen=True)
class Unmet:
    """A requirement that what is installed does not satisfy."""

    by: str
    """Who asks."""
    requirement: Requirement
    name: str
    found: str | None
    """The version that is installed."""

    @property
    def text(self) -> str:
        """The requirement as people write it, lower bounds first."""
        bounds = sorted(self.requirement.specifier, key=lambda each: (_ORDER[each.operator], each.version))
        return f"{self.requirement.name}{','.join(map(str, bounds))}"


def unmet(subject: Subject) -> list[Unmet]:
    """The requirements that are not satisfied, extras that somebody asks for included."""
    seen = subject.seen
    versions = seen.versions
    stand_ins = {name: group for group in subject.known.stand_ins.groups for name in group}
    found = []
    for by, requirement in _wanted(seen):
        name = canonicalize_name(requirement.name)
        if any(_meant(each, name, versions.get(name)) for each in subject.deliberate):
            continue
        there = next((versions[each] for each in (name, *stand_ins.get(name, ())) if each in versions), None)
        if there is None or (name in versions and not _satisfies(requirement.specifier, there)):
            found.append(Unmet(by, requirement, name, there))
    return found


def _meant(instead: Requirement, name: str, found: str | None) -> bool:
    """Whether what is there, or is left out, is what stands in place of the requirement."""
    if canonicalize_name(instead.name) != name:
        return False
    return instead.marker is not None if found is None else instead.specifier.contains(found, prereleases=True)


def _wanted(seen: Seen) -> Iterator[tuple[str, Requirement]]:
    """Every requirement that counts on this Python, with who asks; each once."""
    todo: list[tuple[str, str]] = [(name, "") for name in seen.requires]
    asked = set(todo)
    told = set()
    for name, extra in todo:  # grows while it is read
        for requirement in _counting(seen, name, extra):
            if (name, str(requirement)) not in told:
                told.add((name, str(requirement)))
                yield name, requirement
            more = [(canonicalize_name(requirement.name), each) for each in sorted(requirement.extras)]
            todo += [each for each in more if each not in asked]
            asked.update(more)


def _counting(seen: Seen, name: str, extra: str) -> Iterator[Requirement]:
    """The requirements of a package, or of an extra of it, whose markers are true here."""
    environment: dict[str, str] = {**seen.markers, "extra": extra}
    for text in seen.requires.get(name, ()):
        try:
            requirement = Requirement(text)
            counts = requirement.marker is None or requirement.marker.evaluate(environment)
        except (InvalidRequirement, UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
            continue  # old metadata; what is not known is no fault
        if counts and not (extra and requirement.marker is None):
            yield requirement


def _satisfies(bounds: SpecifierSet, version: str) -> bool:
    """Whether the version is within the bounds; builds of one release (`+cpu`) are alike."""
    try:
        public = SpecifierSet(",".join(str(each).partition("+")[0] for each in bounds))
        return bounds.contains(version, prereleases=True) or public.contains(version, prereleases=True)
    except InvalidVersion:
        return True


# Faults ---------------------------------------------------------------------------------------------------------------


def requirement_faults(subject: Subject) -> Iterator[Fault]:
    """What is asked for and not there, and what is known not to go together."""
    for each in unmet(subject):
        yield _unmet(subject, each)
    yield from _clashes(subject)
    yield from _twice(subject.seen)
    yield from _of_another_python(subject.seen)
    versions = subject.seen.versions
    for module, language in subject.seen.numpy.items():
        error = subject.known.numpy_1.errors[language]
        values = {
            "module": module,
            "name": module.partition("/")[0],
            "numpy": versions.get("numpy", ""),
            "error": error,
        }
        yield Fault("built-for-numpy-1", values["name"], values)


def _unmet(subject: Subject, fault: Unmet) -> Fault:
    values = {
        "by": fault.by,
        "version": subject.seen.versions[fault.by],
        "requirement": fault.text,
        "name": fault.name,
        "found": fault.found or "",
    }
    if fault.found is None:
        return Fault("requirement-missing", fault.name, values)
    refusal = subject.known.refusals.get(fault.by)
    if refusal and fault.name in refusal.looks_at:
        return Fault("requirement-refused", fault.by, {**values, "error": refusal.error.format_map(values)})
    return Fault("requirement-contradicted", fault.name, values)


def _clashes(subject: Subject) -> Iterator[Fault]:
    versions = subject.seen.versions
    for each in subject.known.clashes:
        package, beside = Requirement(each.package), Requirement(each.beside)
        if _there(package, versions) and _there(beside, versions):
            values = {
                "name": package.name,
                "version": versions[package.name],
                "beside": beside.name,
                "found": versions[beside.name],
            }
            error = each.error.format_map(values)
            yield Fault("do-not-go-together", package.name, {**values, "error": error, "cure": each.fix})


def _there(requirement: Requirement, versions: Mapping[str, str]) -> bool:
    return requirement.name in versions and _satisfies(requirement.specifier, versions[requirement.name])


def _twice(seen: Seen) -> Iterator[Fault]:
    found: dict[str, list[str]] = {}
    for name, version in seen.distributions:
        found.setdefault(name, []).append(version)
    for name, versions in found.items():
        if len(set(versions)) > 1:
            first, *others = dict.fromkeys(versions)
            yield Fault("installed-twice", name, {"name": name, "first": first, "others": ", ".join(others)})


def _of_another_python(seen: Seen) -> Iterator[Fault]:
    """Packages whose wheel was made for another Python or processor."""
    python = seen.markers.get("python_version", "")
    machine = seen.markers.get("platform_machine", "")
    for name, tags in seen.tags.items() if python else ():
        parsed = [each for tag in tags for each in _parsed(tag)]
        if parsed and not any(_runs(*each, python, machine) for each in parsed):
            yield Fault("wheel-of-another-python", name, {"name": name, "tags": ", ".join(tags), "python": python})


def _parsed(tag: str) -> list[tuple[str, str, str]]:
    try:
        return [(each.interpreter, each.abi, each.platform) for each in parse_tag(tag)]
    except ValueError:
        return []


def _runs(interpreter: str, abi: str, platform: str, python: str, machine: str) -> bool:
    """Whether such a wheel serves; what is not known serves."""
    if platform != "any" and machine and platform.startswith(("linux", "manylinux", "musllinux")):
        if not platform.endswith(f"_{machine}"):
            return False
    elif platform.startswith(("win", "macosx")):
        return False
    if interpreter.startswith("cp") and interpreter[2:].isdecimal():
        ours = tuple(map(int, python.split(".")))
        theirs = (int(interpreter[2]), int(interpreter[3:] or 0))
        return theirs == ours or (abi in ("abi3", "none") and theirs <= ours)
    return True
