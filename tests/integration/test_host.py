"""`envkit host` on this machine, over its real engines."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from envkit.host.facts import HostFacts
from tests.integration.command import ENVKIT, Cli, docker

NO_RIGHTS = () if os.getuid() else ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")
"""Makes file permissions count, whoever runs the tests."""


@pytest.fixture
def here(tmp_path: Path) -> Cli:
    """The command line with a home of its own."""
    return Cli(home=tmp_path / "home", matrix=None, cwd=tmp_path)


def facts(cli: Cli) -> HostFacts:
    return msgspec.json.decode(cli("host", "--json", timeout=60).stdout, type=HostFacts)


def test_the_machine_is_described_in_words_and_in_json(here: Cli) -> None:
    words = here("host", timeout=60)
    found = facts(here)

    assert words.stderr == ""
    assert found.unknown == {}
    system = found.system
    assert system is not None
    assert system.kernel == os.uname().release
    assert system.cpus == len(os.sched_getaffinity(0))
    home = found.disk("home")
    assert home is not None
    device = here.cwd.stat().st_dev
    assert (home.path, home.filesystem) == (str(here.home), f"{os.major(device)}:{os.minor(device)}")
    labels = [line[:10].strip() for line in words.stdout.splitlines()]
    assert {"Docker", "podman", "system", "disk", "Python", "compiler", "index", "models"} <= set(labels)


@pytest.mark.docker
def test_the_engine_is_the_one_that_its_command_line_asks(here: Cli) -> None:
    engine = facts(here).engine
    info = json.loads(docker("info", "--format", "{{json .}}"))

    assert engine is not None
    assert (engine.state, engine.problem) == ("usable", "")
    assert (engine.version, engine.root) == (info["ServerVersion"], info["DockerRootDir"])
    assert (engine.cgroup_driver, engine.cgroup_version) == (info["CgroupDriver"], info["CgroupVersion"])
    assert engine.storage_driver == info["Driver"]
    assert engine.runtimes == tuple(sorted(info["Runtimes"]))
    assert engine.cdi is bool(info.get("CDISpecDirs"))
    plugins = {each["Name"]: each["Version"] for each in info["ClientInfo"]["Plugins"] or []}
    assert engine.buildx in plugins.get("buildx", "")
    disk = facts(here).disk("engine")
    assert disk is not None
    assert disk.path == info["DockerRootDir"]


@pytest.mark.docker
def test_a_context_leads_to_its_engine(here: Cli, tmp_path: Path) -> None:
    config = tmp_path / "docker"
    config.mkdir()
    variables = {**os.environ, "DOCKER_CONFIG": str(config)}
    address = f"unix://{tmp_path}/nobody.sock"
    for command in (["create", "elsewhere", "--docker", f"host={address}"], ["use", "elsewhere"]):
        subprocess.run(["docker", "context", *command], env=variables, check=True, capture_output=True, timeout=30)

    engine = facts(replace(here, env={"DOCKER_CONFIG": str(config)})).engine

    assert engine is not None
    assert (engine.state, engine.endpoint, engine.remote) == ("stopped", address, False)


@pytest.mark.parametrize(
    ("address", "state", "problem"),
    [
        ("garbage", "failing", "Invalid bind address format: port is required: garbage"),
        ("tcp://[bad", "failing", "Invalid IPv6 URL"),
        ("tcp://127.0.0.1:99999", "failing", "Port out of range 0-65535"),
        ("tcp://me:secret@127.0.0.1:1", "failing", "Invalid bind address format: tcp://***@127.0.0.1:1"),
        ("ssh://me@127.0.0.1", "failing", "Install paramiko package to enable ssh:// support"),
    ],
)
def test_an_address_that_leads_to_no_engine_is_told(here: Cli, address: str, state: str, problem: str) -> None:
    found = facts(replace(here, env={"DOCKER_HOST": address}))

    assert found.engine is not None
    assert (found.engine.state, found.engine.problem) == (state, problem)
    assert found.unknown == {}


def test_a_damaged_context_is_told(here: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "docker" / "contexts" / "meta" / hashlib.sha256(b"broken").hexdigest()
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{")
    (tmp_path / "docker" / "config.json").write_text('{"currentContext": "broken"}')

    found = facts(replace(here, env={"DOCKER_CONFIG": str(tmp_path / "docker")}))

    assert found.unknown == {}
    assert found.engine is not None
    assert found.engine.state == "failing"
    assert found.engine.problem == (
        "Detected corrupted meta file for context broken : Expecting property name enclosed in double quotes: "
        "line 1 column 2 (char 1)"
    )


def test_folders_that_are_closed_to_the_user_stop_nothing(here: Cli, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0)
    try:
        env = {
            "XDG_DATA_HOME": f"{closed}/inner",
            "UV_CACHE_DIR": f"{closed}/inner/cache",
            "PYENV_ROOT": f"{closed}/inner",
            "SSL_CERT_FILE": f"{closed}/inner/bundle.pem",
            "LD_LIBRARY_PATH": f"{closed}/inner",
            "DOCKER_HOST": f"unix://{closed}/inner/docker.sock",
            "DOCKER_CONFIG": f"{closed}/inner",
        }
        found = facts(replace(here, env=env, prefix=NO_RIGHTS))
    finally:
        closed.chmod(0o700)

    assert found.unknown == {}
    cache = found.disk("cache")
    assert cache is not None
    assert (cache.path, cache.filesystem) == (f"{closed}/inner/cache", None)
    assert found.engine is not None
    assert found.engine.state == "denied"


def test_variables_may_hold_any_bytes(here: Cli) -> None:
    names = (b"HTTPS_PROXY", b"HF_ENDPOINT", b"CC", b"LD_LIBRARY_PATH", b"ENVKIT_HOME", b"PYENV_ROOT", b"UV_INDEX_URL")
    environ = {**os.environb, **dict.fromkeys(names, b"/\xff\xfe"), b"HTTPS_PROXY": b"http://me:\xff@proxy\xff"}
    for args in ([], ["--json"]):
        done = subprocess.run([ENVKIT, "host", *args], env=environ, capture_output=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
    found = msgspec.json.decode(done.stdout, type=HostFacts)
    assert found.settings is not None
    assert found.settings.proxies == {"HTTPS_PROXY": "http://***@proxy?"}
    assert found.settings.huggingface == "/??"
    assert found.unknown == {}


def test_a_machine_without_home_and_path(here: Cli, tmp_path: Path) -> None:
    found = facts(replace(here, prefix=("env", "--unset=HOME", "--unset=XDG_DATA_HOME", "PATH=/nowhere")))

    assert found.unknown == {}
    assert found.podman is not None
    assert (found.podman.state, found.podman.problem) == ("missing", "podman is not installed")
    assert found.compilers == ()
