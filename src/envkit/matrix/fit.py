"""What stands against an environment on a machine's GPUs, in sentences; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envkit.host.facts import Gpu, HostFacts
    from envkit.matrix.load import Matrix, MatrixEnvironment
    from envkit.matrix.schema import Kernels, TorchStack


def driver_objections(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> tuple[str, ...]:
    """Why no GPU of this machine can run the environment before its driver is another."""
    cuda, least = environment.variant.cuda, matrix.least_driver(environment)
    if not cuda or not least:
        return ()
    if facts.driver and Version(facts.driver) < Version(least):
        return (f"driver {facts.driver} is older than {least}, which CUDA {cuda} needs",)
    if not facts.driver and facts.cuda_driver and Version(facts.cuda_driver).major < Version(cuda).major:
        return (f"the driver runs CUDA up to {facts.cuda_driver}; CUDA {cuda} needs driver {least} or later",)
    return ()


def gpu_objections(environment: MatrixEnvironment, facts: HostFacts) -> tuple[str, ...]:
    """Why it cannot run on the GPUs, whatever the driver; where only some are at fault, their indices are named."""
    if not environment.variant.cuda:
        return (f"the variant {environment.stack.variant} carries no CUDA: it runs on a CPU",)
    gpus = facts.gpus or ()
    at_fault: dict[tuple[str, str], list[Gpu]] = {}
    for gpu in gpus:
        if against := _objection(environment, gpu):
            at_fault.setdefault((gpu.name, against), []).append(gpu)
    some = sum(map(len, at_fault.values())) < len(gpus)
    return tuple(_sentence(each, against, some=some) for (_, against), each in at_fault.items())


def gpus_that_fit(environment: MatrixEnvironment, matrix: Matrix, facts: HostFacts) -> tuple[Gpu, ...]:
    """The GPUs of this machine that the environment runs on."""
    if not environment.variant.cuda or driver_objections(environment, matrix, facts):
        return ()
    return tuple(gpu for gpu in facts.gpus or () if not _objection(environment, gpu))


def capabilities_that_fit(environment: MatrixEnvironment, known: Iterable[str]) -> list[str]:
    """Those of the known compute capabilities that the environment's wheels carry code for."""
    carriers = [environment.stack, environment.entry.kernels]
    return [each for each in known if all(_runs_on(carrier, each) for carrier in carriers if carrier)]


def own_cuda(matrix: Matrix, facts: HostFacts) -> str | None:
    """The CUDA that came with the driver: as it says itself, else by its branch; None where neither is known."""
    if facts.cuda_driver or not facts.driver:
        return facts.cuda_driver
    branches = {int(branch): cuda for each in matrix.file.drivers.values() for branch, cuda in each.branches.items()}
    known = [branch for branch in branches if branch <= Version(facts.driver).major]
    return branches[max(known)] if known else None


def listed(words: Iterable[str]) -> str:
    """The words as they stand in a sentence, each once: `a, b and c`."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last


def _objection(environment: MatrixEnvironment, gpu: Gpu) -> str | None:
    if gpu.mig and not gpu.mig_devices:
        return f"is in MIG mode and has no slices: `sudo nvidia-smi -i {gpu.index} -mig 0` ends that mode"
    if gpu.compute_capability is None:  # what is not known does not block
        return None
    stack, kernels = environment.stack, environment.entry.kernels
    code: list[tuple[str, TorchStack | Kernels]] = [(f"torch {stack.torch}", stack)]
    if kernels:
        code.append((kernels.package, kernels))
    for package, carrier in code:
        if not _runs_on(carrier, gpu.compute_capability):
            carried = ", ".join(carrier.capabilities)
            newer = Version(gpu.compute_capability) > max(map(Version, carrier.capabilities))
            no_ptx = ", and no PTX for newer GPUs" if newer else ""
            return f"has compute capability {gpu.compute_capability}; {package} carries {carried}{no_ptx}"
    return None


def _runs_on(code: TorchStack | Kernels, capability: str) -> bool:
    """Binary code runs on the same or a later minor capability of its major, PTX on any later one.

    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#binary-compatibility
    """
    have = Version(capability)
    carried = map(Version, code.capabilities)
    binary = any(each.major == have.major and each.minor <= have.minor for each in carried)
    return binary or (code.ptx is not None and Version(code.ptx) <= have)


def _sentence(gpus: Sequence[Gpu], against: str, *, some: bool) -> str:
    if not some:
        return f"{gpus[0].name} {against}"
    number = "GPU" if len(gpus) == 1 else "each of the GPUs"
    return f"{number} {listed(str(gpu.index) for gpu in gpus)} ({gpus[0].name}) {against}"
