"""ModelScope, through its library modelscope_hub; nothing else of envkit imports it."""

from __future__ import annotations

import logging
import sys
from contextlib import contextmanager, redirect_stdout
from glob import escape
from typing import TYPE_CHECKING, Any, Literal

from envkit.host.home import envkit_home
from envkit.hub.known import Known
from envkit.hub.remote import Listing, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from envkit.hub.remote import Into
    from envkit.hub.sources import Kind, Source

DEFAULT = "master"
"""The branch that ModelScope takes where none is named."""


class ModelScope:
    """A hub that speaks ModelScope's protocol."""

    def __init__(self, source: Source, token: str | Literal[False] | None) -> None:
        """`token` None is the one that the library knows of; False: none at all."""
        from modelscope_hub import HubApi

        logging.getLogger("modelscope_hub").setLevel(logging.CRITICAL)
        self.endpoint = source.address
        self.api = HubApi(endpoint=self.endpoint, token="" if token is False else token or None)

    def listing(self, repository: str, kind: Kind, revision: str) -> Listing:
        """Every file of it; the hub tells no commit, so the branch stands for it."""
        with self._refusals(repository, revision):
            entries = self.api.legacy.list_repo_files(repository, kind, revision or DEFAULT)
        files: dict[str, Known] = {}
        for each in entries:
            size = each.get("Size")
            if each.get("Type") != "tree":
                files[str(each["Path"])] = Known(None if size is None else int(size), each.get("Sha256") or "")
        return Listing(repository, kind, revision, revision or DEFAULT, files)

    def place(self, listing: Listing, into: Into) -> Path:
        """Where today's library keeps the branch, or where an older one has begun to."""
        if into.folder:
            return into.folder
        owner, _, name = listing.repository.partition("/")
        for root in (into.cache, into.cache / "hub"):
            old: Path = root / f"{listing.kind}s" / owner / name.replace(".", "___")
            if old.is_dir() and any(old.iterdir()):
                return old
        return into.cache / f"{listing.kind}s" / f"{owner}--{name}" / "snapshots" / listing.commit

    def partial(self, listing: Listing, name: str, into: Into) -> Path:
        """Beside the file."""
        path = self.place(listing, into) / name
        return path.with_name(f"{path.name}.incomplete")

    def fetch(self, listing: Listing, name: str, into: Into, advance: Callable[[int], None]) -> None:
        """Brings one file; the library goes on where it stopped, and compares the hash."""
        known = listing.files[name]
        with self._refusals(listing.repository, listing.revision):
            self.api.downloader.download_file(
                listing.repository,
                listing.kind,
                name,
                revision=listing.commit,
                cache_dir=into.cache,
                local_dir=into.folder,
                expected_sha256=known.sha256 or None,
                file_size=known.size,
                progress_callbacks=[_callback(advance)],
            )

    def finish(self, listing: Listing, names: Sequence[str], into: Into, advance: Callable[[int], None]) -> None:
        """Nothing is left to do."""

    def send(
        self, folder: Path, names: Sequence[str], repository: str, kind: Kind, *, private: bool, message: str
    ) -> str:
        """Makes the repository if it is not there, and sends the files."""
        with self._refusals(repository, ""):
            tracker = envkit_home() / "uploads" / f"{kind}s--{repository.replace('/', '--')}.json"
            tracker.parent.mkdir(parents=True, exist_ok=True)
            if not self.api.repo_exists(repository, kind):
                self.api.create_repo(repository, kind, visibility="private" if private else "public")
            with redirect_stdout(sys.stderr):  # it prints a report, and results alone go to stdout
                self.api.upload_folder(
                    repository,
                    kind,
                    folder,
                    allow_patterns=[escape(each) for each in names],
                    commit_message=message,
                    disable_tqdm=True,
                    tracker_path=tracker,  # the library's default lies in the folder itself
                )
        return f"{self.endpoint}/{kind}s/{repository}"

    @contextmanager
    def _refusals(self, repository: str, revision: str) -> Iterator[None]:
        """Errors of the library become refusals."""
        from modelscope_hub import errors

        try:
            yield
        except errors.NotExistError as error:
            what = f"no revision {revision} of {repository}" if revision else f"no {repository}"
            raise RefusedError("missing", f"there is {what}, or it is private") from error
        except (errors.AuthenticationError, errors.PermissionDeniedError) as error:
            raise RefusedError("denied", "it refuses the token, or there is none: set MODELSCOPE_API_TOKEN") from error
        except errors.RateLimitError as error:
            raise RefusedError("busy", "too many requests (HTTP 429)") from error
        except errors.ServerError as error:
            raise RefusedError("busy", f"it has a fault of its own (HTTP {error.status_code})") from error
        except errors.NetworkError as error:
            raise RefusedError("unreachable", f"{self.endpoint} cannot be reached: {_root(error)}") from error
        except (ValueError, KeyError, TypeError) as error:  # of JSON
            raise RefusedError(
                "broken", f"{self.endpoint} answers with no JSON: a proxy's own page, perhaps"
            ) from error
        except errors.HubError as error:
            raise RefusedError("broken", _first(error)) from error


def _first(error: Exception) -> str:
    return str(getattr(error, "message", error)).split("\n")[0].removesuffix(".")


def _root(error: BaseException) -> str:
    """What the operating system said, below the wrappers of three libraries."""
    while below := error.__cause__ or error.__context__:
        error = below
    return str(error)


def _callback(advance: Callable[[int], None]) -> Any:
    """A class of the kind that the library makes one of for each file."""

    class Callback:
        def __init__(self, name: str, size: int) -> None:
            pass

        def update(self, number: int) -> None:
            advance(number)

        def end(self) -> None:
            pass

    return Callback
