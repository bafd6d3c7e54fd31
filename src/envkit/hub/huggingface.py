"""Hugging Face and its mirrors, through huggingface_hub; nothing else of envkit imports it.

huggingface_hub 2.x throws away what it has of a file when it is interrupted (its #4228), so large files are fetched into
its cache here, with its own functions, and kept; it finds them there, and brings the rest.
"""

from __future__ import annotations

from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from envkit.hub.known import Known, digest
from envkit.hub.places import huggingface_hub_cache
from envkit.hub.remote import Listing, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from envkit.hub.remote import Into
    from envkit.hub.sources import Kind, Source

_TIMEOUT = 10.0
"""Seconds for an answer about a repository."""
_LARGEST = 50 * 10**9
"""Bytes that the hub serves in one answer; what is larger comes by Xet (huggingface_hub's MAX_HTTP_DOWNLOAD_SIZE)."""


class HuggingFace:
    """A hub that speaks Hugging Face's protocol."""

    def __init__(self, source: Source, token: str | Literal[False] | None) -> None:
        """`token` None is the one that the library knows of; False: none at all."""
        from huggingface_hub import HfApi, constants
        from huggingface_hub.utils import logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        constants.HF_HUB_DISABLE_XET = not source.xet
        self.endpoint = source.address
        self.token = token
        self.api = HfApi(endpoint=self.endpoint, token=token, library_name="envkit")

    def listing(self, repository: str, kind: Kind, revision: str) -> Listing:
        """Every file of it."""
        from huggingface_hub.hf_api import RepoFile

        with self._refusals(repository, revision):
            info = self.api.repo_info(repository, repo_type=kind, revision=revision or None, timeout=_TIMEOUT)
            commit = info.sha or "main"
            tree = self.api.list_repo_tree(repository, recursive=True, revision=commit, repo_type=kind)
            files = {
                each.path: Known(each.size, each.lfs.sha256 if each.lfs else "", "" if each.lfs else each.blob_id)
                for each in tree
                if isinstance(each, RepoFile)
            }
        return Listing(repository, kind, revision, commit, files)

    def place(self, listing: Listing, into: Into) -> Path:
        """The snapshot of the commit, or the folder itself."""
        return into.folder or self._store(listing, into) / "snapshots" / listing.commit

    def partial(self, listing: Listing, name: str, into: Into) -> Path:
        """Beside where the file will be."""
        target = self._target(listing, name, into)
        return target.with_name(f"{target.name}.envkit.incomplete")

    def fetch(self, listing: Listing, name: str, into: Into, advance: Callable[[int], None]) -> None:
        """Brings a large file, whole and with the right content; the others are left for `finish`."""
        known, target = listing.files[name], self._target(listing, name, into)
        if not known.sha256 or (known.size or 0) > _LARGEST:
            return
        if target.exists():
            advance(known.size or 0)
            return
        partial = self.partial(listing, name, into)
        partial.parent.mkdir(parents=True, exist_ok=True)
        with self._refusals(listing.repository, listing.commit):
            self._download(listing, name, partial, advance)
        _, found, wanted = digest(partial, known, lambda _: advance(0))  # which ends it where somebody interrupts
        if found != wanted:
            partial.unlink()
            raise RefusedError(
                "broken", f"{name} is not what is listed: its SHA-256 is {found}, and should be {wanted}"
            )
        partial.replace(target)

    def finish(self, listing: Listing, names: Sequence[str], into: Into, advance: Callable[[int], None]) -> None:
        """Lets the library bring what is small, link what is there, and remember the commit and its files."""
        from huggingface_hub import snapshot_download

        with self._refusals(listing.repository, listing.revision):
            snapshot_download(
                listing.repository,
                repo_type=listing.kind,
                revision=listing.revision or None,
                cache_dir=None if into.folder else huggingface_hub_cache(into.cache),
                local_dir=into.folder,
                endpoint=self.endpoint,
                token=self.token,
                allow_patterns=None if len(names) == len(listing.files) else [escape(each) for each in names],
                tqdm_class=_bars(advance),
            )

    def send(
        self, folder: Path, names: Sequence[str], repository: str, kind: Kind, *, private: bool, message: str
    ) -> str:
        """One commit with all files."""
        with self._refusals(repository, ""):
            self.api.create_repo(repository, repo_type=kind, private=private, exist_ok=True)
            self.api.upload_folder(
                repo_id=repository,
                repo_type=kind,
                folder_path=folder,
                allow_patterns=[escape(each) for each in names],
                commit_message=message,
            )
        return f"{self.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repository}"

    def _store(self, listing: Listing, into: Into) -> Path:
        return huggingface_hub_cache(into.cache) / f"{listing.kind}s--{listing.repository.replace('/', '--')}"

    def _target(self, listing: Listing, name: str, into: Into) -> Path:
        """A file of its own, or a blob that the snapshot will link."""
        return into.folder / name if into.folder else self._store(listing, into) / "blobs" / listing.files[name].sha256

    def _download(self, listing: Listing, name: str, partial: Path, advance: Callable[[int], None]) -> None:
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils._headers import build_hf_headers

        address = hf_hub_url(
            listing.repository, name, repo_type=listing.kind, revision=listing.commit, endpoint=self.endpoint
        )
        size = listing.files[name].size
        if partial.exists() and size is not None and partial.stat().st_size > size:
            partial.unlink()
        with partial.open("ab") as file:
            there = file.tell()
            advance(there)
            http_get(
                address,
                file,
                resume_size=there,
                headers=build_hf_headers(token=self.token, library_name="envkit"),
                expected_size=size,
                tqdm_class=_bars(advance),
            )

    @contextmanager
    def _refusals(self, repository: str, revision: str) -> Iterator[None]:
        """Errors of the library become refusals."""
        try:
            yield
        except Exception as error:
            if refusal := _refusal(error, self.endpoint, repository, revision):
                raise refusal from error
            raise


