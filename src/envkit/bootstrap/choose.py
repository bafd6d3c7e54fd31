"""Which steps a machine needs, from its facts; pure, so that another machine's can be shown too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from envkit.bootstrap.knowledge import Distribution, Step, daemon_program, knowledge
from envkit.errors import BackendError
from envkit.host.home import providers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from envkit.host.facts import Engine, HostFacts

Route = Literal["docker", "venv"]
_FIRST_WITH_CDI = 25
"""The first release of the engine that takes `features.cdi` (docker/cli#4510)."""
_FEW_FILES = 65536
Value = str | list[str]


@dataclass(frozen=True)
class Wishes:
    """What the user asked for."""

    backend: Literal["auto", "docker", "venv"] = "auto"
    driver: bool = False
    """Whether a missing driver may be installed."""
    data_root: str | None = None
    """Where Docker shall keep its data."""
    user: str = ""
    """Who shall be allowed to use Docker; empty: root alone, who is."""


@dataclass(frozen=True)
class Sources:
    """Where packages come from: addresses that answered, or that are taken on trust; None: none does."""

    docker: str | None
    toolkit: str | None
    registries: tuple[str, ...] = ()
    """Mirrors of Docker Hub."""


def official_sources() -> Sources:
    """Docker's and NVIDIA's own addresses."""
    known = knowledge().repositories
    return Sources(known["docker"].address, known["toolkit"].address)


@dataclass(frozen=True)
class Outline:
    """What is to be done on a machine."""

    distribution: Distribution
    route: Route
    why: str
    """Why this route."""
    steps: tuple[Step, ...]
    values: Mapping[str, Value]
    """The variables that the steps use."""
    notes: tuple[str, ...] = field(default=())
    """What is not done here, and what comes after."""


def outline(facts: HostFacts, wishes: Wishes, sources: Sources) -> Outline:
    """The steps to a machine that runs environments, in order.

    Raises `BackendError` for a machine that no steps are known for, saying what is missing.
    """
    distribution = find_distribution(facts)
    route, why = choose_route(facts, wishes)
    ids = dict.fromkeys(_needed(facts, wishes, sources, distribution, route))
    steps = tuple(each for each in knowledge().steps if each.id in ids and each.program(distribution))
    return Outline(
        distribution=distribution,
        route=route,
        why=why,
        steps=steps,
        values=_values(facts, wishes, sources, distribution),
        notes=(
            *_notes(facts, wishes, sources, distribution, route),
            *(
                ["`--data-root` does nothing: no engine is set up here"]
                if wishes.data_root and "daemon-json" not in ids
                else []
            ),
        ),
    )


def is_ready(facts: HostFacts, backend: str) -> bool:
    """Whether a machine has all that `envkit run --backend BACKEND` needs of it, as far as steps here could bring it.

    What is not known does not count against it.
    """
    docker, podman = facts.engine, facts.podman
    if backend in ("auto", "docker") and docker and docker.state == "usable":
        return not facts.gpus or _hands_gpus_over(docker)
    if backend in ("auto", "podman") and podman and podman.state == "usable":
        return True
    if backend == "venv" or _against_docker(facts):
        return facts.compilers != ()
    return backend == "podman"


def choose_route(facts: HostFacts, wishes: Wishes) -> tuple[Route, str]:
    """Where environments will run, and why; raises `BackendError` where Docker is asked for and cannot be."""
    against = _against_docker(facts)
    if wishes.backend == "docker" and against:
        raise BackendError(f"Docker cannot be installed here: {against}", hint="leave out `--backend docker`")
    if wishes.backend != "auto":
        return wishes.backend, "asked for"
    return ("venv", against) if against else ("docker", "this machine can run containers")


def _against_docker(facts: HostFacts) -> str:
    system, engine = facts.system, facts.engine
    if not (system and system.container) or (engine and engine.state == "usable"):
        return ""
    known = providers().get(facts.provider or "")
    if known:
        return f"this is a container of {known.title}, and Docker cannot run in it"
    if system.sys_admin is False and system.root:
        return "this is a container without the right to start others"
    return ""


def find_distribution(facts: HostFacts) -> Distribution:
    """The distribution that steps are known for; raises `BackendError` for any other."""
    system = facts.system
    if system is None:
        raise BackendError("nothing is known of this machine's system", hint="`envkit host` says why")
    known = knowledge()
    name, version = system.os or "", system.os_version or ""
    for number in (version, version.split(".")[0]):
        if found := known.distributions.get(f"{name}-{number}"):
            break
    else:
        titles = ", ".join(each.title for each in known.distributions.values())
        raise BackendError(
            f"{system.os_name or 'this system'} cannot be prepared: no steps are known for it",
            details="missing: which of Docker's and NVIDIA's packages are made for it, and its package manager's names\n"
            f"known are {titles}",
            hint="install Docker by hand (https://docs.docker.com/engine/install/), or do without: `envkit run FRAMEWORK APP --backend venv`",
        )
    if system.architecture not in (None, *known.architectures):
        raise BackendError(
            f"{system.architecture} is not supported yet: the locks hold wheels for {', '.join(known.architectures)} alone",
            hint="choose a machine with such processors",
        )
    return found


def _needed(
    facts: HostFacts, wishes: Wishes, sources: Sources, distribution: Distribution, route: Route
) -> Iterator[str]:
    """The ids of the steps, in any order."""
    system, install_driver = facts.system, wishes.driver and _lacks_driver(facts)
    if install_driver and driver_package(facts, distribution):
        yield from ("prerequisites", "driver")
    if route == "docker" and _is_ours(facts.engine):
        yield from _engine_steps(facts, wishes, sources, distribution, gpu=bool(facts.gpus) or install_driver)
    if route == "venv":
        yield "compiler"
    if system and not system.container:
        if system.nofile is not None and 0 <= system.nofile < _FEW_FILES:
            yield "limits"
        if system.infiniband and system.memlock_kib != -1:
            yield "memlock"


def _engine_steps(
    facts: HostFacts, wishes: Wishes, sources: Sources, distribution: Distribution, *, gpu: bool
) -> Iterator[str]:
    engine = facts.engine
    missing = engine is None or engine.state == "missing"
    if missing and sources.docker:
        yield from ("docker-repository", "docker-engine")
    elif missing and distribution.engine:
        yield "distribution-engine"
    if missing and not sources.docker and not distribution.engine:
        return
    yield from ("packages", "prerequisites", "daemon-json", "docker-running")
    if wishes.user and not (engine and engine.group_member):
        yield "docker-group"
    has_toolkit = bool(facts.toolkit and facts.toolkit.path)
    if gpu and not has_toolkit and sources.toolkit:
        yield from ("toolkit-repository", "toolkit")
    if gpu and (has_toolkit or sources.toolkit):
        yield from ("nvidia-runtime", "cdi")


def _is_ours(engine: Engine | None) -> bool:
    """Whether the engine is, or will be, one of this machine that root sets up."""
    return engine is None or not (engine.remote or engine.desktop or engine.rootless or engine.snap)


def _hands_gpus_over(engine: Engine) -> bool:
    return bool("nvidia" in (engine.runtimes or ()) or engine.cdi_devices) or not _is_ours(engine)


def _lacks_driver(facts: HostFacts) -> bool:
    """Whether there is a GPU that a driver of this machine could serve, and none is installed."""
    container = facts.system and facts.system.container
    return bool(facts.hardware) and facts.hardware != ("wsl",) and not container and not facts.driver and not facts.gpus


def driver_package(facts: HostFacts, distribution: Distribution) -> str | None:
    """The package of the driver that is advised for the GPUs; None where no supported one knows them."""
    advice = knowledge().driver
    numbers = [int(each, 16) for each in facts.pci_devices or ()]
    if any(each < int(advice.oldest, 16) for each in numbers):
        return None
    old = any(each < int(advice.open_from, 16) for each in numbers)
    return advice.packages[distribution.driver]["proprietary" if old else "open"]


def _values(facts: HostFacts, wishes: Wishes, sources: Sources, distribution: Distribution) -> dict[str, Value]:
    known, family = knowledge(), distribution.family
    package = driver_package(facts, distribution) or ""
    values: dict[str, Value] = {
        f"{name}_fingerprint": each.fingerprint[family] for name, each in known.repositories.items()
    }
    values |= {
        "codename": distribution.codename,
        "docker_url": f"{sources.docker}/{distribution.docker}",
        "docker_key_url": f"{sources.docker}/{distribution.docker}/gpg",
        "toolkit_key_url": f"{sources.toolkit}/gpgkey",
        "toolkit_url": sources.toolkit or "",
        "driver_url": f"{known.repositories['driver'].address}/{distribution.driver}/x86_64",
        "driver_branch": known.driver.branch,
        "driver_package": package,
        "driver_stream": f"{known.driver.branch}-{'open' if 'open' in package else 'dkms'}",
        "engine_packages": distribution.engine,
        "daemon_wanted": json.dumps(daemon_settings(facts, wishes, sources)),
        "daemon_program": daemon_program(),
        "user": wishes.user,
    }
    for name, texts in known.texts.items():
        if text := texts.get(family) or texts.get("any"):
            values[name] = text.format_map(values)
    return values


def daemon_settings(facts: HostFacts, wishes: Wishes, sources: Sources) -> dict[str, object]:
    """What Docker's daemon.json shall say."""
    known, engine = knowledge().daemon, facts.engine
    wanted: dict[str, object] = dict(known.always)
    if facts.hardware or facts.gpus:
        release = re.match(
            r"\d+", (engine and engine.version) or ""
        )  # `27.5.1-rd` and `dev` are no versions of Python's
        old = release and int(release[0]) < _FIRST_WITH_CDI
        wanted |= known.hook if old else known.gpu
    if sources.registries:
        wanted["registry-mirrors"] = list(sources.registries)
    if wishes.data_root:
        wanted["data-root"] = wishes.data_root
    return wanted


def _notes(
    facts: HostFacts, wishes: Wishes, sources: Sources, distribution: Distribution, route: Route
) -> Iterator[str]:
    if _lacks_driver(facts):
        package, branch = driver_package(facts, distribution), knowledge().driver.branch
        if not package:
            yield f"there is a GPU that driver {branch} does not know any more, nor does a CUDA that these environments are built with"
        elif not wishes.driver:
            yield f"there is a GPU and no driver: `--driver` installs {package} (branch {branch}); without it everything runs on the CPU"
    if route == "venv":
        yield from _venv_notes(facts)
        return
    engine = facts.engine
    if engine and not _is_ours(engine):
        kind = next(
            name
            for name, true in {
                "on another machine": engine.remote,
                "Docker Desktop's": engine.desktop,
                "rootless": engine.rootless,
                "a snap": engine.snap,
            }.items()
            if true
        )
        yield f"the engine is {kind}: its settings are not touched, `envkit doctor` says what it lacks"
    if (engine is None or engine.state == "missing") and not sources.docker:
        if distribution.engine:
            yield "Docker's own repository does not answer, nor does a mirror of it: the distribution's engine is taken"
        else:
            yield f"Docker's own repository does not answer, nor does a mirror of it, and {distribution.title} has no engine of its own: environments run as venvs"
    if facts.gpus and not sources.toolkit and not (facts.toolkit and facts.toolkit.path):
        yield "NVIDIA's repository does not answer, nor does a mirror of it: containers get no GPU yet, venvs do"


def _venv_notes(facts: HostFacts) -> Iterator[str]:
    known, data, home = providers().get(facts.provider or ""), facts.disk("data"), facts.disk("home")
    if known and known.ports:
        yield f"its page publishes the ports {' and '.join(map(str, known.ports))}: `envkit run FRAMEWORK APP --port {known.ports[0]}`"
    elif known:
        yield known.advice
    if data and home:
        same = home.path.startswith(f"{data.path}/")
        yield (
            f"environments and caches are kept in {home.path}, on the data disk"
            if same
            else f"`export ENVKIT_HOME={data.path}/envkit` keeps environments on the data disk; now it is {home.path}"
        )
