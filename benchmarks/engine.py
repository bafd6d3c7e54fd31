"""The Docker engine under measurement: builds with their CPU time, and nothing left behind."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import docker
from measure import Sample, timed

from envkit.host.index import ca_bundle, package_index

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = "envkit-bench"
"""The repository of every image made here."""
_COUNT = """
from importlib.metadata import distributions
from pathlib import Path
files = {Path(each.locate_file(file)) for each in distributions() for file in each.files or ()}
print(sum(each.stat().st_size for each in files if each.is_file() and each.suffix != ".pyc"))
print(sum(each.stat().st_size for each in Path("/opt/venv").rglob("*.pyc")))
"""


@dataclass(frozen=True)
class Weight:
    """What an image holds, in bytes."""

    image: int
    packages: int
    """The files of its wheels, unpacked, as each RECORD names them."""
    byte_code: int

    @property
    def rest(self) -> int:
        """The system, and what was built in the image."""
        return self.image - self.packages - self.byte_code

    @property
    def ratio(self) -> float:
        """How many times its packages it weighs."""
        return self.image / self.packages


def weigh(client: docker.DockerClient, tag: str) -> Weight:
    """The image and what it consists of; its own Python counts."""
    printed = client.containers.run(tag, ["/opt/venv/bin/python", "-c", _COUNT], remove=True)
    packages, byte_code = map(int, printed.split())
    return Weight(client.images.get(tag).attrs["Size"], packages, byte_code)


@contextmanager
def leave_nothing() -> Iterator[docker.DockerClient]:
    """The engine; the benchmarks' images, and the build cache that came meanwhile, are gone afterwards."""
    client = docker.from_env(timeout=600)
    before = _build_cache(client)
    try:
        yield client
    finally:
        for image in client.images.list(TAG):
            for tag in image.tags:
                client.images.remove(tag, force=True)
        # A record goes once nothing hangs on it any more, so leaves first: as often as that frees something.
        while any(_pruned(client, each) for each in _build_cache(client) - before):
            pass


def _build_cache(client: docker.DockerClient) -> set[str]:
    return {each["ID"] for each in client.api.df()["BuildCache"] or []}


def _pruned(client: docker.DockerClient, record: str) -> bool:
    return bool(client.api.prune_builds(filters={"id": record}, all=True).get("CachesDeleted"))


def build(context: Path, tag: str, *, cached: bool) -> Sample:
    """Builds an image the same way for everybody; its output is at `context`, with `.log` for a suffix.

    What runs inside a build is the engine's child, not ours: its CPU time is read off the engine.
    """
    settings = context.with_suffix(".pip.conf")
    options: list[str | Path] = []
    lines = ["[global]"]
    if index := package_index():
        context.with_suffix(".index").write_text(index)
        lines.append(f"index-url = {index}")
        options += ["--secret", f"id=index,src={context.with_suffix('.index')}"]
    if bundle := ca_bundle():
        lines.append("cert = /run/secrets/ca")
        options += ["--secret", f"id=ca,src={bundle}"]
    settings.write_text("\n".join([*lines, ""]))
    options += ["--secret", f"id=pip,src={settings}"]
    before = _engine_cpu()
    sample = timed(
        [
            "docker",
            "build",
            "--progress",
            "plain",
            *options,
            *([] if cached else ["--no-cache"]),
            "--tag",
            tag,
            context,
        ],
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        log=context.with_suffix(".log"),
    )
    after = _engine_cpu()
    return sample + Sample(0, None if before is None or after is None else after - before)


def _engine_cpu() -> float | None:
    """Seconds that the engine and the children it waited for have used; None for an engine that is elsewhere."""
    try:
        pid = Path("/var/run/docker.pid").read_text(encoding="utf-8").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
