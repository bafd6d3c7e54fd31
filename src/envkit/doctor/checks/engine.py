"""Container engines, and whether they hand GPUs to containers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.backends.gpu import cdi_names, request_gpus
from envkit.doctor.checks import Machine, check
from envkit.doctor.checks.gpu import NO_DRIVER
from envkit.host.home import providers

if TYPE_CHECKING:
    from envkit.backends.gpu import GpuRequest
    from envkit.doctor.checks import Seen

OLDEST_ENGINE = Version("20.10")
"""Builds need BuildKit with cache and secret mounts without a `# syntax=` line (moby/buildkit#1717)."""
NEEDS_BUILDX = Version("23.0")
"""From here on the command line has no builder of its own but the one that is deprecated (Docker 23.0's notes)."""


# The engine itself ----------------------------------------------------------------------------------------------------


@check("container-only")
def container_only(machine: Machine) -> Seen:
    """A rented container, where no engine can run."""
    known = providers().get(machine.facts.provider or "")
    if known and not machine.docker:
        ports = " and ".join(map(str, known.ports))
        yield {
            "title": known.title,
            "advice": known.advice,
            "data_disk": known.data_disk or "none",
            "port": f" --port {known.ports[0]}" if known.ports else "",
            "ports": ports or "those that its settings name",
        }


@check("engine-in-container", after={"container-only"})
def engine_in_container(machine: Machine) -> Seen:
    """A container of an unknown landlord, without the rights that an engine needs."""
    engine = machine.facts.engine
    if engine and engine.state in ("missing", "stopped") and machine.inside_container:
        yield {"container": machine.system.container or "", "problem": engine.problem}


@check("engine-missing", after={"container-only", "engine-in-container"})
def engine_missing(machine: Machine) -> Seen:
    """Neither Docker nor podman is there."""
    engine, podman = machine.facts.engine, machine.facts.podman
    if engine and engine.state == "missing" and podman and podman.state == "missing":
        yield {"system": machine.system.os_name or "this system"}


@check("engine-stopped", after={"container-only", "engine-in-container"})
def engine_stopped(machine: Machine) -> Seen:
    """Docker is installed and does not answer."""
    engine = machine.facts.engine
    if engine and engine.state == "stopped" and machine.system.systemd is not False:
        yield {"endpoint": engine.endpoint}


@check("engine-stopped-without-systemd", after={"container-only", "engine-in-container"})
def engine_stopped_without_systemd(machine: Machine) -> Seen:
    """The same where no systemd could start it."""
    engine = machine.facts.engine
    if engine and engine.state == "stopped" and machine.system.systemd is False:
        yield {"endpoint": engine.endpoint}


@check("engine-denied")
def engine_denied(machine: Machine) -> Seen:
    """The user is not in the group that may talk to the engine."""
    engine = machine.facts.engine
    if engine and engine.state == "denied" and not engine.group_member:
        yield {"endpoint": engine.endpoint}


@check("engine-denied-until-login")
def engine_denied_until_login(machine: Machine) -> Seen:
    """The user joined the group after this session began."""
    engine = machine.facts.engine
    if engine and engine.state == "denied" and engine.group_member:
        yield {"endpoint": engine.endpoint}


@check("engine-failing")
def engine_failing(machine: Machine) -> Seen:
    """The engine answers with an error, or cannot be reached where its settings say."""
    engine = machine.facts.engine
    if engine and engine.state == "failing":
        yield {"endpoint": engine.endpoint, "problem": engine.problem}


@check("engine-too-old")
def engine_too_old(machine: Machine) -> Seen:
    """An engine without the BuildKit that builds need."""
    version = _version(machine)
    if version and version < OLDEST_ENGINE:
        yield {"version": str(version), "least": str(OLDEST_ENGINE)}


@check("engine-remote")
def engine_remote(machine: Machine) -> Seen:
    """Folders of this machine are not on the engine's."""
    if machine.docker and machine.docker.remote:
        yield {"endpoint": machine.docker.endpoint}


@check("docker-cli-missing", after={"engine-too-old"})
def docker_cli_missing(machine: Machine) -> Seen:
    """Builds go through the command line."""
    if machine.docker and machine.docker.client == "":
        yield {"version": machine.docker.version or "not known"}


@check("buildx-missing", after={"engine-too-old", "docker-cli-missing"})
def buildx_missing(machine: Machine) -> Seen:
    """The command line cannot build without its plugin."""
    version = _version(machine)
    if version and version >= NEEDS_BUILDX and machine.docker and machine.docker.buildx == "":
        yield {"version": str(version)}


# GPUs in containers ---------------------------------------------------------------------------------------------------

NO_PASSTHROUGH = {"toolkit-missing", "toolkit-not-configured", "cdi-lacks-gpus", "engine-desktop", "engine-remote"}


@check("engine-desktop", after=NO_DRIVER)
def engine_desktop(machine: Machine) -> Seen:
    """Docker Desktop for Linux runs a virtual machine that has no GPU."""
    if machine.docker and machine.docker.desktop and machine.facts.gpus and not machine.system.wsl:
        yield {"endpoint": machine.docker.endpoint}


@check("engine-snap", after=NO_DRIVER)
def engine_snap(machine: Machine) -> Seen:
    """A confined engine sees neither the toolkit's configuration nor folders outside the home."""
    if machine.docker and machine.docker.snap:
        yield {"root": machine.docker.root or ""}


@check("cdi-lacks-gpus", after={*NO_DRIVER, "engine-desktop", "engine-remote"})
def cdi_lacks_gpus(machine: Machine) -> Seen:
    """The engine lists CDI devices, and not those of this machine's GPUs."""
    gpus, engine = machine.facts.gpus or (), machine.docker
    listed = engine.cdi_devices if engine else None
    if gpus and listed and _request(machine) is None and cdi_names(gpus, listed) is None:
        yield {"listed": ", ".join(listed), "gpus": ", ".join(gpu.uuid for gpu in gpus), "path": _spec_path(machine)}


@check("toolkit-missing", after={*NO_DRIVER, "engine-desktop", "engine-remote", "cdi-lacks-gpus"})
def toolkit_missing(machine: Machine) -> Seen:
    """An engine and a GPU, and nothing between them."""
    if _without_way(machine) and not machine.toolkit.path:
        yield {"runtimes": _runtimes(machine)}


@check("toolkit-not-configured", after={*NO_DRIVER, "engine-desktop", "engine-remote", "cdi-lacks-gpus"})
def toolkit_not_configured(machine: Machine) -> Seen:
    """The toolkit is installed, and the engine does not know of it, or was not restarted since."""
    if _without_way(machine) and machine.toolkit.path:
        yield {"path": machine.toolkit.path, "runtimes": _runtimes(machine)}


@check("cdi-stale", after={*NO_DRIVER, "driver-mismatch", *NO_PASSTHROUGH})
def cdi_stale(machine: Machine) -> Seen:
    """A spec names the libraries of a driver that is not loaded."""
    loaded = machine.kernel.version or machine.facts.driver
    for spec in machine.toolkit.cdi_specs:
        if spec.driver and loaded and spec.driver != loaded and machine.facts.gpus:
            yield {"path": spec.path, "made_for": spec.driver, "loaded": loaded}


@check("gpus-lost-on-reload", after={*NO_DRIVER, *NO_PASSTHROUGH})
def gpus_lost_on_reload(machine: Machine) -> Seen:
    """systemd rewrites the device rules of containers that the legacy hook set up."""
    request, engine = _request(machine), machine.docker
    if request and request.way != "cdi" and engine and engine.cgroup_driver == "systemd" and not machine.system.wsl:
        yield {"way": request.way, "version": engine.version or "not known"}


@check("rootless-needs-no-cgroups", after={*NO_DRIVER, *NO_PASSTHROUGH})
def rootless_needs_no_cgroups(machine: Machine) -> Seen:
    """A rootless engine may not set device rules."""
    request, engine = _request(machine), machine.docker
    if request and request.way != "cdi" and engine and engine.rootless and not machine.toolkit.no_cgroups:
        yield {"way": request.way}


def _request(machine: Machine) -> GpuRequest | None:
    if not machine.docker or not machine.facts.gpus:
        return None
    loaded = machine.kernel.version or machine.facts.driver
    return request_gpus(machine.docker, machine.facts.toolkit, machine.facts.gpus, driver=loaded)


def _without_way(machine: Machine) -> bool:
    known = machine.docker is not None and machine.docker.runtimes is not None and machine.facts.toolkit is not None
    return known and bool(machine.facts.gpus) and _request(machine) is None


def _runtimes(machine: Machine) -> str:
    return ", ".join((machine.docker.runtimes if machine.docker else None) or ()) or "none"


def _spec_path(machine: Machine) -> str:
    return next((spec.path for spec in machine.toolkit.cdi_specs), "/etc/cdi/nvidia.yaml")


def _version(machine: Machine) -> Version | None:
    """Of the engine, without what distributions hang on to it (`26.1.5+dfsg1`)."""
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", (machine.docker and machine.docker.version) or "")
    return Version(numbers[0]) if numbers else None
