"""Every kind of error that a user can act on, with its exit status: this page and `docs/errors.md` are the list."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class EnvkitError(Exception):
    """A problem that the reader can act on; anything else is our bug and keeps its traceback."""

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "", details: str = "", log: bytes = b"") -> None:
        """`message` says what happened, `details` shows it, `hint` is the next thing to type.

        `log` is what a program printed that failed, where nothing here explains it: the diagnoses are asked.
        """
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details
        self.log = log


class UsageError(EnvkitError):
    """The command cannot be meant as it was typed: an unknown name, a taken port, a folder that is a file."""

    exit_code = 2
    kind = "usage"


class MatrixError(EnvkitError):
    """`envmatrix.yaml`, a `framework.yaml` or a file of diagnoses has faults; all of them are in `faults`."""

    exit_code = 3
    kind = "matrix"

    def __init__(
        self, faults: Sequence[str], *, subject: str = "the compatibility matrix has", again: str = "envkit list"
    ) -> None:
        """One line per fault: file, line, key, and what is wrong with which value; `again` reads the files again."""
        self.faults = tuple(faults)
        count = len(self.faults)
        super().__init__(
            f"{subject} {count} fault{'s' if count != 1 else ''}",
            details="\n".join(self.faults),
            hint=f"every line above names its file and line; `{again}` reads them again",
        )


class NoPlanError(EnvkitError):
    """No environment of the framework fits this machine; `rejected` says why, one by one."""

    exit_code = 4
    kind = "no-plan"

    def __init__(self, message: str, *, rejected: Sequence[tuple[str, tuple[str, ...]]] = (), hint: str = "") -> None:
        """`rejected` pairs an environment's name with the reasons against it."""
        self.rejected = tuple(rejected)
        details = "\n".join(f"{name}: {reason}" for name, reasons in self.rejected for reason in reasons)
        super().__init__(message, details=details, hint=hint)


class ResolutionError(EnvkitError):
    """The resolver found no set of versions that satisfies the matrix."""

    exit_code = 5
    kind = "resolution"


class StaleLockError(EnvkitError):
    """A lock or a generated file is missing, was edited by hand, or no longer follows from the matrix."""

    exit_code = 6
    kind = "stale"


class BackendError(EnvkitError):
    """What should hold or run the environment cannot: an engine, a Python or a tool is missing or refuses."""

    exit_code = 7
    kind = "backend"


class BuildError(EnvkitError):
    """Building the image or installing the venv failed."""

    exit_code = 8
    kind = "build"


class HubError(EnvkitError):
    """No source gives the model, or the hub does not take it: it is not there, not allowed, or not to be reached."""

    exit_code = 9
    kind = "hub"


class AppError(EnvkitError):
    """The app did not come up, or ended with an error; `exit_code` is the app's own where it has one."""

    exit_code = 1
    kind = "app"

    def __init__(self, message: str, *, status: int = 1, hint: str = "", details: str = "", log: bytes = b"") -> None:
        """`status` is the app's exit status; 0 becomes 1, because the app was meant to keep running."""
        super().__init__(message, hint=hint, details=details, log=log)
        self.exit_code = status or 1  # type: ignore[misc]  # the one kind whose status is not its own
