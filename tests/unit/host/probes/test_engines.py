"""What engines of different ages and kinds answer, and what their silence means."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import docker
import pytest
from docker.errors import DockerException

from envkit.errors import BackendError
from envkit.host.facts import Disk, Engine
from envkit.host.probes import engines
from envkit.host.probes.engines import describe_docker, describe_podman, explain_docker, probe_docker, probe_podman
from envkit.process import Completed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.host.probes.conftest import Tree

SOCKET = "unix:///var/run/docker.sock"
OLD: dict[str, Any] = {
    "ServerVersion": "20.10.24",
    "Driver": "overlay2",
    "CgroupDriver": "cgroupfs",
    "CgroupVersion": "1",
    "OperatingSystem": "Ubuntu 20.04.6 LTS",
    "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}},
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=default"],
    "DockerRootDir": "/var/lib/docker",
    "RegistryConfig": {"Mirrors": []},
}
"""`GET /info` of Docker 20.10, as far as it matters here."""
NEW: dict[str, Any] = {
    **OLD,
    "ServerVersion": "29.2.1",
    "Driver": "overlayfs",
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
    "DiscoveredDevices": [
        {"Source": "cdi", "ID": "nvidia.com/gpu=0"},
        {"Source": "cdi", "ID": "nvidia.com/gpu=all"},
        {"Source": "cdi", "ID": "vendor.com/nic=0"},
        {"Source": "cdi"},
    ],
}


@pytest.fixture
def specs(tree: Tree) -> str:
    """A folder with the CDI spec of a GPU."""
    root = tree({"cdi/nvidia.yaml": "kind: nvidia.com/gpu\ndevices: [{name: 0}, {name: all}]\n"})
    return str(root / "cdi")


# Docker ---------------------------------------------------------------------------------------------------------------


def test_docker_20_10_knows_no_cdi() -> None:
    assert describe_docker(OLD, endpoint=SOCKET, client="/usr/bin/docker", buildx="", group_member=True) == Engine(
        state="usable",
        endpoint=SOCKET,
        remote=False,
        version="20.10.24",
        client="/usr/bin/docker",
        buildx="",
        rootless=False,
        desktop=False,
        snap=False,
        runtimes=("nvidia", "runc"),
        cdi=False,
        cdi_devices=(),
        cgroup_driver="cgroupfs",
        cgroup_version="1",
        storage_driver="overlay2",
        root="/var/lib/docker",
        mirrors=(),
        group_member=True,
    )


def test_docker_29_lists_its_devices() -> None:
    engine = describe_docker(NEW, endpoint=SOCKET)

    assert (engine.cdi, engine.cdi_devices) == (True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all"))
    assert (engine.cgroup_driver, engine.cgroup_version, engine.storage_driver) == ("systemd", "2", "overlayfs")


@pytest.mark.parametrize(
    ("info", "endpoint", "cdi", "devices"),
    [
        # Docker 25 to 28.1 names the folders that it reads, and they are read here.
        ({"ServerVersion": "26.1.5+dfsg1"}, SOCKET, True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all")),
        ({"ServerVersion": "28.1.0"}, "tcp://127.0.0.1:2375", True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all")),
        ({"ServerVersion": "26.1.5", "CDISpecDirs": []}, SOCKET, False, ()),
        ({"ServerVersion": "26.1.5", "CDISpecDirs": None}, SOCKET, False, ()),
        # From 28.2 on it lists the devices; none is left out of the answer.
        ({"ServerVersion": "28.2.0"}, SOCKET, True, ()),
        ({"ServerVersion": "29.0.0-rc.1", "DiscoveredDevices": None}, SOCKET, True, ()),
        # The folders of another machine do not show.
        ({"ServerVersion": "26.1.5"}, "ssh://me@server", True, None),
        ({"ServerVersion": "26.1.5"}, "tcp://10.0.0.7:2376", True, None),
        ({"ServerVersion": "26.1.5", "OperatingSystem": "Docker Desktop"}, SOCKET, True, None),
        ({"ServerVersion": "26.1.5", "CDISpecDirs": []}, "ssh://me@server", False, ()),
        ({"ServerVersion": None}, SOCKET, True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all")),
    ],
)
def test_cdi_devices_by_the_engine_s_age(
    specs: str, info: dict[str, Any], endpoint: str, cdi: bool, devices: tuple[str, ...] | None
) -> None:
    engine = describe_docker({**OLD, "CDISpecDirs": [specs], **info}, endpoint=endpoint)

    assert (engine.cdi, engine.cdi_devices) == (cdi, devices)


@pytest.mark.parametrize(
    ("info", "marks"),
    [
        ({}, ()),
        ({"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless", "name=cgroupns"]}, ("rootless",)),
        ({"OperatingSystem": "Docker Desktop"}, ("desktop",)),
        ({"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}, ("snap",)),
        ({"SecurityOptions": None, "DockerRootDir": None, "RegistryConfig": None, "Runtimes": None}, ()),
    ],
)
def test_kinds_of_engines(info: dict[str, Any], marks: tuple[str, ...]) -> None:
    engine = describe_docker({**NEW, **info}, endpoint=SOCKET)

    assert tuple(name for name in ("rootless", "desktop", "snap", "remote") if getattr(engine, name)) == marks


@pytest.mark.parametrize(
    ("endpoint", "shown", "remote"),
    [
        (SOCKET, SOCKET, False),
        ("unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock", False),
        ("http+unix:///var/run/docker.sock", "http+unix:///var/run/docker.sock", False),
        ("npipe:////./pipe/docker_engine", "npipe:////./pipe/docker_engine", False),
        ("tcp://127.0.0.1:2375", "tcp://127.0.0.1:2375", False),
        ("tcp://localhost:2375", "tcp://localhost:2375", False),
        ("tcp://[::1]:2375", "tcp://[::1]:2375", False),
        ("tcp://10.0.0.7:2376", "tcp://10.0.0.7:2376", True),
        ("tcp://localhost.example:2376", "tcp://localhost.example:2376", True),
        ("ssh://me@server", "ssh://***@server", True),
        ("ssh://me:secret@localhost", "ssh://***@localhost", False),
    ],
)
def test_where_the_engine_is(endpoint: str, shown: str, remote: bool) -> None:
    engine = describe_docker(NEW, endpoint=endpoint)

    assert (engine.endpoint, engine.remote) == (shown, remote)


def test_mirrors_are_shown_without_their_passwords() -> None:
    mirrors = ["https://mirror.example/", "https://me:secret@mirror.example/"]

    engine = describe_docker({**NEW, "RegistryConfig": {"Mirrors": mirrors}}, endpoint=SOCKET)

    assert engine.mirrors == ("https://mirror.example/", "https://***@mirror.example/")


# Docker that does not answer ------------------------------------------------------------------------------------------

ABORTED = "Error while fetching server API version: ('Connection aborted.', {})"
DENIED = "you may not talk to the Docker engine (permission denied on its socket)"


@pytest.mark.parametrize(
    ("text", "endpoint", "installed", "state", "problem"),
    [
        (ABORTED.format("PermissionError(13, 'Permission denied')"), SOCKET, True, "denied", DENIED),
        (
            ABORTED.format("FileNotFoundError(2, 'No such file or directory')"),
            SOCKET,
            True,
            "stopped",
            "no Docker engine answers",
        ),
        (
            ABORTED.format("FileNotFoundError(2, 'No such file or directory')"),
            SOCKET,
            False,
            "missing",
            "no Docker engine answers",
        ),
        (
            ABORTED.format("ConnectionRefusedError(111, 'Connection refused')"),
            SOCKET,
            False,
            "missing",
            "no Docker engine answers",
        ),
        ("[Errno 111] Connection refused", "tcp://server:2375", False, "stopped", "no Docker engine answers"),
        ("Read timed out. (read timeout=2)", SOCKET, True, "failing", "Read timed out. (read timeout=2)"),
        (
            "Invalid bind address format: tcp://me:secret@server",
            "tcp://me:secret@server",
            True,
            "failing",
            "Invalid bind address format: tcp://***@server",
        ),
    ],
)
def test_why_docker_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tree: Tree, text: str, endpoint: str, installed: bool, state: str, problem: str
) -> None:
    root = tree({"docker.sock": ""} if installed else {})
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(engines, "_TRACES", (f"{root}/docker.sock",))

    engine = explain_docker(DockerException(text), endpoint=endpoint, client="")

    assert (engine.state, engine.problem, engine.client) == (state, problem, "")
    assert (engine.version, engine.cdi, engine.cdi_devices) == (None, None, None)


# The probe of Docker --------------------------------------------------------------------------------------------------


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Makes Docker's client answer `GET /info` with a document or an error, on a machine without its programs."""

    def install(info: dict[str, Any] | Exception) -> None:
        def connect(**settings: Any) -> Any:
            if isinstance(info, Exception):
                raise info
            return SimpleNamespace(info=lambda: info, close=lambda: None)

        monkeypatch.setattr(docker, "from_env", connect)

    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(engines, "_PLUGINS", (str(tmp_path / "plugins"),))
    monkeypatch.setattr(grp, "getgrnam", lambda _: SimpleNamespace(gr_mem=["someone"], gr_gid=999))
    return install


