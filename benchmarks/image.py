"""`image`: the image that envkit builds, beside a plain Dockerfile with the same lock."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from engine import TAG, build, leave_nothing, weigh
from measure import Comparison, Outcome, Sample, gigabytes, interleave

from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from envkit.render.templates import build_context

if TYPE_CHECKING:
    from collections.abc import Callable

    import docker

ENVIRONMENT = "llamafactory-cu130"
ROUNDS = 3
DISK_GB = 30
TITLE = "Building the image"
PLAIN = Path(__file__).with_name("plain.Dockerfile")
NOTE = """
The committed lock, built with the Dockerfile that envkit renders and with `benchmarks/plain.Dockerfile`: the same base and
system packages, the newest pip, `pip install --no-cache-dir --require-hashes`. Both compile byte code; both were built with
`docker build`. Cold: no layer cache, and envkit's cache mounts are new and empty, so both download everything. Change:
the entry of `llamafactory` in the lock is touched (a comment; the release stays), as after an update of the framework
alone, on top of the cold build: envkit keeps the torch layer and finds downloads in its cache mount, the plain
Dockerfile has one layer for all packages and no cache. CPU time is the engine's, with all that ran inside the build.
Downloads are in the wall time, and so is the speed of whatever index serves them. The BuildKit in
Docker 26 reads the whole file system below a step that mounts a secret (moby/buildkit#5251, mended in August 2024):
where such an engine measures, that costs envkit's last step 7 to 18 s, in both rows.
"""

_UNITS = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}


def measure(rounds: int, scratch: Path) -> Outcome:
    """Builds of both, from nothing and after a change of the framework."""
    environment = load_matrix().environment(ENVIRONMENT)
    files = build_context(environment, read_lock(environment))
    facts: list[str] = []
    changed: dict[str, Sample] = {}

    def pair(client: docker.DockerClient, name: str, context: dict[str, str]) -> Callable[[], Sample]:
        """A cold build and one after a change, on it; the second is kept for its own task."""

        def task() -> Sample:
            folder, tag = scratch / name, f"{TAG}:{name}"
            with leave_nothing():
                _write(folder, context)
                cold = build(folder, tag, cached=False)
                if len(facts) < 2:
                    facts.append(_sizes(client, name, tag, folder.with_suffix(".log")))
                _write(folder, {**context, "requirements.lock": _touched(context["requirements.lock"])})
                changed[name] = build(folder, f"{tag}-changed", cached=True)
            return cold

        return task

    with leave_nothing() as client:
        found = interleave(
            rounds,
            {
                "envkit, cold": pair(client, "envkit", {**files, "Dockerfile": _own_cache_mounts(files["Dockerfile"])}),
                "envkit, change": lambda: changed["envkit"],
                "plain, cold": pair(client, "plain", {"Dockerfile": _plain(), "requirements.lock": files["requirements.lock"]}),
                "plain, change": lambda: changed["plain"],
            },
        )  # fmt: skip
    return Outcome(
        [
            Comparison("build, cold", "plain pip Dockerfile", found["envkit, cold"], found["plain, cold"], expected=">= 1.5x"),
            Comparison("build, framework changed", "plain pip Dockerfile", found["envkit, change"], found["plain, change"], expected=">= 1.5x"),
        ],
        facts,
    )  # fmt: skip


def _plain() -> str:
    """The plain Dockerfile with the base and the system packages of the matrix."""
    base = load_matrix().environment(ENVIRONMENT).base
    return (
        PLAIN.read_text(encoding="utf-8")
        .replace("ARG BASE_IMAGE=debian:bookworm-slim", f"ARG BASE_IMAGE={base.name}")
        .replace("ARG SYSTEM_PACKAGES", f'ARG SYSTEM_PACKAGES="{" ".join(base.system_packages)}"')
    )


def _own_cache_mounts(dockerfile: str) -> str:
    """The Dockerfile with cache mounts of other names: the user's stay as they are, and these start empty."""
    changed, count = re.subn(
        r"--mount=type=cache,target=(\S+)", rf"--mount=type=cache,id={TAG}\1,target=\1", dockerfile
    )
    assert count, "the Dockerfile has no cache mounts"
    return changed


def _touched(lock: str) -> str:
    changed = lock.replace("\nllamafactory==", "\n# touched\nllamafactory==", 1)
    assert changed != lock, "the lock has no entry for llamafactory"
    return changed


def _write(folder: Path, files: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _sizes(client: docker.DockerClient, name: str, tag: str, log: Path) -> str:
    """What the image weighs, and what of it the packages are."""
    weight = weigh(client, tag)
    text = (
        f"The {name} image: {gigabytes(weight.image)}, {weight.ratio:.2f} times its packages unpacked"
        f" ({gigabytes(weight.packages)}); byte code {gigabytes(weight.byte_code)},"
        f" the system and the rest {gigabytes(weight.rest)}."
    )
    found = re.findall(r"Downloading \S+\.(?:whl|gz|zip) \(([\d.]+) (\w+)\)", log.read_text(encoding="utf-8"))
    downloads = sum(float(number) * _UNITS[unit] for number, unit in found)
    return f"{text} What pip downloaded for it: {gigabytes(downloads)}." if name == "plain" else text