def _bars(advance: Callable[[int], None]) -> Any:
    """A class of the library's progress bars that shows nothing, and tells us of bytes."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})
            # Of a snapshot's three bars, one counts what arrives, one what is written, and one files.
            self.counts = kwargs.get("unit") == "B" and not str(kwargs.get("desc")).startswith("Downloading bytes")

        def update(self, n: float | None = 1) -> None:
            if self.counts:
                advance(int(n or 0))

    return Bar


def _refusal(error: BaseException, endpoint: str, repository: str, revision: str) -> RefusedError | None:
    """What the error means; None: it is no refusal of the hub."""
    from httpx2 import HTTPError, TimeoutException
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return _of_answer(error, endpoint, repository, revision)
    if isinstance(error, errors.HFValidationError):
        return RefusedError("missing", f"{repository} cannot be the name of a repository there")
    if isinstance(error, errors.OfflineModeIsEnabled):
        return RefusedError("unreachable", "HF_HUB_OFFLINE is set")
    if isinstance(error, TimeoutException):
        return RefusedError("unreachable", f"{endpoint} does not answer in time")
    if isinstance(error, HTTPError):
        return RefusedError("unreachable", f"{endpoint} cannot be reached: {error}")
    if isinstance(error, (errors.LocalEntryNotFoundError, RuntimeError)) and error.__cause__:  # wrappers
        return _refusal(error.__cause__, endpoint, repository, revision)
    if isinstance(error, errors.FileMetadataError) or "Consistency check failed" in str(error):
        return RefusedError("broken", str(error).split("\n")[0].removesuffix("."))
    if isinstance(error, ValueError):  # of JSON
        return RefusedError("broken", f"{endpoint} answers with no JSON: a proxy's own page, perhaps")
    return None


def _of_answer(error: Any, endpoint: str, repository: str, revision: str) -> RefusedError:
    """What an answer with an error's status means."""
    from huggingface_hub import errors

    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        terms = f"accept its terms at {endpoint}/{repository}, and set HF_TOKEN"
        return RefusedError("denied", f"{repository} is gated: {terms}")
    if isinstance(error, errors.RevisionNotFoundError):
        return RefusedError("missing", f"{repository} has no revision {revision}")
    if isinstance(error, errors.RepositoryNotFoundError):
        return RefusedError("missing", f"there is no {repository}, or it is private and HF_TOKEN does not open it")
    if status in (401, 403):
        return RefusedError("denied", f"it refuses the token, or there is none (HTTP {status})")
    if status == 429:
        return RefusedError("busy", "too many requests (HTTP 429)")
    if status >= 500:
        return RefusedError("busy", f"it has a fault of its own (HTTP {status})")
    return RefusedError("broken", f"it answers with HTTP {status}")
