"""A fresh Debian made ready by `envkit bootstrap` and `envkit up`, for real: with Debian's own engine, since no other
repository may be in reach; and killed anywhere on the way."""

from __future__ import annotations

import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.command import docker
from tests.integration.conftest import skip
from tests.integration.test_launcher import clone
from tests.integration.test_smoke import PROOF
from tests.unit.bootstrap.test_runner import check_each_was_done_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.integration.command import Cli

pytestmark = [pytest.mark.docker, pytest.mark.index]
SEED, KILLS = 7, 20
BRIDGE = "envkit-boot0"
MINE = {"bridge": BRIDGE, "iptables": False, "ip6tables": False, "log-opts": {"max-file": "9"}}
"""What somebody set before, so that this engine leaves the machine's network to the machine's own.

With `none` for a bridge it would remove that of the machine's own engine, docker0, as it starts.
"""
ENVIRON = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "NO_COLOR": "1",
    "SUDO_USER": "me",
    "ENVKIT_HOME": "/root/envkit",
}
PASSED = re.compile(r"(UV|PIP)_\w+|(HTTPS?|NO|ALL)_PROXY", re.IGNORECASE)
"""How this machine reaches a package index."""
STEPS = ["prerequisites", "daemon-json", "distribution-engine", "docker-running", "docker-group", "limits"]


class Root:
    """A root file system, and programs in it; it shares kernel, network and processes with this machine."""

    def __init__(self, path: Path) -> None:
        """Where it lies."""
        self.path = path

    def start(self, *argv: str, terminal: int | None = None, **environ: str) -> subprocess.Popen[str]:
        """The running program, in a session of its own, at a terminal; its number is that of the program itself."""
        mounts = 'for each in proc sys dev; do mount --rbind "/$each" "$0/$each"; done; exec chroot "$0" "$@"'
        takes = ["setsid", "--ctty"] if terminal else []
        passed = {name: value for name, value in os.environ.items() if PASSED.fullmatch(name)}
        certificates = "/opt/certificates.crt"
        return subprocess.Popen(
            [*takes, "unshare", "--mount", "bash", "-c", mounts, self.path, *argv],
            env={**passed, **ENVIRON, "SSL_CERT_FILE": certificates, "PIP_CERT": certificates, **environ},
            stdin=terminal or subprocess.DEVNULL,
            stdout=terminal or subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=not takes,
        )

    def run(self, *argv: str, timeout: float = 300) -> str:
        """What the program printed, which must have ended well."""
        with self.start(*argv) as running:
            said, _ = running.communicate(timeout=timeout)
        assert running.returncode == 0, said
        return said

    def envkit(self, *argv: str) -> str:
        """The ended command, as a newcomer types it."""
        return self.run("/opt/envkit/envkit", *argv)

    def events(self, home: str = "root") -> list[str]:
        """What the log says of steps, without the times."""
        lines = (self.path / home / "envkit/bootstrap.log").read_text().splitlines()
        return [re.sub(r" \d+\.\d s$", "", line.split(" ", 1)[1]) for line in lines if line[:1].isdigit()]

    def state(self) -> dict[str, object]:
        """What bootstrap changes, and everything that a step which was cut short could have left."""
        etc = self.path / "etc"
        packages = self.run("dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Status}\n")
        return {
            "settings": json.loads((etc / "docker/daemon.json").read_text()),
            "before": json.loads((etc / "docker/daemon.json.before-envkit").read_text()),
            "limits": (etc / "security/limits.d/90-envkit.conf").read_text(),
            "groups": self.run("id", "-nG", "me").split(),
            "packages": {*packages.splitlines()},
            "engine": self.run("docker", "version", "--format", "{{.Server.Version}}"),
            "logs of containers": self.run("docker", "info", "--format", "{{.LoggingDriver}}"),
            "left": [each.name for each in etc.rglob("*.envkit-new")],
        }

    def close(self) -> None:
        """Ends everything that runs in it, and removes it."""
        began = time.monotonic()
        while inside := [each for each in psutil.process_iter() if self._is_inside(each)]:
            for each in inside:
                with suppress(psutil.NoSuchProcess):
                    each.send_signal(signal.SIGTERM if time.monotonic() - began < 5 else signal.SIGKILL)
            time.sleep(0.2)
        shutil.rmtree(self.path)

    def _is_inside(self, process: psutil.Process) -> bool:
        try:
            return Path(f"/proc/{process.pid}/root").readlink() == self.path
        except OSError:
            return False


