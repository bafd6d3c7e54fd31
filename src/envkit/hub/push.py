"""Models and data sets to a hub: which files would go, that they are whole, and then they go."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from envkit.errors import HubError, UsageError
from envkit.hub.check import check_model, walk
from envkit.hub.places import Place
from envkit.hub.remote import RefusedError, is_meant

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.finding import Finding
    from envkit.hub.remote import Remote
    from envkit.hub.sources import Kind

_NEVER = (".env", ".env.*", "*.pem", "id_rsa*", "id_ed25519*", ".netrc", "token", "*.incomplete", "*.parallel_tmp")
"""What is a secret by its name, in whatever folder, or no file yet."""


@dataclass(frozen=True)
class Parcel:
    """What would be sent."""

    folder: Path
    repository: str
    kind: Kind
    private: bool
    files: dict[str, int]
    """Sizes by path."""
    left: tuple[str, ...]
    """Files that stay here whatever the user says, because of their names."""
    findings: tuple[Finding, ...]
    """What is wrong with the files."""

    @property
    def bytes(self) -> int:
        """Of all of them."""
        return sum(self.files.values())


def pack(
    folder: Path, repository: str, kind: Kind, include: tuple[str, ...], exclude: tuple[str, ...], *, private: bool
) -> Parcel:
    """The files of the folder that are meant; raises `UsageError` where there are none."""
    there = {each.relative_to(folder).as_posix(): each for each in walk(folder)}
    meant = [each for each in there if is_meant(each, include, exclude)]
    left = tuple(each for each in meant if any(fnmatch(there[each].name, pattern) for pattern in _NEVER))
    files = {each: there[each].stat().st_size for each in meant if each not in left and there[each].is_file()}
    if not files:
        raise UsageError(
            f"there is nothing to send in {folder}", hint="`ls` shows what is there; --include chooses files"
        )
    findings = check_model(Place(folder, repository), {}, kind=kind).findings
    return Parcel(folder, repository, kind, private, files, left, findings)


def send(parcel: Parcel, remote: Remote, source: str) -> str:
    """The address at which it is now; raises `HubError` where the hub does not take it."""
    try:
        return remote.send(
            parcel.folder,
            list(parcel.files),
            parcel.repository,
            parcel.kind,
            private=parcel.private,
            message="Upload with envkit",
        )
    except RefusedError as refused:
        hint = "the same command goes on where it stopped"
        if refused.why in ("denied", "missing"):
            hint = (
                f"a token that may write to {parcel.repository.partition('/')[0]} is needed: set it in the environment"
            )
        raise HubError(f"{source} does not take {parcel.repository}", details=refused.reason, hint=hint) from refused
