"""Models and data sets from the first source that gives them: chosen files, room, one at a time, and what came is whole."""

from __future__ import annotations

import hashlib
import re
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import PurePosixPath
from threading import Event
from time import sleep as pause
from typing import TYPE_CHECKING, Protocol, TypeVar

from filelock import FileLock, Timeout

from envkit.errors import BackendError, HubError, UsageError
from envkit.host.home import envkit_home
from envkit.host.probes.disks import look_at
from envkit.hub.check import Watcher
from envkit.hub.places import Place
from envkit.hub.remote import Into, RefusedError, StoppedError, is_meant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from envkit.hub.remote import Listing, Remote, Why
    from envkit.hub.sources import Hub, Kind, Source

T = TypeVar("T")
_TRIES = 4
"""Of the only source."""
_TRIES_OF_ONE_AMONG_OTHERS = 2
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_WORKERS = 8
"""Files at a time."""


class PullWatcher(Watcher, Protocol):
    """Hears of sources, too."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


@dataclass(frozen=True)
class Wanted:
    """What is to be pulled."""

    repository: str
    kind: Kind = "model"
    revision: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    folder: Path | None = None
    """None: into the cache of its hub."""
    force: bool = False


@dataclass(frozen=True)
class Plan:
    """What a source would have to bring."""

    source: str
    listing: Listing
    folder: Path
    names: tuple[str, ...]
    bytes: int
    """Of all of them."""
    missing: tuple[str, ...]
    missing_bytes: int
    free_bytes: int | None


@dataclass(frozen=True)
class Pulled:
    """What came."""

    plan: Plan
    tried: tuple[tuple[str, str], ...]
    """Sources before it, and why not them."""
    seconds: float


def pull(
    wanted: Wanted,
    sources: Mapping[str, Source],
    connect: Callable[[str, Source], Remote],
    caches: Mapping[Hub, Path],
    watcher: PullWatcher,
    *,
    dry_run: bool = False,
) -> Pulled:
    """Brings it from the first source that can; raises `HubError` with what each of them said.

    Raises `BackendError` where no library is installed that any of them needs.
    """
    began = time.monotonic()
    tried: list[tuple[str, RefusedError]] = []
    for name, source in sources.items():
        into = Into(caches[source.hub], wanted.folder)
        tries = _TRIES if len(sources) == 1 else _TRIES_OF_ONE_AMONG_OTHERS
        try:
            remote = _connected(connect, name, source)
            plan = _plan(name, remote, wanted, into, tries)
            if not dry_run:
                _bring(remote, plan, into, wanted, watcher, tries)
        except RefusedError as refused:
            tried.append((name, refused))
            if len(sources) > 1:
                watcher.note(f"{name}: {refused.reason}")
            continue
        return Pulled(plan, tuple((each, refused.reason) for each, refused in tried), time.monotonic() - began)
    library = _missing_library(tried)
    if library and all(refused.why == "unspoken" for _, refused in tried):
        raise library
    raise HubError(
        f"{wanted.repository} cannot be pulled",
        details="\n".join(f"{name}: {refused.reason}" for name, refused in tried),
        hint=_next_step(wanted, tried),
    )


def _connected(connect: Callable[[str, Source], Remote], name: str, source: Source) -> Remote:
    """The source; a library that is not installed is a refusal like any other."""
    try:
        return connect(name, source)
    except BackendError as error:
        raise RefusedError("unspoken", error.message) from error


def ask_listing(
    repository: str, kind: Kind, revision: str, remotes: Iterable[Callable[[], Remote]]
) -> tuple[Listing | None, str]:
    """What the first that answers lists, or why none did."""
    reason = "no source knows it"
    for connect in remotes:
        try:
            return connect().listing(repository, kind, revision), ""
        except (RefusedError, BackendError) as error:
            reason = error.reason if isinstance(error, RefusedError) else error.message
    return None, reason


def _missing_library(tried: list[tuple[str, RefusedError]]) -> BackendError | None:
    """What was said of the first library that is not installed."""
    causes = (refused.__cause__ for _, refused in tried if refused.why == "unspoken")
    return next((each for each in causes if isinstance(each, BackendError)), None)


def _next_step(wanted: Wanted, tried: list[tuple[str, RefusedError]]) -> str:
    whys = {refused.why for _, refused in tried}
    if library := _missing_library(tried):
        return f"install what is missing, and type the same command again: {library.hint}"
    if "denied" in whys:
        return "make a token on the hub, and set it in the environment: `HF_TOKEN`, or `MODELSCOPE_API_TOKEN`"
    if whys == {"missing"}:
        return f"search for {wanted.repository.partition('/')[2]} on the hub: the owner may be another one there"
    if whys == {"unreachable"}:
        return "`envkit doctor` looks at the network and its proxies; the same command goes on where it stopped"
    return "the same command goes on where it stopped" + ("; `--from auto` tries the others" if len(tried) == 1 else "")


def _plan(source: str, remote: Remote, wanted: Wanted, into: Into, tries: int) -> Plan:
    """What is there and what is missing; raises `UsageError` where no file is meant."""
    listing = _again(lambda: remote.listing(wanted.repository, wanted.kind, wanted.revision), tries, ("busy",))
    _check_names(listing)
    names = tuple(each for each in listing.files if is_meant(each, wanted.include, wanted.exclude))
    if not names:
        some = ", ".join(list(listing.files)[:5])
        raise UsageError(
            f"no file of {wanted.repository} is meant by --include and --exclude"
            if listing.files
            else f"{wanted.repository} is empty",
            hint=f"there are: {some}" if some else "is it the right name?",
        )
    folder = remote.place(listing, into)
    missing = tuple(each for each in names if wanted.force or not _is_whole(folder / each, listing.files[each].size))
    free = look_at("data", folder).free_mib
    return Plan(
        source=source,
        listing=listing,
        folder=folder,
        names=names,
        bytes=_sum(listing, names),
        missing=missing,
        missing_bytes=_sum(listing, missing),
        free_bytes=None if free is None else free << 20,
    )


def _check_names(listing: Listing) -> None:
    """Refuses a listing that would have files written, or removed, elsewhere: a mirror may say what it likes."""
    for name, known in listing.files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
            raise RefusedError("broken", f"it lists {name!r}, which leads out of the folder")
        if known.sha256 and not _SHA256.fullmatch(known.sha256):
            raise RefusedError("broken", f"it lists {known.sha256!r} as the SHA-256 of {name}")
    if ".." in PurePosixPath(listing.commit).parts or listing.commit.startswith("/"):
        raise RefusedError("broken", f"it names {listing.commit!r} as a commit")


def _bring(remote: Remote, plan: Plan, into: Into, wanted: Wanted, watcher: PullWatcher, tries: int) -> None:
    """All of it, whole; one process at a time for each folder."""
    files = plan.listing.files

    def missing() -> list[str]:
        return [each for each in plan.names if not _is_whole(plan.folder / each, files[each].size)]

    def once() -> None:
        names = missing()
        watcher.begin(_sum(plan.listing, names))
        _fetch(remote, plan, names, into, watcher)

    with _alone(plan.folder, watcher):
        for name in plan.missing if wanted.force else missing():
            if _remove(plan, name, into):
                watcher.note(f"{name} is there, {'' if wanted.force else 'with another length, '}and comes again")
        _check_room(remote, plan, missing(), into)
        _again(once, tries, ("busy", "unreachable", "broken"))
        if wrong := missing():
            raise RefusedError("broken", f"{wrong[0]} came with another length than is listed")


def _check_room(remote: Remote, plan: Plan, names: Iterable[str], into: Into) -> None:
    """Raises `HubError` where the disk has no room for what is to come."""
    there = sum(_length(remote.partial(plan.listing, each, into)) for each in names)
    needed, free = _sum(plan.listing, names) - there, look_at("data", plan.folder).free_mib
    if free is not None and needed > free << 20:
        raise HubError(
            f"{needed / 1e9:.2f} GB are to come, and {(free << 20) / 1e9:.2f} GB are free on the disk of {plan.folder}",
            hint="make room, choose another folder with `--to DIR`, or leave files out with `--exclude`",
        )


def _fetch(remote: Remote, plan: Plan, names: Iterable[str], into: Into, watcher: PullWatcher) -> None:
    """Every missing file, some at a time; Ctrl-C and the first refusal end the others at their next bytes."""
    stop = Event()

    def advance(number: int) -> None:
        if stop.is_set():
            raise StoppedError
        watcher.advance(number)

    def one(name: str) -> None:
        remote.fetch(plan.listing, name, into, advance)

    # Two names of one blob are one download: two threads would write into the same beginning.
    each_once = {remote.partial(plan.listing, name, into): name for name in names}.values()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            _all(pool, [lambda name=name: one(name) for name in each_once])  # type: ignore[misc]
            _all(pool, [lambda: remote.finish(plan.listing, plan.names, into, advance)])
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _all(pool: ThreadPoolExecutor, works: Iterable[Callable[[], None]]) -> None:
    """Until all are done, or one fails; this thread stays free for Ctrl-C."""
    waiting = {pool.submit(each) for each in works}
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        for each in done:
            each.result()


def _again(work: Callable[[], T], tries: int, whys: tuple[Why, ...]) -> T:
    """What the work gives; where it is refused for a moment, it is tried again after 1, 2, 4 seconds."""
    for number in range(tries):
        try:
            return work()
        except RefusedError as refused:
            if refused.why not in whys or number == tries - 1:
                raise
            pause(2**number)
    raise AssertionError(tries)


def _alone(folder: Path, watcher: PullWatcher) -> FileLock:
    """A lock that the caller holds; waits for another pull of the same, and says so."""
    locks = envkit_home() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    lock = FileLock(locks / f"pull-{hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        watcher.note("another pull of the same is under way: waiting for it")
        return lock
    lock.release()
    return lock


def _is_whole(path: Path, size: int | None) -> bool:
    """Whether it is there, and as long as it should be."""
    try:
        found = path.stat().st_size
    except OSError:
        return False
    return size is None or found == size


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _remove(plan: Plan, name: str, into: Into) -> bool:
    """Whether there was a file; it is gone, and of a cache what its link leads to as well: a library would take it."""
    path, store = plan.folder / name, Place(plan.folder).store
    target, there = path.resolve(), path.is_file()
    if there and not into.folder and target.is_relative_to(store.resolve()):
        target.unlink()
    path.unlink(missing_ok=True)
    return there


def _sum(listing: Listing, names: Iterable[str]) -> int:
    return sum(listing.files[each].size or 0 for each in names)
