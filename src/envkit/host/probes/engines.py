"""Container engines, as they describe themselves."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
from pathlib import Path
from typing import Any

from envkit import process
from envkit.errors import BackendError
from envkit.host.cdi import CDI_KIND, read_cdi_specs
from envkit.host.facts import Engine
from envkit.host.index import is_loopback
from envkit.host.probes.disks import look_at
from envkit.process import redact

_PLUGINS = (
    "~/.docker/cli-plugins",
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
"""Where the docker command line looks for its plugins (docker/cli, cli-plugins/manager)."""


def probe_docker() -> dict[str, Any]:
    """Docker, through its API: the engine that the command line's settings (DOCKER_HOST, contexts) lead to."""
    import docker
    from docker.errors import DockerException

    around: dict[str, Any] = {
        "client": shutil.which("docker") or "",
        "buildx": _buildx(),
        "group_member": _in_group("docker"),
    }
    endpoint = docker_endpoint()
    try:
        client = docker.from_env(version="auto", timeout=2)
        info = client.info()
        client.close()
    except (DockerException, OSError) as error:
        return {"engine": _unusable(error, endpoint, around)}
    engine = describe_docker(info, endpoint=endpoint, **around)
    here = engine.root and not engine.remote and not engine.desktop
    return {"engine": engine, "disks": (look_at("engine", Path(engine.root)),) if here and engine.root else ()}


def describe_docker(info: dict[str, Any], *, endpoint: str, **around: Any) -> Engine:
    """The engine of which `info` is the answer to `GET /info`."""
    remote = _is_remote(endpoint)
    folders = info.get("CDISpecDirs") or []
    listed = info.get("DiscoveredDevices")
    if listed is not None:
        devices = tuple(each.get("ID", "") for each in listed if each.get("ID", "").startswith(f"{CDI_KIND}="))
    elif remote:
        devices = None
    else:  # before Docker 28.2 the engine names the folders that it reads
        devices = tuple(name for spec in read_cdi_specs(folders) for name in spec.devices)
    registry = info.get("RegistryConfig") or {}
    root = info.get("DockerRootDir", "")
    return Engine(
        state="usable",
        endpoint=redact(endpoint),
        remote=remote,
        version=info.get("ServerVersion"),
        rootless="name=rootless" in (info.get("SecurityOptions") or []),
        desktop=info.get("OperatingSystem") == "Docker Desktop",
        snap=root.startswith("/var/snap/"),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        cdi=bool(folders) if "CDISpecDirs" in info else False,
        cdi_devices=devices,
        cgroup_driver=info.get("CgroupDriver"),
        cgroup_version=info.get("CgroupVersion"),
        storage_driver=info.get("Driver"),
        root=root or None,
        mirrors=tuple(registry.get("Mirrors") or ()),
        **around,
    )


def _unusable(error: Exception, endpoint: str, around: dict[str, Any]) -> Engine:
    text = str(error)
    if "PermissionError" in text or "Permission denied" in text:
        state, problem = "denied", "you may not talk to the Docker engine (permission denied on its socket)"
    elif "FileNotFoundError" in text or "ConnectionRefused" in text or "Connection refused" in text:
        installed = (
            shutil.which("dockerd") or Path("/snap/bin/docker").exists() or Path("/var/run/docker.sock").exists()
        )
        state, problem = "stopped" if installed else "missing", "no Docker engine answers"
    else:
        state, problem = "failing", text
    return Engine(
        state=state,  # type: ignore[arg-type]  # one of the words above
        problem=problem,
        endpoint=redact(endpoint),
        remote=_is_remote(endpoint),
        **around,
    )


def docker_endpoint() -> str:
    """The address that the docker command line would talk to."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    from docker.context import ContextAPI
    from docker.errors import DockerException

    try:
        settings = ContextAPI.kwargs_from_context(environment=os.environ)
    except (DockerException, OSError, ValueError):
        settings = {}
    return settings.get("base_url") or "unix:///var/run/docker.sock"


def _is_remote(endpoint: str) -> bool:
    return not endpoint.startswith(("unix:", "http+unix:", "npipe:")) and not is_loopback(endpoint)


def _buildx() -> str | None:
    """The version of the plugin; empty where there is none; None where it does not say."""
    paths = (Path(folder).expanduser() / "docker-buildx" for folder in _PLUGINS)
    plugin = next((path for path in paths if os.access(path, os.X_OK)), None)
    if plugin is None:
        return ""
    try:
        says = process.run([str(plugin), "version"], timeout=2).stdout
    except (BackendError, OSError):
        return None
    version = re.search(r"v?([0-9]+\.[0-9]+\.[0-9]+)", says)
    return version[1] if version else None


def _in_group(name: str) -> bool | None:
    try:
        group, user = grp.getgrnam(name), pwd.getpwuid(os.getuid())
    except KeyError:
        return None
    return user.pw_name in group.gr_mem or user.pw_gid == group.gr_gid


def probe_podman() -> dict[str, Any]:
    """Podman, through its command line: it needs no service."""
    client = shutil.which("podman")
    if not client:
        return {"podman": Engine(state="missing", problem="podman is not installed", client="")}
    try:
        done = process.run([client, "info", "--format", "json"], timeout=2.5)
        info = json.loads(done.stdout)
    except (BackendError, OSError, ValueError) as error:
        return {"podman": Engine(state="failing", problem=str(error), client=client)}
    engine = describe_podman(info, client=client)
    here = engine.root and not engine.remote
    return {"podman": engine, "disks": (look_at("podman", Path(engine.root)),) if here and engine.root else ()}


def describe_podman(info: dict[str, Any], *, client: str) -> Engine:
    """The engine of which `info` is what `podman info` prints."""
    host, store = info.get("host", {}), info.get("store", {})
    return Engine(
        state="usable",
        client=client,
        remote=bool(host.get("serviceIsRemote")),
        version=info.get("version", {}).get("Version"),
        rootless=host.get("security", {}).get("rootless"),
        runtimes=tuple(filter(None, [host.get("ociRuntime", {}).get("name")])),
        cdi=True,
        cdi_devices=tuple(name for spec in read_cdi_specs() for name in spec.devices),
        cgroup_driver=host.get("cgroupManager"),
        cgroup_version=(host.get("cgroupVersion") or "").removeprefix("v") or None,
        storage_driver=store.get("graphDriverName"),
        root=store.get("graphRoot"),
    )
