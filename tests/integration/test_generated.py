"""What envkit generates, read by the tools it is made for: Dockerfiles by BuildKit, compose files by compose."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import urllib.request
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import pytest
import uv
import yaml

from envkit.lock.lockfile import read_lock
from envkit.matrix.load import load_matrix
from envkit.render.templates import render_compose
from tests.conftest import REPOSITORY
from tests.integration.command import docker
from tests.integration.conftest import skip
from tests.integration.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.command import Cli

pytestmark = pytest.mark.docker
DOCKERFILES = sorted(REPOSITORY.glob("images/*/*/Dockerfile"))
COMPOSE_FILES = sorted(REPOSITORY.glob("compose/*.yaml"))
PROFILES = [
    pytest.param(file, profile, id=f"{file.stem}-{profile}")
    for file in COMPOSE_FILES
    for service in yaml.safe_load(file.read_text())["services"].values()
    for profile in service["profiles"]
]
SECRET = f"hush{uuid.uuid4().hex[:8]}"
"""Part of every credential that a build is given."""


# Committed files ------------------------------------------------------------------------------------------------------


def test_there_are_generated_files() -> None:
    assert len(DOCKERFILES) >= 2
    assert len(PROFILES) >= 6


@pytest.mark.parametrize(("file", "profile"), PROFILES)
def test_compose_reads_every_profile_of_every_file(file: Path, profile: str, tmp_path: Path) -> None:
    environ = {**os.environ, "ENVKIT_WORKSPACE": str(tmp_path), "ENVKIT_PORT": "12345", "ENVKIT_ARGS": "--extra 1"}
    done = subprocess.run(
        ["docker", "compose", "--file", file, "--profile", profile, "config", "--format", "json"],
        env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "variable is not set" not in line] == []

    services = json.loads(done.stdout)["services"]
    assert list(services) == [profile]
    service = services[profile]
    assert " --extra 1" in " ".join(service["command"])
    assert [(each["host_ip"], each["published"]) for each in service["ports"]] == [("127.0.0.1", "12345")]
    assert service["volumes"][0]["source"] == str(tmp_path)
    assert ("deploy" in service) is not profile.endswith("-cpu")


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda each: each.parent.name)
def test_buildkit_reads_every_dockerfile(file: Path) -> None:
    if "--check" in docker("buildx", "build", "--help"):
        docker("buildx", "build", "--check", str(file.parent))
    else:  # before buildx 0.15: the whole file is parsed, and its first stage, which all share, is built
        docker("buildx", "build", "--target", "system", "--output", "type=cacheonly", str(file.parent))


@pytest.mark.index
def test_the_committed_files_are_what_the_matrix_says(cli: Cli) -> None:
    done = subprocess.run(
        [cli.argv("list")[0], "render", "--check"], cwd=cli.cwd, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


# The tiny framework's -------------------------------------------------------------------------------------------------


@pytest.fixture
def image(cli: Cli) -> str:
    """The tiny framework's image, built."""
    cli("build", "tiny-cpu", timeout=900)
    return "envkit/tiny:0.13.4-cpu"


@pytest.mark.index
def test_the_image_says_what_it_is(cli: Cli, image: str) -> None:
    config = json.loads(docker("image", "inspect", "--format", "{{json .Config}}", image))
    lock = read_lock(load_matrix(cli.matrix).environment("tiny-cpu"))

    labels = config["Labels"]
    assert re.fullmatch("[0-9a-f]{64}", labels.pop("io.envkit.recipe"))
    assert labels == {
        "io.envkit.environment": "tiny-cpu",
        "io.envkit.framework": "tiny",
        "io.envkit.version": "0.13.4",
        "io.envkit.lock": lock.sha256,
    }
    assert config["User"] == "1000:1000"
    assert config["WorkingDir"] == "/workspace"
    assert sorted(config["ExposedPorts"]) == ["8901/tcp", "8902/tcp", "8903/tcp", "8904/tcp"]
    assert {each.split("=")[0] for each in config["Env"]} == {"PATH", "HOME", "USER"}


