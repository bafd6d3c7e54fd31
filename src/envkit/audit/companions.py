"""What must agree with torch and with each other: CUDA, libraries for each CUDA, packages of one version; pure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envkit.audit.fault import Fault, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.audit.known import Alike, Family
    from envkit.audit.seen import Seen

_NVIDIA = re.compile(r"^nvidia-.+-cu(\d{2})\d?$")
_LOCAL_CUDA = re.compile(r"(?:^|[.+_-])cu(\d{2})(\d?)(?=$|[.+_-]|torch|pt)")
_LOCAL_TORCH = re.compile(r"torch(\d+\.\d+)")


def companion_faults(subject: Subject) -> Iterator[Fault]:
    """All of them."""
    seen = subject.seen
    versions = seen.versions
    yield from _of_another_cuda(subject)
    if "torch" in versions:
        yield from _second_major(subject)
    for package, family in subject.known.families.items():
        if package in versions:
            yield from _without_its_library(seen, package, family)
    for alike in subject.known.same_version:
        yield from _different(alike, versions)


def mate(subject: Subject, name: str) -> str:
    """How to get the release of a package that goes with the torch that is there."""
    torch = subject.seen.versions.get("torch", "")
    same = [
        each for each in subject.stacks if each.torch and Version(each.torch).public == Version(torch or "0").public
    ]
    pins = {str(canonicalize_name(pin.name)): str(pin) for stack in same for pin in map(Requirement, stack.pins)}
    if name in pins:
        return f"`pip install --no-deps '{pins[name]}'`, which goes with torch {torch}"
    if same and name == "torchaudio":
        return f"`pip uninstall torchaudio`: there is none for torch {torch}"
    return f"install the {name} that was built for torch {torch}, from the same index as torch"


# CUDA -----------------------------------------------------------------------------------------------------------------


def _of_another_cuda(subject: Subject) -> Iterator[Fault]:
    seen, known = subject.seen, subject.known
    cuda = seen.cuda.get("torch")
    versions = seen.versions
    for name in known.built_for.packages:
        own = seen.cuda.get(name)
        if cuda is None or own is None or own == cuda:
            continue
        companion = known.companions.get(name)
        parts = 1 if companion and companion.agree == "major" else 2
        refused = companion and own and cuda and own.split(".")[:parts] != cuda.split(".")[:parts]
        values = {
            "name": name,
            "version": versions.get(name, ""),
            "own": own or "none",
            "torch": versions.get("torch", ""),
            "cuda": cuda or "none",
            "mate": mate(subject, name),
        }
        if companion and refused:
            error = companion.error.format(own=own, cuda=cuda)
            yield Fault("companion-of-another-cuda", name, {**values, "error": error})
        else:
            yield Fault("companion-of-a-near-cuda", name, values)


def _second_major(subject: Subject) -> Iterator[Fault]:
    """Packages and libraries of another CUDA than torch's."""
    seen = subject.seen
    cuda = seen.torch_cuda
    major = cuda.partition(".")[0]
    told = {"torch": seen.versions["torch"], "major": major or "none"}
    for name, version in seen.distributions:
        if (suffix := _NVIDIA.match(name)) and suffix[1] != major:
            values = {**told, "name": name, "version": version, "own": suffix[1]}
            yield Fault("packages-of-another-cuda", suffix[1], values)
    for soname, path in seen.sonames.items():
        if (own := cuda_major(subject, soname)) and own != major:
            yield Fault("libraries-of-another-cuda", own, {**told, "path": path, "own": own})


def cuda_major(subject: Subject, soname: str) -> str:
    """The CUDA major version that a library's name tells; empty: it tells none."""
    names = "|".join(map(re.escape, subject.known.cuda_major.libraries))
    number = re.match(rf"({names})\.so\.(\d+)", soname)
    return number[2] if number else ""


def built_with(subject: Subject, name: str) -> tuple[str, str]:
    """The torch and the CUDA that a package was built with; empty where it does not say.

    It says so in a file, in the name of the wheel that it came in, or in the part of its version after the `+`.
    """
    seen = subject.seen
    stated = seen.stated.get(name, {})
    version = seen.versions.get(name, "")
    tags = f"{version.partition('+')[2]}+{seen.wheels.get(name, '').partition('+')[2].partition('-')[0]}"
    torch = stated.get("torch", "") or (said[1] if (said := _LOCAL_TORCH.search(tags)) else "")
    cuda = stated.get("cuda", "")
    if cuda.isdecimal():  # 1208
        cuda = f"{int(cuda) // 100}.{int(cuda) % 100}"
    if not cuda and (said := _LOCAL_CUDA.search(tags)):
        cuda = f"{said[1]}.{said[2]}" if said[2] else said[1]
    return torch.partition("+")[0], cuda