def test_the_disk_of_an_engine_is_looked_at(answer: Any, tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    answer({**NEW, "DockerRootDir": str(tmp_path)})

    told = probe_docker()

    assert (told["engine"].client, told["engine"].buildx, told["engine"].group_member) == ("", "", False)
    assert [(each.purpose, each.path, each.filesystem) for each in told["disks"]] == [
        ("engine", str(tmp_path), f"{os.major(device)}:{os.minor(device)}")
    ]


@pytest.mark.parametrize(
    ("info", "endpoint"),
    [
        ({}, "tcp://10.0.0.7:2376"),
        ({"OperatingSystem": "Docker Desktop"}, SOCKET),
        ({"DockerRootDir": "/nowhere/in/this/container"}, SOCKET),  # its socket was lent to us
        ({"DockerRootDir": ""}, SOCKET),
    ],
)
def test_the_disk_of_an_engine_elsewhere_is_not_known(
    answer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, info: dict[str, Any], endpoint: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", endpoint)
    answer({**NEW, "DockerRootDir": str(tmp_path), **info})

    assert probe_docker()["disks"] == ()


@pytest.mark.parametrize(
    "error",
    [
        DockerException("Install paramiko package to enable ssh:// support"),
        ValueError("Invalid IPv6 URL"),
        Exception("Detected corrupted meta file for context broken"),  # docker-py raises just that
        OSError("odd"),
    ],
)
def test_no_way_to_the_engine_is_a_fact_too(answer: Any, error: Exception) -> None:
    answer(error)

    told = probe_docker()

    assert list(told) == ["engine"]
    assert (told["engine"].state, told["engine"].problem) == ("failing", str(error))


@pytest.mark.parametrize(
    ("host", "context", "endpoint"),
    [
        ("tcp://me:secret@server:2375", None, "tcp://***@server:2375"),
        (None, "unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock"),
        (None, "tcp://server:2376", "tcp://server:2376"),
        (None, None, SOCKET),
        ("", None, SOCKET),
    ],
)
def test_the_address_is_the_one_of_the_command_line(
    answer: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    host: str | None,
    context: str | None,
    endpoint: str,
) -> None:
    answer(NEW)
    if host is not None:
        monkeypatch.setenv("DOCKER_HOST", host)
    if context:  # as `docker context use` leaves it
        folder = tmp_path / "home/.docker"
        meta = folder / "contexts/meta" / hashlib.sha256(b"mine").hexdigest()
        meta.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"currentContext": "mine"}))
        (meta / "meta.json").write_text(
            json.dumps({"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": context}}})
        )

    assert probe_docker()["engine"].endpoint == endpoint


