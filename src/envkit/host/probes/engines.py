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
from envkit.host.facts import Disk, Engine, EngineState, Purpose
from envkit.host.files import is_there
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
_TRACES = ("/snap/bin/docker", "/var/run/docker.sock")
"""Left by an engine that is installed, beside dockerd on the PATH, where not every user finds it."""
_LOCAL = ("unix:", "http+unix:", "npipe:", "fd:")
_LISTS_DEVICES = (28, 2)
"""The Docker release from which on the engine lists its CDI devices (moby#49963)."""
_PODMAN_CDI = (4, 1)
"""The podman release from which on `--device` takes CDI names."""


def probe_docker() -> dict[str, Any]:
    """Docker, through its API: the engine that the command line's settings (DOCKER_HOST, contexts) lead to."""
    import docker

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
    except Exception as error:  # noqa: BLE001  # a damaged context raises just that, an odd address a ValueError
        return {"engine": explain_docker(error, endpoint=endpoint, **around)}
    engine = describe_docker(info, endpoint=endpoint, **around)
    return {"engine": engine, "disks": _disk("engine", engine)}


def describe_docker(info: dict[str, Any], *, endpoint: str, **around: Any) -> Engine:
    """The engine of which `info` is the answer to `GET /info`."""
    remote, desktop = _is_remote(endpoint), info.get("OperatingSystem") == "Docker Desktop"
    folders = info.get("CDISpecDirs") or []
    listed = info.get("DiscoveredDevices")
    devices: tuple[str, ...] | None
    if listed is not None or _release(info.get("ServerVersion")) >= _LISTS_DEVICES:  # it leaves an empty list out
        names = (each.get("ID") or "" for each in listed or ())
        devices = tuple(name for name in names if name.startswith(f"{CDI_KIND}="))
    elif folders and (remote or desktop):
        devices = None
    else:  # an older engine names the folders that it reads
        devices = tuple(name for spec in read_cdi_specs(folders) for name in spec.devices)
    registry = info.get("RegistryConfig") or {}
    root = info.get("DockerRootDir") or ""
    return Engine(
        state="usable",
        endpoint=redact(endpoint),
        remote=remote,
        version=info.get("ServerVersion"),
        rootless="name=rootless" in (info.get("SecurityOptions") or []),
        desktop=desktop,
        snap=root.startswith("/var/snap/"),
        runtimes=tuple(sorted(info.get("Runtimes") or {})),
        cdi=bool(folders),
        cdi_devices=devices,
        cgroup_driver=info.get("CgroupDriver"),
        cgroup_version=info.get("CgroupVersion"),
        storage_driver=info.get("Driver"),
        root=root or None,
        mirrors=tuple(redact(each) for each in registry.get("Mirrors") or ()),
        **around,
    )


def explain_docker(error: Exception, *, endpoint: str, **around: Any) -> Engine:
    """The engine that answered with an error, or not at all."""
    text, remote = redact(str(error)), _is_remote(endpoint)
    state: EngineState
    if "PermissionError" in text or "Permission denied" in text:
        state, problem = "denied", "you may not talk to the Docker engine (permission denied on its socket)"
    elif "FileNotFoundError" in text or "ConnectionRefused" in text or "Connection refused" in text:
        installed = remote or shutil.which("dockerd") or any(is_there(Path(each)) for each in _TRACES)
        state, problem = "stopped" if installed else "missing", "no Docker engine answers"
    else:
        state, problem = "failing", text
    return Engine(state=state, problem=problem, endpoint=redact(endpoint), remote=remote, **around)


def _disk(purpose: Purpose, engine: Engine) -> tuple[Disk, ...]:
    """The disk of its images, where that is this machine's: the engine may be elsewhere, and only its socket here."""
    if not engine.root or engine.remote or engine.desktop or not is_there(Path(engine.root)):
        return ()
    return (look_at(purpose, Path(engine.root)),)


def _release(version: str | None) -> tuple[int, ...]:
    """Major and minor number; empty where there are none."""
    match = re.match(r"(\d+)\.(\d+)", version or "")
    return tuple(map(int, match.groups())) if match else ()


def docker_endpoint() -> str:
    """The address that the docker command line would talk to."""
    if os.environ.get("DOCKER_HOST"):
        return os.environ["DOCKER_HOST"]
    from docker.context import ContextAPI

    try:
        settings = ContextAPI.kwargs_from_context(environment=os.environ)
    except Exception:  # noqa: BLE001  # whoever connects is told
        settings = {}
    return settings.get("base_url") or "unix:///var/run/docker.sock"


def _is_remote(endpoint: str) -> bool:
    return not endpoint.startswith(_LOCAL) and not is_loopback(endpoint)


def _buildx() -> str | None:
    """The version of the plugin; empty where there is none; None where it does not say."""
    own = os.environ.get("DOCKER_CONFIG")
    folders = (*([f"{own}/cli-plugins"] if own else []), *_PLUGINS)
    paths = (Path(os.path.expanduser(folder)) / "docker-buildx" for folder in folders)  # noqa: PTH111  # never raises
    plugin = next((path for path in paths if os.access(path, os.X_OK)), None)
    if plugin is None:
        return ""
    try:
        says = process.run([str(plugin), "version"], timeout=1).stdout
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
    except (BackendError, OSError) as error:
        return {"podman": Engine(state="failing", problem=str(error), client=client)}
    if done.status:
        lines = done.stderr.strip().splitlines()
        problem = lines[-1] if lines else f"`podman info` ended with status {done.status}"
        return {"podman": Engine(state="failing", problem=problem, client=client)}
    try:
        engine = describe_podman(json.loads(done.stdout), client=client)
    except (ValueError, AttributeError) as error:  # no JSON, or another shape
        return {"podman": Engine(state="failing", problem=f"`podman info` cannot be read: {error}", client=client)}
    return {"podman": engine, "disks": _disk("podman", engine)}


def describe_podman(info: dict[str, Any], *, client: str) -> Engine:
    """The engine of which `info` is what `podman info` prints."""
    host, store = info.get("host") or {}, info.get("store") or {}
    remote, version = bool(host.get("serviceIsRemote")), (info.get("version") or {}).get("Version")
    cdi = _release(version) >= _PODMAN_CDI if version else None
    devices: tuple[str, ...] | None = None
    if cdi is not None and not remote:
        devices = tuple(name for spec in read_cdi_specs() for name in spec.devices) if cdi else ()
    return Engine(
        state="usable",
        client=client,
        remote=remote,
        version=version,
        rootless=(host.get("security") or {}).get("rootless"),
        runtimes=tuple(filter(None, [(host.get("ociRuntime") or {}).get("name")])),
        cdi=cdi,
        cdi_devices=devices,
        cgroup_driver=host.get("cgroupManager"),
        cgroup_version=(host.get("cgroupVersion") or "").removeprefix("v") or None,
        storage_driver=store.get("graphDriverName"),
        root=store.get("graphRoot"),
    )
