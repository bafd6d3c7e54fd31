"""Container engines, and whether they hand GPUs to containers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.backends.gpu import cdi_names, request_gpus, stale_specs
from envkit.doctor.checks import Machine, check
from envkit.doctor.checks.gpu import NO_DRIVER
from envkit.host.cdi import CDI_KIND
from envkit.host.home import providers

if TYPE_CHECKING:
    from collections.abc import Collection

    from envkit.backends.gpu import GpuRequest
    from envkit.doctor.checks import Seen
    from envkit.host.facts import Engine

OLDEST_ENGINE = Version("20.10")
"""Builds need BuildKit with cache and secret mounts without a `# syntax=` line (moby/buildkit#1717)."""
NEEDS_BUILDX = Version("23.0")
"""From here on the command line has no builder of its own but the one that is deprecated (Docker 23.0's notes)."""
GPUS_BY_CDI = Version("29.2")
"""From here on `--gpus` takes CDI where it can (moby#50228), and has other words where it cannot."""


# The engine itself ----------------------------------------------------------------------------------------------------


@check("container-only")
def container_only(machine: Machine) -> Seen:
    """A rented container, where no engine can run."""
    known, engine = providers().get(machine.facts.provider or ""), machine.facts.engine
    none = engine is not None and engine.state in ("missing", "stopped") and not engine.remote
    if known and none and machine.system.container != "":  # some of them rent out virtual machines too
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
    engine, system = machine.facts.engine, machine.system
    # One that is installed and stopped may be for root to start: other users never have that capability.
    none = engine and (engine.state == "missing" or (engine.state == "stopped" and system.root)) and not engine.remote
    if none and engine and system.container and system.sys_admin is False:
        yield {"container": system.container, "problem": engine.problem}


@check("engine-missing", after={"container-only", "engine-in-container"})
def engine_missing(machine: Machine) -> Seen:
    """Neither Docker nor podman is there."""
    engine, podman = machine.facts.engine, machine.facts.podman
    if engine and engine.state == "missing" and podman and podman.state == "missing":
        yield {"system": machine.system.os_name or "this system"}


@check("engine-stopped", after={"container-only", "engine-in-container"})
def engine_stopped(machine: Machine) -> Seen:
    """Docker is installed and does not answer."""
    if (engine := _stopped(machine)) and machine.system.systemd is not False:
        yield {"endpoint": engine.endpoint or "its socket"}


@check("engine-stopped-without-systemd", after={"container-only", "engine-in-container"})
def engine_stopped_without_systemd(machine: Machine) -> Seen:
    """The same where no systemd could start it."""
    if (engine := _stopped(machine)) and machine.system.systemd is False:
        yield {"endpoint": engine.endpoint or "its socket"}


@check("engine-denied")
def engine_denied(machine: Machine) -> Seen:
    """The user is not in the group that may talk to the engine."""
    engine = machine.facts.engine
    if engine and engine.state == "denied" and not engine.group_member:
        outside = "; you are not in the group `docker`" if engine.group_member is False else ""
        yield {"endpoint": engine.endpoint, "outside": outside}


@check("engine-denied-until-login")
def engine_denied_until_login(machine: Machine) -> Seen:
    """The user joined the group after this session began."""
    engine = machine.facts.engine
    if engine and engine.state == "denied" and engine.group_member:
        yield {"endpoint": engine.endpoint}


@check("engine-failing", after={"container-only", "engine-in-container"})
def engine_failing(machine: Machine) -> Seen:
    """The engine answers with an error, or cannot be reached where its settings say: on another machine, at a socket of
    this user's."""
    engine = machine.facts.engine
    if engine and (engine.state == "failing" or (engine.state == "stopped" and not _stopped(machine))):
        yield {"endpoint": engine.endpoint, "problem": engine.problem}


@check("engine-too-old")
def engine_too_old(machine: Machine) -> Seen:
    """An engine without the BuildKit that builds need."""
    version = _version(machine)
    if version and version < OLDEST_ENGINE:
        yield {"version": _said(machine), "least": str(OLDEST_ENGINE)}


@check("engine-remote")
def engine_remote(machine: Machine) -> Seen:
    """Folders of this machine are not on the engine's."""
    if machine.docker and machine.docker.remote:
        yield {"endpoint": machine.docker.endpoint}


@check("engine-outside-container", after={"engine-remote"})
def engine_outside_container(machine: Machine) -> Seen:
    """The host's socket was handed to this container: the engine looks for folders on the host."""
    docker, facts = machine.docker, machine.facts
    elsewhere = facts.disks is not None and not facts.disk("engine")
    if machine.system.container and docker and docker.root and not docker.desktop and elsewhere:
        yield {"container": machine.system.container, "endpoint": docker.endpoint, "root": docker.root}


@check("docker-cli-missing", after={"engine-too-old"})
def docker_cli_missing(machine: Machine) -> Seen:
    """Builds go through the command line."""
    if machine.docker and machine.docker.client == "":
        yield {"version": _said(machine)}


@check("buildx-missing", after={"engine-too-old", "docker-cli-missing"})
def buildx_missing(machine: Machine) -> Seen:
    """The command line cannot build without its plugin."""
    version = _version(machine)
    if (
        version
        and version >= NEEDS_BUILDX
        and machine.docker
        and machine.docker.buildx == ""
        and not machine.docker.snap
    ):
        yield {"version": _said(machine)}


# GPUs in containers ---------------------------------------------------------------------------------------------------

ELSEWHERE = {"engine-desktop", "engine-remote", "engine-outside-container", "engine-snap-without-gpus"}
"""With any of these the engine's toolkit is not the one that this machine shows."""
NO_PASSTHROUGH = {*ELSEWHERE, "toolkit-missing", "toolkit-not-configured", "cdi-lacks-gpus", "mig-without-slices"}


@check("engine-desktop", after=NO_DRIVER)
def engine_desktop(machine: Machine) -> Seen:
    """Docker Desktop for Linux runs a virtual machine that has no GPU."""
    if machine.docker and machine.docker.desktop and machine.facts.gpus and not machine.system.wsl:
        yield {"endpoint": machine.docker.endpoint}


@check("engine-snap-without-gpus", after=NO_DRIVER)
def engine_snap_without_gpus(machine: Machine) -> Seen:
    """A confined engine has a configuration of its own, which the toolkit's commands do not reach."""
    if machine.docker and machine.docker.snap and _without_way(machine):
        yield {"root": machine.docker.root or "", "runtimes": _runtimes(machine), "error": _refusal(machine)}


@check("engine-snap", after={"engine-snap-without-gpus"})
def engine_snap(machine: Machine) -> Seen:
    """A confined engine sees neither hidden folders nor those outside the home."""
    if machine.docker and machine.docker.snap:
        yield {"root": machine.docker.root or ""}


@check("cdi-lacks-gpus", after={*NO_DRIVER, *ELSEWHERE, "mig-without-slices"})
def cdi_lacks_gpus(machine: Machine) -> Seen:
    """The engine lists CDI devices, and not those of this machine's GPUs."""
    gpus, engine = machine.facts.gpus or (), machine.docker
    listed = engine.cdi_devices if engine else None
    if gpus and listed and _request(machine) is None and cdi_names(gpus, listed) is None:
        yield {
            "listed": ", ".join(listed),
            "gpus": ", ".join(gpu.uuid for gpu in gpus),
            "device": f"{CDI_KIND}={gpus[0].index}",
            "path": _spec_path(machine),
        }


@check("podman-lacks-gpus", after={*NO_DRIVER, "mig-without-slices"})
def podman_lacks_gpus(machine: Machine) -> Seen:
    """Podman hands GPUs over by CDI and in no other way; it matters where no Docker engine goes before it."""
    gpus, podman = machine.facts.gpus or (), machine.podman
    listed = podman.cdi_devices if podman else None
    if gpus and not machine.docker and listed is not None and cdi_names(gpus, listed) is None:
        yield {"listed": ", ".join(listed) or "none", "gpus": ", ".join(gpu.uuid for gpu in gpus)}


@check("toolkit-missing", after={*NO_DRIVER, *ELSEWHERE, "mig-without-slices", "cdi-lacks-gpus"})
def toolkit_missing(machine: Machine) -> Seen:
    """An engine and a GPU, and nothing between them."""
    if _without_way(machine) and not machine.toolkit.path:
        yield {"runtimes": _runtimes(machine), "error": _refusal(machine)}


@check("toolkit-not-configured", after={*NO_DRIVER, *ELSEWHERE, "mig-without-slices", "cdi-lacks-gpus"})
def toolkit_not_configured(machine: Machine) -> Seen:
    """The toolkit is installed, and the engine does not know of it, or was not restarted since."""
    if _without_way(machine) and machine.toolkit.path:
        yield {"path": machine.toolkit.path, "runtimes": _runtimes(machine), "error": _refusal(machine)}


@check("cdi-stale", after={*NO_DRIVER, *NO_PASSTHROUGH})
def cdi_stale(machine: Machine) -> Seen:
    """The spec that hands the GPUs over names the libraries of a driver that is not loaded."""
    request = _request(machine)
    if request and request.way == "cdi":
        yield from _stale(machine, request.ids)


@check("cdi-stale-unused", after={*NO_DRIVER, *NO_PASSTHROUGH, "cdi-stale"})
def cdi_stale_unused(machine: Machine) -> Seen:
    """The same where GPUs go another way, and others may still take the spec."""
    request = _request(machine)
    if request and request.way != "cdi":
        yield from _stale(machine, {name for spec in machine.toolkit.cdi_specs for name in spec.devices})


@check("rootless-needs-no-cgroups", after={*NO_DRIVER, *NO_PASSTHROUGH})
def rootless_needs_no_cgroups(machine: Machine) -> Seen:
    """A rootless engine may not set device rules."""
    request, engine = _request(machine), machine.docker
    known = machine.facts.toolkit is not None and not machine.toolkit.no_cgroups
    if request and _by_rules(machine, request) and engine and engine.rootless and known:
        yield {"way": _WAYS[request.way]}


@check("gpus-lost-on-reload", after={*NO_DRIVER, *NO_PASSTHROUGH, "rootless-needs-no-cgroups"})
def gpus_lost_on_reload(machine: Machine) -> Seen:
    """systemd rewrites the device rules of containers that the legacy hook set up."""
    request, engine = _request(machine), machine.docker
    systemd = engine is not None and engine.cgroup_driver == "systemd" and not machine.system.wsl
    if request and engine and systemd and _by_rules(machine, request):
        yield {"way": _WAYS[request.way], "version": _said(machine)}


@check("toolkit-by-hook", after={*NO_DRIVER, *NO_PASSTHROUGH})
def toolkit_by_hook(machine: Machine) -> Seen:
    """An engine finds the toolkit's hook when it starts, and does not say so."""
    request = _request(machine)
    if request and request.way == "hook":
        yield {"path": machine.toolkit.hook, "runtimes": _runtimes(machine), "error": _refusal(machine)}


_WAYS = {"runtime": "nvidia runtime", "hook": "toolkit's hook"}


def _stopped(machine: Machine) -> Engine | None:
    """The engine of this machine, where it is installed and does not answer at the socket that systemd makes for it."""
    engine = machine.facts.engine
    if engine and engine.state == "stopped" and not engine.remote and not engine.desktop:
        return engine if not engine.endpoint or engine.endpoint.endswith("/run/docker.sock") else None
    return None


def _by_rules(machine: Machine, request: GpuRequest) -> bool:
    """Whether the toolkit sets device rules behind the engine's back.

    From 1.18 on its runtime makes a CDI spec at every start instead; such a toolkit shows by the spec in /var/run/cdi.
    """
    modern = any("/run/cdi/" in spec.path for spec in machine.toolkit.cdi_specs)
    return request.way == "hook" or (request.way == "runtime" and not modern)


def _stale(machine: Machine, names: Collection[str]) -> Seen:
    loaded = _loaded(machine)
    for spec in stale_specs(names, machine.facts.toolkit, loaded):
        yield {"path": spec.path, "made_for": spec.driver or "", "loaded": loaded or ""}


def _request(machine: Machine) -> GpuRequest | None:
    if not machine.docker or not machine.facts.gpus:
        return None
    return request_gpus(machine.docker, machine.facts.toolkit, machine.facts.gpus, driver=_loaded(machine))


def _loaded(machine: Machine) -> str | None:
    return machine.kernel.version or machine.facts.driver


def _without_way(machine: Machine) -> bool:
    docker = machine.docker
    known = docker is not None and docker.runtimes is not None and machine.facts.toolkit is not None
    # Docker Desktop has its own toolkit under Windows, and tells little of it.
    return known and not (docker and docker.desktop) and bool(machine.facts.gpus) and _request(machine) is None


def _runtimes(machine: Machine) -> str:
    return ", ".join((machine.docker.runtimes if machine.docker else None) or ()) or "none"


def _spec_path(machine: Machine) -> str:
    return next((spec.path for spec in machine.toolkit.cdi_specs), "/etc/cdi/nvidia.yaml")


def _refusal(machine: Machine) -> str:
    """What the engine answers where nothing hands GPUs over."""
    version = _version(machine)
    if version and version >= GPUS_BY_CDI:
        return "failed to discover GPU vendor from CDI: no known GPU vendor found"
    return 'could not select device driver "" with capabilities: [[gpu]]'


def _said(machine: Machine) -> str:
    return (machine.docker and machine.docker.version) or "not known"


def _version(machine: Machine) -> Version | None:
    """Of the engine, without what distributions hang on to it (`26.1.5+dfsg1`); podman, which has numbers of its own,
    may answer at Docker's address, and a build of one's own calls itself 0.0.0."""
    docker = machine.docker
    numbers = re.match(r"[0-9]+(\.[0-9]+)*", (docker and docker.version) or "")
    known = numbers and docker and "podman" not in docker.endpoint and not numbers[0].startswith("0.")
    return Version(numbers[0]) if numbers and known else None