@pytest.mark.parametrize(
    ("says", "version"),
    [
        ("github.com/docker/buildx v0.25.0 faaea65\n", "0.25.0"),
        ("github.com/docker/buildx 0.13.1+ds1\n", "0.13.1"),
        ("what\n", None),
        (BackendError("no answer"), None),
        (PermissionError("no"), None),
    ],
)
def test_buildx_says_its_version(
    answer: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str | Exception, version: str | None
) -> None:
    def run(argv: list[str], **settings: Any) -> Completed:
        assert argv == [str(tmp_path / "plugins/docker-buildx"), "version"]
        if isinstance(says, Exception):
            raise says
        return Completed(0, says, "")

    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/docker-buildx").touch(mode=0o755)
    monkeypatch.setattr("envkit.process.run", run)
    answer(NEW)

    assert probe_docker()["engine"].buildx == version


def test_membership_of_the_group(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(NEW)
    user = pwd.getpwuid(os.getuid())

    monkeypatch.setattr(grp, "getgrnam", lambda _: SimpleNamespace(gr_mem=[user.pw_name], gr_gid=-1))
    assert probe_docker()["engine"].group_member is True
    monkeypatch.setattr(grp, "getgrnam", lambda _: SimpleNamespace(gr_mem=[], gr_gid=user.pw_gid))
    assert probe_docker()["engine"].group_member is True

    def unknown(key: object) -> Any:
        raise KeyError(key)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert probe_docker()["engine"].group_member is None


# Podman ---------------------------------------------------------------------------------------------------------------

PODMAN: dict[str, Any] = {
    "host": {
        "cgroupManager": "systemd",
        "cgroupVersion": "v2",
        "ociRuntime": {"name": "crun"},
        "security": {"rootless": True},
        "serviceIsRemote": False,
    },
    "store": {"graphDriverName": "overlay", "graphRoot": "/home/me/.local/share/containers/storage"},
    "version": {"Version": "4.9.4-rhel"},
}


@pytest.fixture
def podman_specs(monkeypatch: pytest.MonkeyPatch, specs: str) -> None:
    read = engines.read_cdi_specs
    monkeypatch.setattr(engines, "read_cdi_specs", lambda: read((specs,)))


@pytest.mark.usefixtures("podman_specs")
def test_podman() -> None:
    assert describe_podman(PODMAN, client="/usr/bin/podman") == Engine(
        state="usable",
        client="/usr/bin/podman",
        remote=False,
        version="4.9.4-rhel",
        rootless=True,
        runtimes=("crun",),
        cdi=True,
        cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=all"),
        cgroup_driver="systemd",
        cgroup_version="2",
        storage_driver="overlay",
        root="/home/me/.local/share/containers/storage",
    )


@pytest.mark.usefixtures("podman_specs")
@pytest.mark.parametrize(
    ("version", "remote", "cdi", "devices"),
    [
        ("3.4.4", False, False, ()),
        ("4.0.3", False, False, ()),
        ("4.1.0", False, True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all")),
        ("5.0.0-rc1", False, True, ("nvidia.com/gpu=0", "nvidia.com/gpu=all")),
        ("5.2.2", True, True, None),
        (None, False, None, None),
    ],
)
def test_podman_by_its_age(
    version: str | None, remote: bool, cdi: bool | None, devices: tuple[str, ...] | None
) -> None:
    host = {**PODMAN["host"], "serviceIsRemote": remote}

    engine = describe_podman({**PODMAN, "host": host, "version": {"Version": version}}, client="podman")

    assert (engine.remote, engine.cdi, engine.cdi_devices) == (remote, cdi, devices)


@pytest.mark.parametrize("info", [{}, {"host": None, "store": None, "version": None}])
def test_a_podman_that_says_little(info: dict[str, Any]) -> None:
    assert describe_podman(info, client="podman") == Engine(state="usable", client="podman", remote=False, runtimes=())


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes podman end with a status and two streams, or not at all."""

    def install(status: int, out: str, err: str = "", *, error: Exception | None = None) -> None:
        def run(argv: list[str], **settings: Any) -> Completed:
            assert argv == ["/usr/bin/podman", "info", "--format", "json"]
            if error:
                raise error
            return Completed(status, out, err)

        monkeypatch.setattr("envkit.process.run", run)

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    return install


def test_no_podman(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    assert probe_podman() == {"podman": Engine(state="missing", problem="podman is not installed", client="")}


@pytest.mark.parametrize(
    ("status", "out", "err", "problem"),
    [
        (125, "", "warning\nError: cannot re-exec process\n", "Error: cannot re-exec process"),
        (1, "", "", "`podman info` ended with status 1"),
        (0, "", "", "`podman info` cannot be read: Expecting value: line 1 column 1 (char 0)"),
        (0, "[]", "", "`podman info` cannot be read: 'list' object has no attribute 'get'"),
        (0, '{"host": "h"}', "", "`podman info` cannot be read: 'str' object has no attribute 'get'"),
    ],
)
def test_a_podman_that_cannot_be_understood(podman: Any, status: int, out: str, err: str, problem: str) -> None:
    podman(status, out, err)

    assert probe_podman() == {"podman": Engine(state="failing", problem=problem, client="/usr/bin/podman")}


@pytest.mark.parametrize("error", [BackendError("`podman` gave no answer within 2.5 s"), PermissionError("no")])
def test_a_podman_that_cannot_be_asked(podman: Any, error: Exception) -> None:
    podman(0, "", error=error)

    assert probe_podman() == {"podman": Engine(state="failing", problem=str(error), client="/usr/bin/podman")}


def test_podman_s_disk(podman: Any, tmp_path: Path) -> None:
    podman(0, json.dumps({**PODMAN, "store": {"graphRoot": str(tmp_path)}}))

    (disk,) = probe_podman()["disks"]

    assert isinstance(disk, Disk)
    assert (disk.purpose, disk.path) == ("podman", str(tmp_path))
    assert disk.free_mib is not None
