"""A framework and a machine's facts turned into a `Plan`, or the reasons why there is none; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from envkit.errors import NoPlanError
from envkit.matrix.fit import driver_objections, gpu_objections, gpus_that_fit, listed
from envkit.matrix.warn import disk_warnings, plan_warnings

if TYPE_CHECKING:
    from envkit.host.facts import HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment

Device = Literal["gpu", "cpu"]
DeviceWish = Literal["auto", "gpu", "cpu"]


@dataclass(frozen=True)
class Plan:
    """The environment that fits, where it runs, and why every other one was passed over."""

    environment: MatrixEnvironment
    device: Device
    rejected: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    """How the device was chosen, where nobody asked for it."""
    warnings: tuple[str, ...] = ()
    """What will not work on this machine, or may not."""


def make_plan(
    matrix: Matrix,
    framework: str,
    facts: HostFacts,
    *,
    device: DeviceWish = "auto",
    environment: str | None = None,
    app: str | None = None,
) -> Plan:
    """The newest environment of `framework` that fits; a named `environment` is judged and not replaced.

    On the CPU, one that carries no CUDA goes before those that do, and `app` may run where the framework as such does
    not. A GPU is never given up in silence: `auto` means the CPU only where there is no GPU at all. What is not known
    blocks nothing, and is warned of. Raises `NoPlanError` with the reasons, `UsageError` for unknown names.
    """
    matrix.framework(framework)
    _check_architecture(matrix, facts)
    chosen = _choose_device(matrix, framework, facts, device, app)
    candidates = matrix.environments(framework)
    if chosen == "cpu":
        candidates.sort(key=lambda each: each.variant.cuda is not None)
    if environment:
        candidates = [matrix.environment(environment)]
        if candidates[0].framework.name != framework:
            raise NoPlanError(f"{environment} is no environment of {framework}", hint=f"see `envkit list {framework}`")
    verdicts = [(each, _objections(each, matrix, facts, chosen, app)) for each in candidates]
    best = next((each for each, against in verdicts if not against), None)
    if best is None:
        raise NoPlanError(
            f"no environment of {framework} runs on this machine's {chosen.upper()}",
            rejected=[(each.name, against) for each, against in verdicts],
            hint=_way_out(candidates, matrix, facts, app),
        )
    better = "is newer" if best.variant.cuda else "is made for the CPU"
    rejected = [(each.name, against or (f"{best.name} {better}",)) for each, against in verdicts if each is not best]
    unasked = chosen == "cpu" and device == "auto"
    return Plan(
        best,
        chosen,
        tuple(rejected),
        notes=("there is no NVIDIA GPU: planned for the CPU",) if unasked else (),
        warnings=plan_warnings(best, matrix, facts, gpu=chosen == "gpu"),
    )


@dataclass(frozen=True)
class Fit:
    """What a machine is to one environment, whatever else there is for it."""

    fits: bool | None
    """None where it is not known."""
    device: Device | None
    """What it would run on, unless somebody asks for another."""
    short: str = ""
    """Why not, in two or three words."""
    reasons: tuple[str, ...] = ()
    """The same in sentences."""
    warnings: tuple[str, ...] = ()
    """What will not work there, or may not, although it fits."""


def judge_fit(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> Fit:
    """Whether the environment can be planned for this machine, as `make_plan` judges where nothing is asked for."""
    if foreign := _foreign(matrix, facts):
        return Fit(False, None, f"{environment.base.architecture} only", (foreign,))
    if not facts.gpus and (facts.gpus is None or facts.gpu_problem):
        problem = facts.gpu_problem and f"there is an NVIDIA GPU, but {facts.gpu_problem}"
        return Fit(None, None, "not known", (problem or "whether this machine has an NVIDIA GPU is not known",))
    device: Device = "gpu" if facts.gpus else "cpu"
    if against := _objections(environment, matrix, facts, device):
        return Fit(False, device, _in_short(environment, matrix, facts), against)
    return Fit(True, device, warnings=plan_warnings(environment, matrix, facts, gpu=device == "gpu"))


def _in_short(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> str:
    """What the objections come to, for a column of a table."""
    if not facts.gpus:
        return "needs a GPU"
    if not environment.variant.cuda:
        return "CPU only"
    if driver_objections(environment, matrix, facts):
        return "driver too old"
    if gpus_that_fit(environment, matrix, facts):
        return "not every GPU"
    if all(gpu.mig and not gpu.mig_devices for gpu in facts.gpus):
        return "no MIG slices"
    return f"no code for {listed(gpu.compute_capability for gpu in facts.gpus if gpu.compute_capability)}"


def doubts(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> tuple[str, ...]:
    """What speaks against building this environment's image here, one sentence each; it may be meant for elsewhere."""
    against = _objections(environment, matrix, facts, "gpu") if facts.gpus else ()
    unfit = (f"{environment.name} does not run on this machine's GPU: {each}" for each in against)
    return (*unfit, *disk_warnings(environment, facts, "engine"))


