"""One uv pass from an environment to its lock, and a refusal that says what to change."""

from __future__ import annotations

import re
import tempfile
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
    from envkit.matrix.load import MatrixEnvironment


def resolve(environment: MatrixEnvironment, *, upgrade: bool = False) -> Lock:
    """The environment's lock, made anew.

    Keeps the versions and the moment of an existing lock where the matrix allows; `upgrade` looks at everything that
    is published now. Raises `ResolutionError` with the resolver's own words.
    """
    old = None if upgrade else load_lock(environment)
    moment = old.exclude_newer if old else datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:00:00Z")
    bounds = constraints(environment)
    replaced = overrides(environment)
    body = _compile(environment, requirements(environment), bounds, replaced, moment, prefer=old.body if old else "")
    build = _compile(environment, "\n".join([*environment.build_requires, ""]), "", "", moment, prefer="")
    version = process.run([*uv_command(), "--version"]).stdout.split()[1]
    return Lock(environment.name, inputs_hash(environment), moment, f"uv {version}", body, build)


def write_lock(environment: MatrixEnvironment, lock: Lock) -> None:
    """Puts the lock into the environment's folder, with its torch layer and what builds it beside it."""
    write_file(environment.folder / "torch.lock", lock.subset(environment.torch_layer))
    write_file(environment.folder / "build.lock", lock.build)
    for name, text in lock.compiled(environment).items():
        write_file(environment.folder / name, text)
    write_file(lock_path(environment), lock.text())


def _compile(environment: MatrixEnvironment, wanted: str, bounds: str, replaced: str, moment: str, prefer: str) -> str:
    with tempfile.TemporaryDirectory(prefix="envkit-lock-") as folder:
        # A folder of its own: uv would take settings from a pyproject.toml of whatever project the user stands in.
        where = Path(folder)
        (where / "requirements.in").write_text(wanted)
        (where / "constraints.txt").write_text(bounds)
        (where / "overrides.txt").write_text(replaced)
        (where / "requirements.lock").write_text(prefer)
        done = process.run(
            [
                *uv_command(), "pip", "compile", "requirements.in", "--constraint", "constraints.txt",
                "--output-file", "requirements.lock", "--python-version", environment.entry.python,
                "--python-platform", python_platform(environment), "--exclude-newer", moment,
                "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-header", "--no-annotate",
                *(("--override", "overrides.txt") if replaced.strip() else ()),
            ],
            cwd=where,
            env=uv_environ(),
        )  # fmt: skip
        if done.status:
            raise _refusal(environment, done.stderr, moment)
        return (where / "requirements.lock").read_text()


def _refusal(environment: MatrixEnvironment, words: str, moment: str) -> ResolutionError:
    details = re.sub(r"^(Using|Resolved|warning:).*\n", "", words, flags=re.MULTILINE).strip()
    if "No solution found" in words:
        return ResolutionError(
            f"no set of versions satisfies {environment.name}",
            details=details,
            hint=f"change `require` or `constrain` of {environment.name} in envmatrix.yaml"
            f" (only what was published before {moment} counts; `--upgrade` moves that to now)",
        )
    return ResolutionError(
        f"the resolver could not work on {environment.name}",
        details=details,
        log=words.encode(),
        hint="check the network and the package index; UV_DEFAULT_INDEX chooses another index, which must tell upload times",
    )
