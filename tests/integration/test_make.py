"""An environment is whole or not there: broken downloads, killed installs, full disks, two at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import threading
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil
import pytest

from envkit.backends.base import Recipe
from envkit.backends.docker import DockerBackend
from envkit.backends.podman import PodmanBackend
from envkit.backends.venv import VenvBackend
from envkit.lock.lockfile import lock_path, read_lock
from envkit.matrix.load import load_matrix
from tests.integration.command import Cli, docker, engine, processes, until
from tests.integration.conftest import leftovers, skip
from tests.integration.index import Index, make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from envkit.backends.base import Backend

SMALL, LARGE, BUILDER = "envkittest_small", "envkittest_large", "envkittest_builder"
MATRIX = f"""\
variants:
  cpu: {{source: invented}}
torch_stacks:
  no-torch: {{variant: cpu, source: invented}}
environments:
  own-cpu:
    framework: own
    stack: no-torch
    python: "3.11"
    require: [{LARGE}==1.0]
build_requires: [{BUILDER}==1.0]
"""
FRAMEWORK = f"""\
name: own
title: Packages of our own
home: https://example.com
package: {LARGE.replace("_", "-")}
cpu: true
apps:
  job:
    about: says which version it found
    argv: [python, -c, "import {LARGE}, {SMALL}; print({LARGE}.VERSION, {SMALL}.VERSION)"]
"""


@pytest.fixture
def index() -> Iterator[Index]:
    """An index with a large package that needs a small one."""
    wheels = [
        make_wheel(LARGE, "1.0", ballast=4_000_000, requires=(f"{SMALL}==2.0",)),
        make_wheel(SMALL, "2.0"),
        make_wheel(BUILDER, "1.0"),
    ]
    with Index(*wheels) as served:
        yield served


@pytest.fixture
def own(index: Index, tmp_path: Path) -> Iterator[Cli]:
    """The command line with a framework from that index, locked, a new home, and no environment in it."""
    folder = tmp_path / "matrix"
    (folder / "images/own").mkdir(parents=True)
    (folder / "envmatrix.yaml").write_text(MATRIX)
    (folder / "images/own/framework.yaml").write_text(FRAMEWORK)
    env = {
        "UV_DEFAULT_INDEX": index.url,
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "home/cache/uv"),
        "NO_PROXY": "127.0.0.1",
    }
    cli = Cli(home=tmp_path / "home", matrix=folder / "envmatrix.yaml", cwd=tmp_path, env=env)
    cli("lock", "own-cpu")
    shutil.rmtree(cli.home)  # with uv's cache of the metadata
    index.served.clear()
    yield cli
    for process in processes(cli.home):
        process.kill()


RUN = ("run", "own", "job", "--backend", "venv")
GOOD = "1.0 2.0\n"


def environments(cli: Cli) -> list[str]:
    """What lies beside the environments, but for the guard's file."""
    return sorted(
        each.name for each in (cli.home / "environments").glob("*") if each.is_dir() or not each.name.endswith(".guard")
    )


def whole(cli: Cli) -> bool:
    """Whether there is one environment and nothing half-made."""
    return [re.sub(r"-[0-9a-f]{12}$", "", each) for each in environments(cli)] == ["own-cpu"]


# Networks -------------------------------------------------------------------------------------------------------------


def test_a_broken_download_is_one_error_and_the_next_try_goes_on_from_there(own: Cli, index: Index) -> None:
    large, small = f"{LARGE}-1.0-py3-none-any.whl", f"{SMALL}-2.0-py3-none-any.whl"
    index.mood[large] = "breaks"

    failed = own(*RUN, status=8)

    assert "error: installing own-cpu failed; nothing was left behind\n" in failed.stderr
    assert failed.stderr.endswith(
        "\nhint: run the same command again: finished downloads are kept; `--mirror cn` chooses mirrors in mainland China\n"
    )
    assert environments(own) == []
    assert small in index.served

    index.mood.clear()
    index.served.clear()
    assert own(*RUN).stdout == GOOD
    assert index.served == [large]
    assert whole(own)

    index.served.clear()
    assert own(*RUN).stdout == GOOD
    assert index.served == []


def test_a_broken_download_is_json_too(own: Cli, index: Index) -> None:
    index.mood[f"{LARGE}-1.0-py3-none-any.whl"] = "breaks"

    error = own(*RUN, "--json", status=8).json["error"]

    assert (error["kind"], error["exit_code"]) == ("build", 8)
    assert error["message"] == "installing own-cpu failed; nothing was left behind"
    assert LARGE.replace("_", "-") in error["details"]


def test_no_network_is_one_error(own: Cli) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        port = nobody.getsockname()[1]
    own = replace(own, env={**own.env, "UV_DEFAULT_INDEX": f"http://user:hush@127.0.0.1:{port}/simple"})

    failed = own(*RUN, status=8)

    assert "error: installing own-cpu failed; nothing was left behind\n" in failed.stderr
    assert f"127.0.0.1:{port}" in failed.stderr
    assert "hush" not in failed.stderr
    assert environments(own) == []