@pytest.fixture(scope="module")
def bridge() -> Iterator[None]:
    """A bridge for the engines of these tests."""
    if os.geteuid() != 0:
        skip("needs root: a root file system of its own, and a bridge")
    subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)  # of tests that were killed
    subprocess.run(["ip", "link", "add", BRIDGE, "type", "bridge"], check=True)
    subprocess.run(["ip", "address", "add", "172.31.250.1/24", "dev", BRIDGE], check=True)
    yield
    subprocess.run(["ip", "link", "delete", BRIDGE], check=True)


@pytest.fixture(scope="module")
def fresh(bridge: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A Debian with Python, a user, a checkout of envkit that has started once, and an old daemon.json."""
    path = tmp_path_factory.mktemp("debian") / "root"
    path.mkdir()
    container = docker("create", "debian:bookworm-slim").strip()
    with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
        subprocess.run(["tar", "-x", "-C", path], stdin=export.stdout, check=True)
    docker("rm", container)
    (path / ".dockerenv").unlink()
    for each in Path("/etc/apt/apt.conf.d").glob("9*"):
        shutil.copy(each, path / "etc/apt/apt.conf.d")
    (path / "etc/dpkg/dpkg.cfg.d/fast").write_text("force-unsafe-io\n")
    for name in ("/etc/resolv.conf", "/etc/hosts"):
        shutil.copy(name, path / name[1:])
    bundle = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    shutil.copy(bundle, path / "opt/certificates.crt")
    clone(path / "opt/envkit")
    (path / "etc/docker").mkdir()
    (path / "etc/docker/daemon.json").write_text(json.dumps(MINE))
    root = Root(path)
    root.run("useradd", "--create-home", "me")
    root.run("apt-get", "-qq", "update")
    root.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "python3", "python3-venv")
    root.envkit("--version")
    yield root
    root.close()


@pytest.fixture
def copy(fresh: Root, tmp_path: Path) -> Iterator[Callable[[], Root]]:
    """Makes another one like it, for one test."""
    roots: list[Root] = []

    def make() -> Root:
        roots.append(Root(tmp_path / f"root-{len(roots)}"))
        subprocess.run(["cp", "--archive", "--reflink=auto", fresh.path, roots[-1].path], check=True)
        return roots[-1]

    yield make
    for each in roots:
        each.close()


def kill(running: subprocess.Popen[str], how: str) -> None:
    """Ends it in one of the ways in which servers and people do."""
    try:
        match how:
            case "power cut":
                os.killpg(running.pid, signal.SIGKILL)
            case "kill -9":
                running.kill()
            case "Ctrl-C":
                os.killpg(running.pid, signal.SIGINT)
            case _:
                running.terminate()
    except ProcessLookupError:
        pass  # it had ended


def test_killed_anywhere_and_repeated_it_comes_to_the_same_end(copy: Callable[[], Root]) -> None:
    straight, killed = copy(), copy()
    began = time.monotonic()
    straight.envkit("bootstrap", "--yes")
    took = time.monotonic() - began
    whole = straight.state()
    assert straight.events() == ["skip packages", *(f"{word} {step}" for step in STEPS for word in ("begin", "end"))]
    assert whole["settings"] == {**MINE, "log-driver": "json-file", "log-opts": {"max-file": "9", "max-size": "50m"}}
    assert whole["before"] == MINE
    assert "docker" in whole["groups"]  # type: ignore[operator]
    assert whole["left"] == []

    chance = random.Random(SEED)  # noqa: S311  # when to kill is no secret
    for _ in range(KILLS):
        running = killed.start("/opt/envkit/envkit", "bootstrap", "--yes")
        time.sleep(chance.uniform(0.5, 0.3 * took))
        kill(running, chance.choice(["power cut", "kill -9", "Ctrl-C", "terminated"]))
        running.communicate(timeout=60)
    killed.envkit("bootstrap", "--yes")

    assert killed.state() == whole
    engine = [each for each in killed.events() if each.endswith((" distribution-engine", " packages"))]
    assert engine[-1] != "begin distribution-engine"  # it came to its end, or `packages` finished what it had left
    check_each_was_done_once(killed.events(), [each for each in STEPS if each != "distribution-engine"])
    begun, ended = (sum(each.startswith(word) for each in killed.events()) for word in ("begin", "end"))
    assert begun > ended  # some were killed inside a step
    assert "nothing is left to do\n" in killed.envkit("bootstrap")


def test_an_engine_that_was_unpacked_and_never_configured_is_brought_to_its_end(copy: Callable[[], Root]) -> None:
    root = copy()
    root.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "--download-only", "docker.io")
    root.run("sh", "-c", "dpkg --unpack /var/cache/apt/archives/*.deb")

    root.envkit("bootstrap", "--yes")

    assert root.events()[:2] == ["begin packages", "end packages"]
    assert {"end docker-running", "end docker-group"} <= {*root.events()}
    assert "nothing is left to do\n" in root.envkit("bootstrap")


def test_a_user_types_the_password_of_sudo_once(copy: Callable[[], Root]) -> None:
    root = copy()
    root.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "sudo")
    root.run("sh", "-c", "echo me:hunter2 | chpasswd && adduser --quiet me sudo")
    ours, theirs = pty.openpty()
    said, asked = b"", 0

    with root.start(
        *("chroot", "--userspec=me", "/", "/opt/envkit/envkit", "bootstrap", "--yes"),
        terminal=theirs, HOME="/home/me", ENVKIT_HOME="/home/me/envkit", SUDO_USER="",
    ) as running:  # fmt: skip
        os.close(theirs)
        with suppress(OSError):  # when nobody has the terminal open any more
            while piece := os.read(ours, 4096):
                said += piece
                if said.count(b"password for me") > asked:
                    asked += 1
                    time.sleep(1)
                    os.write(ours, b"hunter2\n")
    os.close(ours)

    assert (running.returncode, asked) == (0, 1), said.decode(errors="replace")
    steps = [step for step in STEPS if f"begin {step}" in root.events("home/me")]
    assert {"daemon-json", "distribution-engine", "docker-running", "docker-group"} <= {*steps}
    check_each_was_done_once(root.events("home/me"), steps)
    assert "me" in root.run("getent", "group", "docker")


def test_a_second_bootstrap_waits_for_what_the_first_left_running(copy: Callable[[], Root]) -> None:
    """root's package manager was at work, and envkit was killed: the next call put itself beside it."""
    root = copy()
    (root.path / "etc/dpkg/dpkg.cfg.d/slow").write_text("pre-invoke=sleep 5\n")
    running = root.start("/opt/envkit/envkit", "bootstrap", "--yes")
    log = root.path / "root/envkit/bootstrap.log"
    while not log.exists() or "begin distribution-engine" not in log.read_text():
        assert running.poll() is None
        time.sleep(0.05)
    time.sleep(3)  # in the midst of it
    kill(running, "kill -9")
    running.communicate(timeout=60)

    said = root.envkit("bootstrap", "--yes")

    assert "waiting for what was left running: step distribution-engine, process " in said
    assert {"end docker-running", "end docker-group"} <= {*root.events()}


def test_from_nothing_to_a_web_page_in_a_venv(copy: Callable[[], Root], session: Cli) -> None:
    root = copy()
    assert session.matrix is not None
    shutil.copytree(session.matrix.parent, root.path / "opt/tiny")

    said = root.envkit(
        *("up", "tiny", "serve", "--yes", "--backend", "venv", "--matrix", "/opt/tiny/envmatrix.yaml"),
        *("--workspace", "/root/work", "--port", "0", "--detach"),
    )

    url = next(line for line in said.splitlines() if line.startswith("http://127.0.0.1:"))
    with urllib.request.urlopen(url, timeout=5) as page:
        assert page.status == 200
    assert root.events() == ["begin limits", "end limits", "begin compiler", "end compiler"]
    assert root.run("cc", "--version").startswith("cc (Debian")


def test_a_framework_is_proved_at_the_end(copy: Callable[[], Root]) -> None:
    root = copy()
    shutil.copytree(PROOF, root.path / "opt/proof")
    matrix = ("--matrix", "/opt/proof/envmatrix.yaml")
    root.envkit("lock", "proof-cpu", *matrix)

    said = root.envkit("bootstrap", "proof", "--yes", "--backend", "venv", *matrix)

    assert "end compiler" in root.events()
    assert "\nproof-cpu on the CPU, backend venv: pass\n" in said
    assert re.search(r"^sft-full +pass ", said, re.MULTILINE)