def _objections(
    environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts, device: Device, app: str | None = None
) -> tuple[str, ...]:
    if device == "cpu":
        return () if _has_cpu(environment, app) else (f"{environment.framework.name} needs a GPU in it",)
    return (*driver_objections(environment, matrix, facts), *gpu_objections(environment, facts))


def _has_cpu(environment: MatrixEnvironment, app: str | None) -> bool:
    """Whether it, or this app of it, can work without a GPU."""
    framework = environment.framework
    return framework.cpu or environment.variant.cuda is None or (app in framework.apps and framework.apps[app].cpu)


def _way_out(candidates: list[MatrixEnvironment], matrix: Matrix, facts: HostFacts, app: str | None) -> str:
    """A newer driver, where one of the environments lacks nothing else; fewer GPUs, where some are at fault; the CPU."""
    ways = []
    if any(driver_objections(each, matrix, facts) and not gpu_objections(each, facts) for each in candidates):
        ways.append("update the NVIDIA driver")
    choices = {
        ",".join(str(gpu.index) for gpu in fitting): each.name
        for each in reversed(candidates)
        if (fitting := gpus_that_fit(each, matrix, facts))
    }
    if choices:
        each_way = [f"`--gpus {gpus}` ({name})" for gpus, name in reversed(choices.items())]
        ways.append(f"choose GPUs that fit with {' or '.join(each_way)}")
    if not ways:
        ways.append("see what there is with `envkit list`")
    if any(_has_cpu(each, app) for each in candidates):
        ways.append("try `--device cpu`")
    return ", or ".join(ways)


def _check_architecture(matrix: Matrix, facts: HostFacts) -> None:
    base = matrix.file.base_image
    if base and (foreign := _foreign(matrix, facts)):
        raise NoPlanError(foreign, hint=f"choose a machine with {base.architecture} processors (`uname -m`)")


def _foreign(matrix: Matrix, facts: HostFacts) -> str:
    """Why no lock can be installed on this machine's processors; empty where they can."""
    architecture = facts.system.architecture if facts.system else None
    base = matrix.file.base_image
    if base and architecture and architecture != base.architecture:
        return f"{architecture} is not supported yet: the locks hold wheels for {base.architecture} alone"
    return ""


def _choose_device(matrix: Matrix, framework: str, facts: HostFacts, wish: DeviceWish, app: str | None) -> Device:
    if wish == "cpu" or (wish == "auto" and facts.gpus == () and not facts.gpu_problem):
        if not any(_has_cpu(each, app) for each in matrix.environments(framework)):
            raise NoPlanError(
                f"{framework} needs a GPU, and there is none", hint="see `envkit list` for what runs on a CPU"
            )
        return "cpu"
    if facts.gpus or (facts.gpus is None and wish == "gpu" and not facts.gpu_problem):
        return "gpu"
    if facts.gpus is None and not facts.gpu_problem:
        raise NoPlanError(
            "whether this machine has an NVIDIA GPU is not known",
            hint="say so with `--device gpu` or `--device cpu`",
        )
    problem = f"there is an NVIDIA GPU, but {facts.gpu_problem}" if facts.gpu_problem else "there is no NVIDIA GPU"
    hint = "`envkit doctor` says what is wrong with the driver; or give the GPU up with `--device cpu`"
    raise NoPlanError(problem, hint=hint if facts.gpu_problem else "leave out `--device gpu`, or use `--device cpu`")
