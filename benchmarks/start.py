"""`start`: from `envkit run llamafactory webui` to HTTP 200, beside the same image without byte code."""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import yaml
from docker.errors import ImageNotFound, NotFound
from engine import leave_nothing
from measure import Comparison, Outcome, Sample, interleave, timed

from envkit.matrix.load import load_matrix
from envkit.share import share_root

if TYPE_CHECKING:
    import docker

ENVIRONMENT = "llamafactory-cu130"
WITHOUT = "llamafactory-nobytecode-cu130"
ROUNDS = 5
DISK_GB = 20
TITLE = "From `run` to the page"
NOTE = """
`envkit run llamafactory webui --detach`, from the command line to the page's first HTTP 200, everything in it: envkit's own
start, the container, LLaMA-Factory's imports. The other image is built by envkit from the same template and lock, without
`--compile-bytecode`; nothing else differs. The app runs without a GPU, as a user who owns neither `/opt/venv` nor root's
rights, so that Python cannot write the missing byte code. Images are built, and each was started once before, so that
their files are in memory: a first start after a reboot also reads a gigabyte from the disk. CPU time is that of the
command and of the container until the page answered.
"""


def measure(rounds: int, scratch: Path) -> Outcome:
    """Starts of the page, with byte code and without."""
    overlay = _overlay(scratch)
    matrices: dict[str, list[str | Path]] = {ENVIRONMENT: [], WITHOUT: ["--matrix", overlay]}
    images = {
        ENVIRONMENT: load_matrix().environment(ENVIRONMENT).image,
        WITHOUT: load_matrix(overlay).environment(WITHOUT).image,
    }
    workspace, caches, printed = scratch / "workspace", scratch / "caches", scratch / "run.log"
    environ = {**os.environ, "HF_HOME": str(caches / "huggingface"), "MODELSCOPE_CACHE": str(caches / "modelscope")}
    with leave_nothing() as client:

        def start(environment: str) -> Sample:
            name = f"bench-{environment}"
            run = _envkit("run", "llamafactory", "webui", "--env", environment, *matrices[environment], "--backend", "docker",
                          "--device", "cpu", "--port", "0", "--workspace", workspace, "--name", name, "--detach", "--json")  # fmt: skip
            try:
                sample = timed(run, env=environ, log=printed)
                used = client.api.stats(f"envkit-{name}", stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]
                text = printed.read_text(encoding="utf-8")
                url = json.loads(text[text.index("{") : text.rindex("}") + 1])["url"]
                with urllib.request.urlopen(url, timeout=10) as page:
                    assert page.status == 200, page.status
                    assert b"gradio" in page.read(), "not the page"
            finally:
                with suppress(NotFound):
                    client.containers.get(f"envkit-{name}").remove(force=True, v=True)
            return sample + Sample(0, used["total_usage"] / 1e9)

        try:
            for each, matrix in matrices.items():
                timed(_envkit("build", each, *matrix))
            files, none = (_byte_code(client, image) for image in images.values())
            assert files, "there is no byte code in the image"
            assert not none, "there is byte code in the other image"
            for each in images:
                start(each)
                _give_away(workspace, caches)
            found = interleave(rounds, {name: lambda name=name: start(name) for name in images})
        finally:
            with suppress(ImageNotFound):
                client.images.remove(images[WITHOUT], force=True)
    return Outcome(
        [Comparison("run to HTTP 200", "the image without byte code", found[ENVIRONMENT], found[WITHOUT], expected=">= 2.5x")],
        [f"{files} files of byte code in the image, {none} in the other."],
    )  # fmt: skip


def _envkit(*arguments: str | Path) -> list[str | Path]:
    return [sys.executable, "-m", "envkit", *arguments]


def _overlay(scratch: Path) -> Path:
    """A matrix with one environment more: the same framework and lock, and a template that compiles no byte code."""
    environment, images = load_matrix().environment(ENVIRONMENT), scratch / "images"
    ours, folder = share_root() / "images", images / "llamafactory" / WITHOUT.removeprefix("llamafactory-")
    shutil.copytree(ours / "llamafactory", images / "llamafactory")
    shutil.copytree(environment.folder, folder)
    template = (ours / "base.Dockerfile.j2").read_text(encoding="utf-8")
    (images / "base.Dockerfile.j2").write_text(template.replace("--compile-bytecode", ""), encoding="utf-8")
    same = {key: value for key, value in msgspec.to_builtins(environment.entry).items() if value}
    overlay = scratch / "envmatrix.yaml"
    overlay.write_text(yaml.safe_dump({"environments": {WITHOUT: same}}), encoding="utf-8")
    return overlay


def _byte_code(client: docker.DockerClient, image: str) -> int:
    command = ["sh", "-c", "find /opt/venv -name '*.pyc' | wc -l"]
    return int(client.containers.run(image, command, remove=True))


def _give_away(*folders: Path) -> None:
    """Apps run as the workspace's owner: where that is root, a user without rights takes its place."""
    if os.geteuid() == 0:
        for folder in folders:
            for each in (folder, *folder.rglob("*")):
                os.chown(each, 1000, 1000)
