"""One uv pass from an environment to its lock, and a refusal that says what to change."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from envkit import process
from envkit.errors import ResolutionError
from envkit.host.index import uv_command, uv_environ
from envkit.lock.lockfile import (
    Lock,
    constraints,
    inputs_hash,
    load_lock,
    lock_path,
    overrides,
    python_platform,
    requirements,
)
from envkit.share import write_file

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envkit.matrix.load import MatrixEnvironment


@dataclass(frozen=True)
class Refused:
    """No set of versions satisfies what was asked for."""

    words: str
    """The resolver's own, without what it says on the way."""


def resolve(environment: MatrixEnvironment, *, upgrade: bool = False) -> Lock:
    """The environment's lock, made anew.

    Keeps the versions and the moment of an existing lock where the matrix allows; `upgrade` looks at everything that
    is published now. Raises `ResolutionError` with the resolver's own words.
    """
    old = None if upgrade else load_lock(environment)
    moment = old.exclude_newer if old else this_hour()
    body = solve(environment, moment, prefer=old.body if old else "")
    if isinstance(body, Refused):
        raise _unsolvable(environment, body.words, moment)
    build = _compile(environment, "\n".join([*environment.build_requires, ""]), "", "", moment, prefer="")
    if isinstance(build, Refused):
        raise _unsolvable(environment, build.words, moment)
    version = process.run([*uv_command(), "--version"]).stdout.split()[1]
    return Lock(environment.name, inputs_hash(environment), moment, f"uv {version}", body, build)


def write_lock(environment: MatrixEnvironment, lock: Lock) -> None:
    """Puts the lock into the environment's folder, with its torch layer and what builds it beside it."""
    write_file(environment.folder / "torch.lock", lock.subset(environment.torch_layer))
    write_file(environment.folder / "build.lock", lock.build)
    for name, text in lock.compiled(environment).items():
        write_file(environment.folder / name, text)
    write_file(lock_path(environment), lock.text())


def this_hour() -> str:
    """The moment for a pass that looks at everything published so far."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:00:00Z")


def solve(environment: MatrixEnvironment, moment: str, *, prefer: str, lowest: bool = False) -> str | Refused:
    """The packages that satisfy the environment's inputs as of `moment`, in pip's requirements format, or the refusal.

    `prefer` is a lock's body: its versions are taken wherever they satisfy; `lowest` takes the oldest of all others that
    are asked for by name. Raises `ResolutionError` where the resolver could not work at all.
    """
    options = ("--resolution", "lowest-direct") if lowest else ()
    bounds, replaced = constraints(environment), overrides(environment)
    return _compile(environment, requirements(environment), bounds, replaced, moment, prefer, *options)


def look_up(environment: MatrixEnvironment, wanted: Sequence[str], moment: str) -> dict[str, bool] | Refused:
    """For each requirement's package whether the release that satisfies it has a wheel for the environment's machines.

    Nothing that the packages ask for is looked at: it is refused only where there is no such release.
    """
    options = ("--no-deps", "--format", "pylock.toml")
    found = _compile(environment, "\n".join([*wanted, ""]), "", "", moment, "", *options, file="pylock.toml")
    if isinstance(found, Refused):
        return found
    entries = found.split("[[packages]]\n")[1:]
    return {each.split('"')[1]: bool(re.search(r"^wheels = ", each, re.MULTILINE)) for each in entries}


def _compile(
    environment: MatrixEnvironment,
    wanted: str,
    bounds: str,
    replaced: str,
    moment: str,
    prefer: str,
    *options: str,
    file: str = "requirements.lock",
) -> str | Refused:
    with tempfile.TemporaryDirectory(prefix="envkit-lock-") as folder:
        # A folder of its own: uv would take settings from a pyproject.toml of whatever project the user stands in.
        where = Path(folder)
        (where / "requirements.in").write_text(wanted)
        (where / "constraints.txt").write_text(bounds)
        (where / "overrides.txt").write_text(replaced)
        if file == "requirements.lock":
            (where / file).write_text(prefer)
        done = process.run(
            [
                *uv_command(), "pip", "compile", "requirements.in", "--constraint", "constraints.txt",
                "--output-file", file, "--python-version", environment.entry.python,
                "--python-platform", python_platform(environment), "--exclude-newer", moment,
                "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
                *(("--override", "overrides.txt") if replaced.strip() else ()),
                *options,
            ],
            cwd=where,
            env=uv_environ(),
        )  # fmt: skip
        if not done.status:
            return (where / file).read_text()
        words = re.sub(r"^(Using|Resolved|warning:).*\n", "", done.stderr, flags=re.MULTILINE).strip()
        if "No solution found" in words:
            return Refused(words)
        raise ResolutionError(
            f"the resolver could not work on {environment.name}",
            details=words,
            log=done.stderr.encode(),
            hint="check the network and the package index; UV_DEFAULT_INDEX chooses another index, which must tell upload times",
        )


def _unsolvable(environment: MatrixEnvironment, words: str, moment: str) -> ResolutionError:
    return ResolutionError(
        f"no set of versions satisfies {environment.name}",
        details=words,
        hint=f"change `require` or `constrain` of {environment.name} in envmatrix.yaml"
        f" (only what was published before {moment} counts; `--upgrade` moves that to now)",
    )
