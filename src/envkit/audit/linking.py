"""Why libraries would not load: what the loader would say, and what lies behind it; pure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

from envkit.audit.companions import built_with, cuda_major, is_installed, mate, not_taken
from envkit.audit.fault import Fault, Subject
from envkit.audit.requirements import unmet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.audit.seen import LinkFault

_TORCH_SYMBOL = re.compile(r"3c10|2at\d|5torch|^aoti_|^torch_|THPVariable|^_ZN2at")

_PARTS_OF_TORCH = ("torch", "cuda-toolkit")
"""Whose requirements are torch's libraries."""


def linking_faults(subject: Subject) -> Iterator[Fault]:
    """What would not load, without what need not."""
    for fault in counted(subject):
        match fault.kind:
            case "missing":
                yield _missing(subject, fault)
            case "undefined":
                yield _undefined(subject, fault)
            case "version":
                yield _version(subject, fault)


def counted(subject: Subject) -> Iterator[LinkFault]:
    """The faults of libraries that are loaded, and whose packages cannot do without."""
    seen, known = subject.seen, subject.known
    versions = seen.versions
    ignored = {path for name, family in known.families.items() for path in not_taken(seen, name, family)}
    patterns = [
        pattern
        for each in known.optional
        if not each.requirement or is_installed(Requirement(each.requirement), versions)
        for pattern in each.files
    ]
    cut = {each.rpartition("/")[2] for each in seen.cut}
    for fault in seen.linking:
        roots = (root for root in fault.roots if root not in ignored)
        needed = any(not any(fnmatchcase(root, pattern) for pattern in patterns) for root in roots)
        if needed and not (fault.kind == "missing" and fault.what in cut):
            yield fault


def _values(subject: Subject, fault: LinkFault) -> dict[str, str]:
    seen = subject.seen
    name = fault.distribution or fault.library.partition("/")[0]
    outside = fault.library.startswith("/")
    return {
        "name": name,
        "version": seen.versions.get(name, ""),
        "library": fault.library,
        "path": fault.library if outside or not seen.sites else f"{seen.sites[0]}/{fault.library}",
        "what": fault.what,
        "torch": seen.versions.get("torch", "none"),
        "cuda": seen.torch_cuda or "none",
    }


def _missing(subject: Subject, fault: LinkFault) -> Fault:
    values = _values(subject, fault)
    own, major = cuda_major(subject, fault.what), subject.seen.torch_cuda.partition(".")[0]
    if own and major and own != major and fault.distribution != "torch":
        values |= {
            "own": own,
            "mate": mate(subject, values["name"]),
            "error": _said(subject, fault) or _gone(fault.what),
        }
        return Fault("built-for-another-cuda", values["name"], values)
    providers = (
        each.brought_by
        for each in subject.known.providers.names
        if any(fnmatchcase(fault.what, pattern) for pattern in each.libraries)
    )
    provider = next(providers, f"`apt-file search {fault.what}` finds the package of the system that brings it")
    because = ""
    of_torch = any(each.distribution == "torch" and each.what == fault.what for each in subject.seen.linking)
    if of_torch and (lost := _lost_by_torch(subject)):
        because = f"; torch asks for {' and '.join(lost)}" if fault.distribution == "torch" else ""
        provider = f"`pip install {' '.join(map(repr, lost))}`"
    values |= {"provider": provider, "because": because, "error": _gone(fault.what)}
    return Fault("library-missing", provider, values)


def _lost_by_torch(subject: Subject) -> list[str]:
    """What torch asks for that is not installed."""
    missing = [each for each in unmet(subject) if each.by in _PARTS_OF_TORCH and each.found is None]
    return list(dict.fromkeys(each.text for each in missing if each.requirement.specifier))


def _gone(library: str) -> str:
    return f"{library}: cannot open shared object file: No such file or directory"


def _undefined(subject: Subject, fault: LinkFault) -> Fault:
    values = _values(subject, fault)
    name = values["name"]
    loader = f"{values['path']}: undefined symbol: {fault.what}"
    values |= {
        "symbol": fault.what,
        "more": f", and {fault.more} more" if fault.more else "",
        "because": _asked(subject, fault),
        "error": _said(subject, fault) or loader,
        "mate": mate(subject, name),
    }
    if name == "torch" or name.startswith("nvidia-"):
        return Fault("libraries-of-torch-disagree", "torch", values)
    if _TORCH_SYMBOL.search(fault.what):
        return Fault("built-for-another-torch", name, values)
    return Fault("symbol-undefined", name, values)


def _version(subject: Subject, fault: LinkFault) -> Fault:
    library, _, version = fault.what.partition(" ")
    values = {**_values(subject, fault), "what": library, "node": version}
    values["error"] = f"version `{version}' not found (required by {values['path']})"
    match version.partition("_")[0]:
        case "GLIBC":
            return Fault("glibc-too-old", "glibc", values)
        case "GLIBCXX" | "CXXABI":
            return Fault("libstdcxx-too-old", "libstdc++", values)
        case _:
            return Fault("library-too-old", library, values)


def _said(subject: Subject, fault: LinkFault) -> str:
    """What the package says in place of the loader's words; empty: it repeats them."""
    symptom = subject.known.symptoms.get(fault.distribution)
    return symptom.error if symptom else ""


def _asked(subject: Subject, fault: LinkFault) -> str:
    """What the owner says it was made for, where that is not what is there: `; it asks for torch==2.8.0`."""
    name = fault.distribution
    torch = subject.seen.versions.get("torch", "")
    if name == "torch":
        wrong = [each for each in unmet(subject) if each.by in _PARTS_OF_TORCH]
        told = [f"{each.text}, and {each.found or 'none'} is installed" for each in wrong[:2]]
        return f"; torch asks for {' and '.join(told)}" if told else ""
    asked = [each.text for each in unmet(subject) if each.by == name and each.name == "torch"]
    if asked:
        return f"; {name} asks for {asked[0]}"
    own, cuda = built_with(subject, name)
    if own and own != torch.partition("+")[0]:
        return f"; {name} was built with torch {own}{f' and CUDA {cuda}' if cuda else ''}"
    return ""