def test_what_an_index_serves_must_be_what_was_locked(own: Cli, index: Index) -> None:
    index.mood[f"{LARGE}-1.0-py3-none-any.whl"] = "lies"

    failed = own(*RUN, status=8)

    assert "Hash mismatch" in failed.stderr
    assert failed.stderr.endswith(
        f"\nhint: what {index.url} serves is not what was locked: choose another index with `--mirror`\n"
    )
    assert environments(own) == []


def test_no_mirror_s_address_is_in_a_lock(own: Cli) -> None:
    for each in own.matrix.parent.rglob("*.lock"):
        assert "127.0.0.1" not in each.read_text()


# Interruptions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupted_install_leaves_nothing(own: Cli, index: Index, number: signal.Signals) -> None:
    large = f"{LARGE}-1.0-py3-none-any.whl"
    index.mood[large] = "stalls"
    with own.running(*RUN) as running:
        until(lambda: large in index.served)
        assert len(environments(own)) == 1
        running.send(number)
        assert running.end() == 128 + number

    assert environments(own) == []
    assert leftovers(own.home, "own") == []


def test_an_install_that_was_killed_is_never_taken_for_an_environment(own: Cli, index: Index) -> None:
    large = f"{LARGE}-1.0-py3-none-any.whl"
    index.mood[large] = "stalls"
    with own.running(*RUN) as running:
        until(lambda: large in index.served)
        running.send(signal.SIGKILL)
        running.process.wait()
    assert [each for each in environments(own) if not each.startswith(".")] == []

    index.mood.clear()
    assert own(*RUN, timeout=60).stdout == GOOD

    assert whole(own)
    # The installer that was orphaned goes on, if it lives; what it does must not reach the environment.
    index.let_go.set()
    until(lambda: not processes(own.home))
    assert processes(own.home) == []
    assert whole(own)
    assert own(*RUN).stdout == GOOD


@pytest.mark.index
@pytest.mark.docker
def test_an_interrupted_build_leaves_no_image(cli: Cli, tmp_path: Path) -> None:
    cli = _another_environment(cli, tmp_path, "bottle==0.13.3")
    image, base = "envkit/tiny:0.13.3-cpu", f"envkit-tests/base:{tmp_path.name.lower()}-{os.getpid()}"
    docker("rmi", "--force", image, status=None)  # of an earlier run
    # On a base that no build has seen, no step comes from the cache, and there is time to interrupt.
    docker("run", "--name", f"envkit-tests-{os.getpid()}", "debian:bookworm-slim", "touch", f"/{os.getpid()}")
    docker("commit", f"envkit-tests-{os.getpid()}", base)
    docker("rm", f"envkit-tests-{os.getpid()}")
    try:
        with cli.running("build", "tiny-cpu", "--base-image", base) as running:
            running.wait_for("system 2/2")
            running.send(signal.SIGINT)
            assert running.end() == 130
        assert docker("images", "--quiet", image) == ""
    finally:
        docker("rmi", "--force", base)

    cli("build", "tiny-cpu", timeout=600)

    assert docker("images", "--quiet", image)
    docker("image", "rm", image)


@pytest.mark.index
@pytest.mark.podman
def test_an_interrupted_podman_build_leaves_no_image_no_step_and_no_layers(cli: Cli, tmp_path: Path) -> None:
    cli = _another_environment(cli, tmp_path, "bottle==0.13.3")
    image, base, name = "envkit/tiny:0.13.3-cpu", f"envkit-tests-base:{os.getpid()}", f"envkit-tests-{os.getpid()}"
    engine("podman", "create", "--name", name, "debian:bookworm-slim", "true")
    engine("podman", "commit", "--change", f"LABEL test={tmp_path}", name, base)
    engine("podman", "rm", name)
    base_id = engine("podman", "image", "inspect", "--format", "{{.Id}}", base).strip()
    run = ["run", "tiny", "job", "--backend", "podman", "--base-image", base]
    before = {each["Id"] for each in _podman_containers()}
    try:
        with cli.running(*run) as running:
            running.wait_for("system 3/3")
            steps = psutil.Process(running.process.pid).children(recursive=True)
            running.send(signal.SIGINT)
            assert running.end() == 130
        assert not [each for each in steps if each.is_running()]
        assert engine("podman", "images", "--quiet", image) == ""
        # podman's container of the base image itself, with nothing in it, is not told from a stranger's.
        assert {each["ImageID"] for each in _podman_containers() if each["Id"] not in before} <= {base_id}
    finally:
        for each in _podman_containers():
            if each["ImageID"] == base_id:
                engine("podman", "rm", "--force", each["Id"])
        engine("podman", "rmi", "--force", base)


def _podman_containers() -> list[dict[str, str]]:
    """All of them, with those that a build works in."""
    found: list[dict[str, str]] = json.loads(engine("podman", "ps", "--all", "--external", "--format", "json"))
    return found


# Two at once ----------------------------------------------------------------------------------------------------------