@pytest.mark.index
def test_a_fresh_image_is_not_built_again(cli: Cli, image: str) -> None:
    assert cli("build", "tiny-cpu").stderr == f"{image} is there and fresh\n"
    assert cli("build", "tiny-cpu", "--json").json == [{"environment": "tiny-cpu", "image": image, "built": False}]


@pytest.mark.index
def test_what_is_installed_is_exactly_the_lock_and_compiled(cli: Cli, image: str) -> None:
    lock = read_lock(load_matrix(cli.matrix).environment("tiny-cpu"))
    program = (
        "import importlib.metadata as m, json, pathlib, sys; import bottle\n"
        "print(json.dumps([{d.metadata['Name']: d.version for d in m.distributions()},"
        " [str(p) for p in pathlib.Path(sys.prefix).rglob('bottle*.pyc')]]))"
    )

    installed, compiled = json.loads(docker("run", "--rm", image, "python", "-c", program))

    assert installed == lock.packages
    assert compiled


@pytest.mark.index
@pytest.mark.parametrize("user", ["12345:12345", "1000:1000", "0:0", "12345:0"])
def test_the_image_runs_as_any_user_with_a_workspace_of_theirs(image: str, tmp_path: Path, user: str) -> None:
    workspace = tmp_path / "theirs"
    (workspace / "saves").mkdir(parents=True)
    uid, gid = map(int, user.split(":"))
    if os.getuid():
        skip("needs root: nobody else can give a folder away")
    for folder in (workspace, workspace / "saves"):
        os.chown(folder, uid, gid)
    program = (
        "import getpass, os, pathlib, tempfile; pathlib.Path('saves/file').write_text(getpass.getuser());"
        "pathlib.Path('~/.cache/there').expanduser().mkdir(parents=True); tempfile.mkdtemp();"
        "pathlib.Path('/cache/models/there').mkdir(); print(os.getuid(), os.getgid(), pathlib.Path.cwd())"
    )
    hardened = ["--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]

    said = docker(
        "run", "--rm", "--user", user, *hardened, "--volume", f"{workspace}:/workspace", image, "python", "-c", program
    )

    assert said == f"{uid} {gid} /workspace\n"
    written = (workspace / "saves/file").stat()
    assert (written.st_uid, written.st_gid) == (uid, gid)


@pytest.mark.index
@pytest.mark.parametrize(
    ("profile", "gpus", "handed"),
    [
        ("serve-cpu", {}, None),
        ("serve", {"ENVKIT_GPU_DRIVER": "cdi", "ENVKIT_GPUS": "nvidia.com/gpu=all"}, "all"),
        ("serve", {"ENVKIT_GPU_DRIVER": "cdi", "ENVKIT_GPUS": "nvidia.com/gpu=0"}, "0"),
    ],
)
def test_the_compose_file_runs_a_server(
    cli: Cli, image: str, stand_in_gpus: Path, profile: str, gpus: dict[str, str], handed: str | None
) -> None:
    file = cli.cwd / "tiny.yaml"
    environment = load_matrix(cli.matrix).environment("tiny-cpu")
    file.write_text(render_compose(environment, read_lock(environment)))
    workspace = cli.cwd / "workspace"
    shutil.copytree(cli.matrix.parent / "images/tiny/workspace", workspace)
    (workspace / "saves").mkdir()
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    project = ["docker", "compose", "--file", file, "--project-name", f"envkit-{SECRET}", "--profile", profile]
    if "rlimit" in docker("run", "--rm", "--ulimit", "nofile=1048576", image, "true", status=None):
        # An engine that may not raise limits, such as one inside a container: the rest of the file is still to be seen.
        override = cli.cwd / "override.yaml"
        override.write_text(f"services: {{{profile}: {{ulimits: !reset null}}}}\n")
        project[4:4] = ["--file", override]
    environ = {
        **os.environ,
        **gpus,
        "ENVKIT_WORKSPACE": str(workspace),
        "ENVKIT_PORT": str(port),
        "ENVKIT_USER": f"{os.getuid()}:{os.getgid()}",
        "ENVKIT_ARGS": "--one two",
        "TINY_TOKEN": "handed over",
    }

    def compose(*args: str) -> str:
        done = subprocess.run([*project, *args], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        compose("up", "--detach", "--wait")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            seen = json.load(answer)
        assert '"Health":"healthy"' in compose("ps", "--format", "json")
    finally:
        compose("down", "--volumes", "--timeout", "1")
    assert seen["args"] == ["--one", "two"]
    assert seen["uid"] == os.getuid()
    assert (seen["env"]["TINY_SET"], seen["env"]["TINY_TOKEN"]) == ("by the framework", "handed over")
    assert seen["env"].get("STAND_IN_GPU") == handed


# Builds with secrets --------------------------------------------------------------------------------------------------


@pytest.fixture
def base_image() -> Iterator[str]:
    """A base image of the test's own, so that no step of a build on it was cached before."""
    name = f"envkit-tests/base:{uuid.uuid4().hex[:12]}"
    dockerfile = f"FROM debian:bookworm-slim\nRUN echo {name} > /etc/envkit-tests\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", name, "-"], input=dockerfile, text=True, check=True)
    yield name
    docker("image", "rm", "--force", name)


