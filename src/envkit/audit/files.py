"""Files that are not as their packages brought them; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from envkit.audit.fault import Fault, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from envkit.audit.seen import FileFault

_LIBRARY = re.compile(r"\.so(\.\d+)*$")
_HOLLOW = 0.5
"""The part of a package's files whose loss is more than tidying up."""


def file_faults(subject: Subject) -> Iterator[Fault]:
    """What is cut, gone, changed, or claimed by two."""
    seen = subject.seen
    owners = {each.path: " and ".join(each.distributions) for each in seen.files}
    for path, part in seen.cut.items():
        name = owners.get(path, path.partition("/")[0])
        error = "file too short" if part == "header" else "Bus error"
        yield Fault("library-cut-short", path, {"path": path, "name": name, "error": error})
    by_kind: dict[tuple[str, str], list[FileFault]] = defaultdict(list)
    for each in seen.files:
        if each.path not in seen.cut:
            by_kind[_kind(each), owners[each.path]].append(each)
    for (kind, names), faults in by_kind.items():
        yield from _told(subject, kind, names, [each.path for each in faults])


def _kind(fault: FileFault) -> str:
    if fault.fault in ("missing", "shared"):
        return fault.fault
    return "library" if _LIBRARY.search(fault.path) else "changed"


def _told(subject: Subject, kind: str, names: str, paths: Sequence[str]) -> Iterator[Fault]:
    known = subject.known
    usual = {"shared": known.shared_files, "changed": known.changing_files, "library": known.wrong_records}.get(kind)
    paths = [each for each in paths if not any(fnmatchcase(each, one) for one in (usual.names if usual else ()))]
    if not paths:
        return
    count = subject.seen.recorded.get(names, 0)
    values = {
        "names": names,
        "version": subject.seen.versions.get(names, ""),
        "lost": str(len(paths)),
        "count": str(count),
        "paths": _listed(paths),
    }
    match kind:
        case "missing":
            yield Fault("package-hollow" if len(paths) > _HOLLOW * count > 0 else "files-missing", names, values)
        case "shared":
            yield Fault("files-of-two-packages", names, values)
        case "library":
            yield Fault("library-changed", names, values)
        case _:
            yield Fault("files-changed", names, values)


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - 3
    return ", ".join([*paths[:3], *([f"and {more} more"] if more > 0 else [])])