# Families and trios ---------------------------------------------------------------------------------------------------


def _without_its_library(seen: Seen, package: str, family: Family) -> Iterator[Fault]:
    versions = seen.versions
    version, cuda = versions[package], seen.torch_cuda
    release = Version(version)
    errors = (
        error
        for spec, error in family.errors.items()
        if Requirement(spec).specifier.contains(release, prereleases=True)
    )
    error = next(errors, "{path}: cannot open shared object file: No such file or directory")
    for path in taken(seen, version, family):
        if path not in seen.members:
            place = f"{seen.sites[0]}/{path}" if seen.sites else path
            values = {
                "name": package,
                "version": version,
                "file": path.rpartition("/")[2],
                "torch": versions.get("torch", ""),
                "cuda": cuda or "none",
                "error": error.replace("{path}", place),
                "way_out": _way_out(seen, family, cuda),
            }
            yield Fault("no-library-for-this-cuda", package, values)


def _way_out(seen: Seen, family: Family, cuda: str) -> str:
    """The override that names a member of the same CUDA major version, where that one finds all that it needs."""
    if not family.override or not cuda:
        return ""
    broken = {root for fault in seen.linking for root in fault.roots}
    near = [each for each in _of_major(seen, family.chosen, cuda) if each[1] not in broken]
    if not near:
        return ""
    number, path = max(near)
    return f"or `export {family.override}={number}`: {path.rpartition('/')[2]} is there, and finds what it needs"


def taken(seen: Seen, version: str, family: Family) -> tuple[str, ...]:
    """The members that the package loads with this torch, there or not."""
    versions = seen.versions
    if family.unless and is_installed(Requirement(family.unless), versions):
        return ()
    torch = "".join(versions.get("torch", "").split(".")[:2])
    always = (each.replace("{torch}", torch) for each in family.always)
    return (*_chosen(seen, version, family.chosen.replace("{torch}", torch), family.nearest), *always)


def not_taken(seen: Seen, package: str, family: Family) -> set[str]:
    """The family's members that are not loaded."""
    ours = {each for each in seen.members if fnmatchcase(each, family.files)}
    return ours - set(taken(seen, seen.versions.get(package, "0"), family))


def _chosen(seen: Seen, version: str, chosen: str, nearest: str) -> tuple[str, ...]:
    """The member that the package takes with torch's CUDA, there or not; none without CUDA."""
    cuda = seen.torch_cuda
    if not cuda:
        return ()
    exact = chosen.replace("{cuda}", cuda.replace(".", ""))
    if exact in seen.members or not (nearest and Requirement(nearest).specifier.contains(version, prereleases=True)):
        return (exact,)
    there = _of_major(seen, chosen, cuda)
    wanted = int(cuda.replace(".", ""))
    below = [path for number, path in there if number < wanted]
    above = [path for number, path in there if number > wanted]
    return (below[-1] if below else above[0] if above else exact,)


def _of_major(seen: Seen, chosen: str, cuda: str) -> list[tuple[int, str]]:
    """The members for torch's CUDA major version, with their number, in order."""
    ours = re.compile(re.escape(chosen).replace(r"\{cuda\}", rf"({cuda.partition('.')[0]}\d+)"))
    return sorted((int(match[1]), match[0]) for each in seen.members if (match := ours.fullmatch(each)))


def is_installed(requirement: Requirement, versions: Mapping[str, str]) -> bool:
    """Whether a release that satisfies the requirement is there."""
    version = versions.get(canonicalize_name(requirement.name))
    return version is not None and requirement.specifier.contains(version, prereleases=True)


def _different(alike: Alike, versions: Mapping[str, str]) -> Iterator[Fault]:
    there = {each: versions[each] for each in alike.packages if each in versions}
    if len(there) < 2:
        return
    (first, wanted), *others = there.items()
    for name, version in others:
        if _parts(version, alike.parts) != _parts(wanted, alike.parts):
            values = {"name": name, "version": version, "first": first, "wanted": wanted}
            together = ", ".join(f"{each} {release}" for each, release in there.items())
            severe = "must-be-of-one-version" if alike.severity == "error" else "should-be-of-one-version"
            yield Fault(severe, first, {**values, "together": together, "error": alike.error.format_map(values)})
            return


def _parts(version: str, count: int) -> str:
    return ".".join(Version(version).public.split(".")[:count])