def default_index() -> str:
    """The address of the index that uv uses on this machine, whoever chose it."""
    said = subprocess.run(
        [uv.find_uv_bin(), "pip", "compile", "-", "--emit-index-url", "--no-header", "--quiet"],
        input="iniconfig", capture_output=True, text=True, cwd="/", check=True,
    ).stdout  # fmt: skip
    return next(line.split()[1] for line in said.splitlines() if line.startswith("--index-url"))


@pytest.mark.index
def test_a_build_leaves_no_secret_in_the_image(cli: Cli, base_image: str, tmp_path: Path) -> None:
    """With an index and proxies that need a password, a company's certificates, and a base image of the user's."""
    shutil.copytree(cli.matrix.parent, tmp_path / "another")
    cli = replace(cli, matrix=tmp_path / "another/envmatrix.yaml")
    cli.matrix.write_text(cli.matrix.read_text().replace("bottle==0.13.4", "bottle==0.13.0"))
    cli("lock", "tiny-cpu")
    image = "envkit/tiny:0.13.0-cpu"

    index = urlsplit(default_index())
    with Proxy(user="user", password=SECRET) as proxy:
        private = {
            "UV_DEFAULT_INDEX": urlunsplit(index._replace(netloc=f"user:{SECRET}@{index.netloc.split('@')[-1]}")),
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), proxy.url),
        }
        done = replace(cli, env=private)("build", "tiny-cpu", "--base-image", base_image, timeout=900)
        assert SECRET not in done.stdout + done.stderr
        if index.scheme.startswith("http"):
            assert any(index.hostname in each for each in proxy.seen), proxy.seen

    assert docker("run", "--rm", image, "cat", "/etc/envkit-tests") == f"{base_image}\n"
    history = docker("history", "--no-trunc", image)
    config = docker("image", "inspect", image)
    environ = docker("run", "--rm", "--entrypoint", "env", image)
    for text in (history, config, environ):
        assert SECRET not in text
        assert proxy.url not in text
    for name in ("PROXY", "proxy", "SSL_CERT", "PIP_CERT", "INDEX", "UV_"):
        assert name not in environ
        assert name not in config
    search = ["grep", "-rlaF", SECRET, "/", *(f"--exclude-dir={each}" for each in ("proc", "sys", "dev"))]
    assert docker("run", "--rm", "--user", "0:0", image, *search, status=1) == ""
    secrets = docker("run", "--rm", "--user", "0:0", image, "find", "/run/secrets", "-type", "f", status=None)
    assert not [line for line in secrets.splitlines() if line.startswith("/run/secrets/")]
    docker("image", "rm", image)


@pytest.mark.index
def test_a_base_image_that_is_nowhere_is_one_error_with_the_step(cli: Cli) -> None:
    failed = cli("build", "tiny-cpu", "--force", "--base-image", "envkit-tests/nowhere:1", status=8, timeout=300)

    assert "error: building envkit/tiny:0.13.4-cpu failed" in failed.stderr
    assert "envkit-tests/nowhere" in failed.stderr
    assert "--base-image" in failed.stderr.split("hint: ")[1]
