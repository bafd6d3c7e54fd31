"""What the files of a machine and the limits of a process say."""

from __future__ import annotations

import os
import platform
import resource
from typing import TYPE_CHECKING

import pytest

from envkit.host.facts import System
from envkit.host.probes.system import find_container, probe_system

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.host.probes.conftest import Tree

UBUNTU = """\
PRETTY_NAME="Ubuntu 22.04.5 LTS"
NAME='Ubuntu'
VERSION_ID="22.04"

# a comment
ID=ubuntu
"""


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable tells of the container that the tests run in."""
    monkeypatch.delenv("container", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def system(root: Path) -> System:
    found = probe_system(root)["system"]
    assert isinstance(found, System)
    return found


def test_a_whole_machine(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "6.8.0-45-generic")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(os, "confstr", lambda _: "glibc 2.35")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**22}.__getitem__)
    limits = {resource.RLIMIT_NOFILE: 1024, resource.RLIMIT_MEMLOCK: 8 * 2**20}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limits[kind], resource.RLIM_INFINITY))
    root = tree(
        {
            "etc/os-release": UBUNTU,
            "run/systemd/system": None,
            "proc/self/mounts": "/dev/nvme0n1p2 / ext4 rw,relatime 0 0\noverlay /var/lib/docker/x overlay rw 0 0\n",
            "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\n",
            "sys/class/infiniband/mlx5_0": None,
        }
    )

    assert system(root) == System(
        os="ubuntu",
        os_version="22.04",
        os_name="Ubuntu 22.04.5 LTS",
        kernel="6.8.0-45-generic",
        architecture="x86_64",
        glibc="2.35",
        wsl=False,
        systemd=True,
        container="",
        sys_admin=False,
        root=False,
        cpus=3,
        memory_mib=16384,
        memory_limit_mib=None,
        nofile=1024,
        memlock_kib=8192,
        infiniband=True,
    )


def test_a_machine_without_any_of_the_files(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found = system(tree())

    assert (found.os, found.os_version, found.os_name) == (None, None, None)
    assert (found.systemd, found.container, found.sys_admin, found.infiniband) == (False, "", None, False)
    assert (found.memory_limit_mib, found.nofile, found.memlock_kib) == (None, -1, -1)


def test_windows_kernel(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "5.15.153.1-microsoft-standard-WSL2")

    assert system(tree()).wsl is True


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("glibc 2.17", "2.17"),
        ("glibc 2.31.9000", "2.31.9000"),
        ("NPTL 2.35", None),
        ("", None),
        (None, None),
        (ValueError("unrecognized configuration name"), None),  # musl
        (OSError(22, "Invalid argument"), None),
    ],
)
def test_the_c_library(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, answer: str | Exception | None, version: str | None
) -> None:
    def confstr(name: str) -> str | None:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(os, "confstr", confstr)

    assert system(tree()).glibc == version


# Containers -----------------------------------------------------------------------------------------------------------

OVERLAY = "overlay / overlay rw,relatime,lowerdir=/a:/b 0 0\nproc /proc proc rw 0 0\n"


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, ""),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"run/systemd/container": "lxc\n"}, "lxc"),
        ({"run/systemd/container": ""}, ""),
        ({"proc/self/mounts": OVERLAY}, "container"),
        ({"proc/self/mounts": "/dev/sda1 / ext4 rw 0 0\noverlay /merged overlay rw 0 0\n"}, ""),
        ({"proc/self/mounts": "/cow / overlay rw 0 0\n"}, ""),  # a live system
        ({".dockerenv": "", "proc/self/mounts": OVERLAY}, "docker"),
    ],
)
def test_a_container_by_its_marks(tree: Tree, files: dict[str, str | None], kind: str) -> None:
    assert find_container(tree(files)) == kind


@pytest.mark.parametrize(
    ("variable", "value", "kind"),
    [("KUBERNETES_SERVICE_HOST", "10.0.0.1", "kubernetes"), ("container", "lxc", "lxc"), ("container", "oci", "oci")],
)
def test_a_container_by_its_variables(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, kind: str
) -> None:
    monkeypatch.setenv(variable, value)

    assert find_container(tree({"proc/self/mounts": OVERLAY})) == kind


@pytest.mark.parametrize(
    ("capabilities", "may"),
    [("000001ffffffffff", True), ("00000000a80425fb", False), ("0000000000200000", True), ("nothing", None)],
)
def test_the_right_to_mount(tree: Tree, capabilities: str, may: bool | None) -> None:
    text = f"CapPrm:\t000001ffffffffff\nCapEff:\t{capabilities}\nCapBnd:\t0\n"

    assert system(tree({"proc/self/status": text})).sys_admin is may


# Memory ---------------------------------------------------------------------------------------------------------------

V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
NONE = "9223372036854771712\n"
GIB = 2**30


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/\n", {f"{V2}/memory.max": f"{8 * GIB}\n"}, 8192),
        ("0::/\n", {f"{V2}/memory.max": "max\n"}, None),
        ("0::/\n", {}, None),
        # The least on the way up counts.
        (
            "0::/a.slice/b.scope\n",
            {f"{V2}/a.slice/b.scope/memory.max": "max\n", f"{V2}/a.slice/memory.max": f"{4 * GIB}\n"},
            4096,
        ),
        (
            "0::/a.slice/b.scope\n",
            {f"{V2}/a.slice/b.scope/memory.max": f"{2 * GIB}\n", f"{V2}/a.slice/memory.max": f"{4 * GIB}\n"},
            2048,
        ),
        # Inside a container the path may be that of the host.
        ("0::/docker/0123\n", {f"{V2}/memory.max": f"{GIB}\n"}, 1024),
        ("0::/../../other\n", {f"{V2}/memory.max": f"{GIB}\n"}, 1024),
        # v1, alone and beside v2
        ("5:memory:/\n4:cpu,cpuacct:/\n", {f"{V1}/memory.limit_in_bytes": NONE}, None),
        ("5:memory:/docker/0123\n", {f"{V1}/memory.limit_in_bytes": f"{3 * GIB}\n"}, 3072),
        ("5:hugetlb,memory:/a\n", {f"{V1}/a/memory.limit_in_bytes": f"{3 * GIB}\n"}, 3072),
        ("1:name=systemd:/a\n4:cpu,cpuacct:/\n", {f"{V2}/memory.max": f"{GIB}\n"}, None),
        ("5:memory:/\n0::/a\n", {f"{V1}/memory.limit_in_bytes": f"{3 * GIB}\n", f"{V2}/memory.max": "max\n"}, 3072),
        ("nonsense\n\n", {f"{V2}/memory.max": "nonsense\n"}, None),
    ],
)
def test_the_limit_of_memory(tree: Tree, groups: str, files: dict[str, str | None], limit: int | None) -> None:
    assert system(tree({"proc/self/cgroup": groups, **files})).memory_limit_mib == limit