def test_two_installs_at_once_make_one_environment(own: Cli, index: Index) -> None:
    large = f"{LARGE}-1.0-py3-none-any.whl"
    index.mood[large] = "stalls"
    with own.running(*RUN) as first:
        until(lambda: large in index.served)
        with own.running(*RUN) as second:
            second.wait_for("waiting for another envkit that installs own-cpu")
            index.let_go.set()
            assert (first.end(), second.end()) == (0, 0)

    assert (first.stdout, second.stdout) == (GOOD, GOOD)
    assert index.served.count(large) == 1
    assert whole(own)


@pytest.mark.index
@pytest.mark.docker
def test_two_builds_at_once_both_work(cli: Cli, tmp_path: Path) -> None:
    cli = _another_environment(cli, tmp_path, "bottle==0.13.2")
    results: list[str] = []

    def build() -> None:
        results.append(cli("run", "tiny", "job", "--backend", "docker", status=3, timeout=600).stdout)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    assert results == ["docopt 0.6.2\nto stderr\n"] * 2
    docker("image", "rm", "envkit/tiny:0.13.2-cpu")


# Disks and Pythons ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", ["64k", "256k", "3m"])
def test_a_full_disk_is_one_error_and_leaves_no_environment(own: Cli, size: str) -> None:
    if os.getuid():
        skip("needs root: a small disk is mounted")
    own.home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", own.home], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        skip(f"needs the right to mount: {mounted.stderr.strip()}")
    try:
        failed = own(*RUN, "--json", status=None)

        error = failed.json["error"]
        assert failed.status == error["exit_code"] != 0
        assert "no space left" in (error["message"] + error["details"]).lower()
        assert "ENVKIT_HOME" in error["hint"]
        assert [each for each in environments(own) if not each.endswith(".guard")] == []
    finally:
        subprocess.run(["umount", own.home], check=True)


def test_a_home_that_is_read_only_is_one_error(own: Cli) -> None:
    own.home.mkdir()
    own.home.chmod(stat.S_IREAD | stat.S_IEXEC)
    own = replace(own, prefix=no_root_rights())

    failed = own(*RUN, status=7)

    assert f"error: the venv backend cannot be used: {own.home} cannot be written to\n" in failed.stderr
    own.home.chmod(stat.S_IRWXU)


def test_a_python_that_is_nowhere_names_both_ways_out(own: Cli) -> None:
    own.matrix.write_text(MATRIX.replace('"3.11"', '"3.99"'))
    own("lock", "own-cpu")

    error = own(*RUN, "--json", status=7).json["error"]

    assert error["kind"] == "backend"
    assert error["message"] == "there is no Python 3.99 on this machine, and none could be downloaded"
    assert error["hint"] == (
        "install it (`sudo apt-get install python3.99`), or point UV_PYTHON_INSTALL_MIRROR at a mirror of uv's Pythons"
    )
    assert environments(own) == []


# Locks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.index
@pytest.mark.parametrize("change", ["another hash", "no hash"])
def test_a_changed_lock_is_refused_by_the_installer(cli: Cli, backend: str, tmp_path: Path, change: str) -> None:
    """A hand that also mends the lock's header gets past envkit's own check, and no further."""
    cli = _another_environment(cli, tmp_path, "bottle==0.13.1")
    environment = load_matrix(cli.matrix).environment("tiny-cpu")
    path = lock_path(environment)
    head, body = re.split(r"(?=^bottle)", path.read_text(), maxsplit=1, flags=re.MULTILINE)
    if change == "no hash":
        body, refusal = "bottle==0.13.1\ndocopt==0.6.2\n", "must have a hash"
    else:
        body = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", body)
        refusal = "Hash mismatch"
    path.write_text(head + body)

    edited = cli("run", "tiny", "job", "--backend", backend, status=6)
    assert f"error: a lock was edited by hand: {path}\n" in edited.stderr

    digest = hashlib.sha256(body.encode()).hexdigest()
    path.write_text(re.sub(r"(?<=^# packages: ).*$", digest, head, flags=re.MULTILINE) + body)
    refused = cli("run", "tiny", "job", "--backend", backend, status=8, timeout=600)

    assert refusal in refused.stderr
    if change == "another hash":
        assert re.search(r"hint: what \S.* serves is not what was locked", refused.stderr)
    recipe = Recipe(environment, read_lock(environment))
    known: dict[str, Backend] = {"docker": DockerBackend(), "podman": PodmanBackend(), "venv": VenvBackend(cli.home)}
    assert not known[backend].has(recipe)


def _another_environment(cli: Cli, tmp_path: Path, pin: str) -> Cli:
    """The tiny framework in a version that nobody else makes."""
    shutil.copytree(cli.matrix.parent, tmp_path / "another")
    cli = replace(cli, matrix=tmp_path / "another/envmatrix.yaml")
    cli.matrix.write_text(cli.matrix.read_text().replace("bottle==0.13.4", pin))
    cli("lock", "tiny-cpu")
    return cli


def no_root_rights() -> tuple[str, ...]:
    """What to put before a command so that file permissions count for it, whoever runs the tests."""
    if os.getuid():
        return ()
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
