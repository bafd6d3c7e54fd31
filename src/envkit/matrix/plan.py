"""A framework and a machine's facts turned into a `Plan`, or the reasons why there is none; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from packaging.version import Version

from envkit.errors import NoPlanError

if TYPE_CHECKING:
    from envkit.host.facts import Gpu, HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment

Device = Literal["gpu", "cpu"]
DeviceWish = Literal["auto", "gpu", "cpu"]


@dataclass(frozen=True)
class Plan:
    """The environment that fits, where it runs, and why every other one was passed over."""

    environment: MatrixEnvironment
    device: Device
    rejected: tuple[tuple[str, tuple[str, ...]], ...] = ()
    warnings: tuple[str, ...] = field(default=())


def make_plan(
    matrix: Matrix,
    framework: str,
    facts: HostFacts,
    *,
    device: DeviceWish = "auto",
    environment: str | None = None,
) -> Plan:
    """The newest environment of `framework` that fits; a named `environment` is judged and not replaced.

    On the CPU, one that carries no CUDA goes before those that do. A GPU is never given up in silence: `auto` means
    the CPU only where there is no GPU at all. Raises `NoPlanError` with the reasons, `UsageError` for unknown names.
    """
    chosen = _choose_device(matrix, framework, facts, device)
    candidates = matrix.environments(framework)
    if chosen == "cpu":
        candidates.sort(key=lambda each: each.variant.cuda is not None)
    if environment:
        candidates = [matrix.environment(environment)]
        if candidates[0].framework.name != framework:
            raise NoPlanError(f"{environment} is no environment of {framework}", hint=f"see `envkit list {framework}`")
    verdicts = [(each, _objections(each, matrix, facts, chosen)) for each in candidates]
    best = next((each for each, against in verdicts if not against), None)
    if best is None:
        raise NoPlanError(
            f"no environment of {framework} runs on this machine's {chosen.upper()}",
            rejected=[(each.name, against) for each, against in verdicts],
            hint=_way_out(verdicts),
        )
    better = "is newer" if best.variant.cuda else "is made for the CPU"
    rejected = [(each.name, against or (f"{best.name} {better}",)) for each, against in verdicts if each is not best]
    return Plan(best, chosen, tuple(rejected))


def _way_out(verdicts: list[tuple[MatrixEnvironment, tuple[str, ...]]]) -> str:
    """A newer driver, where one of the environments lacks nothing else."""
    if any(len(against) == 1 and against[0].startswith("driver ") for _, against in verdicts):
        return "update the NVIDIA driver, or try `--device cpu`"
    return "see what there is with `envkit list`, or try `--device cpu`"


def _choose_device(matrix: Matrix, framework: str, facts: HostFacts, wish: DeviceWish) -> Device:
    if wish == "cpu" or (wish == "auto" and facts.gpus == () and not facts.gpu_problem):
        if not matrix.framework(framework).cpu:
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
    hint = "repair the driver (`nvidia-smi` must answer), or give the GPU up with `--device cpu`"
    raise NoPlanError(problem, hint=hint if facts.gpu_problem else "leave out `--device gpu`, or use `--device cpu`")


def _objections(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts, device: Device) -> tuple[str, ...]:
    if device == "cpu":
        return ()
    cuda, least = environment.variant.cuda, matrix.least_driver(environment)
    if not cuda or not least:
        return (f"the variant {environment.stack.variant} carries no CUDA: it runs on a CPU",)
    against = []
    if facts.driver and Version(facts.driver) < Version(least):
        against.append(f"driver {facts.driver} is older than {least}, which CUDA {cuda} needs")
    carried = environment.stack.capabilities
    against += [
        f"{gpu.name} has compute capability {gpu.compute_capability}; torch {environment.stack.torch} carries {', '.join(carried)}"
        for gpu in facts.gpus or ()
        if not _runs_on(gpu, carried)
    ]
    return tuple(dict.fromkeys(against))


def _runs_on(gpu: Gpu, carried: list[str]) -> bool:
    """Binary code runs on the same or a later minor capability of its major (CUDA programming guide)."""
    if gpu.compute_capability is None:
        return True  # what is not known does not block
    major, minor = gpu.compute_capability.split(".")
    return any(each.split(".")[0] == major and int(each.split(".")[1]) <= int(minor) for each in carried)
