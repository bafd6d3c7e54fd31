"""What the machine's driver and GPUs say to the torch of an environment; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.audit.fault import Fault, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator


def machine_faults(subject: Subject) -> Iterator[Fault]:
    """A driver that is too old, and GPUs that torch has no code for; nothing where there is no GPU."""
    facts, seen = subject.facts, subject.seen
    torch, cuda = seen.versions.get("torch"), seen.torch_cuda
    if not torch or not facts or not facts.gpus:
        return
    values = {"torch": torch, "cuda": cuda, "driver": facts.driver or "", "gpu": facts.gpus[0].name}
    if not cuda:
        yield Fault("torch-without-cuda", "torch", values)
        return
    driver = subject.drivers.get(cuda.partition(".")[0])
    own = Version(facts.cuda_driver) if facts.cuda_driver else None
    newer = own is not None and own.major >= Version(cuda).major  # such as a forward-compatible one
    if driver and facts.driver and not newer and Version(facts.driver) < Version(driver.least):
        number = f"{own.major * 1000 + own.minor * 10}" if own else "…"
        yield Fault("driver-too-old-for-torch", "torch", {**values, "least": driver.least, "found": number})
        return
    yield from _without_code(subject, values)


def _without_code(subject: Subject, values: dict[str, str]) -> Iterator[Fault]:
    carried = [(kind, *_capability(number)) for kind, _, number in map(_split, subject.seen.architectures)]
    for gpu in (subject.facts.gpus if subject.facts else None) or ():
        if gpu.compute_capability is None or not carried:
            continue
        have = Version(gpu.compute_capability)
        binary = any(kind == "sm" and major == have.major and minor <= have.minor for kind, major, minor in carried)
        ptx = any(kind == "compute" and (major, minor) <= (have.major, have.minor) for kind, major, minor in carried)
        if not binary and not ptx:
            told = {"gpu": gpu.name, "capability": gpu.compute_capability}
            listed = ", ".join(sorted(subject.seen.architectures, key=lambda each: int(_split(each)[2].rstrip("af"))))
            yield Fault("no-code-for-this-gpu", gpu.name, {**values, **told, "carried": listed})


def _split(architecture: str) -> tuple[str, str, str]:
    return architecture.partition("_")


def _capability(number: str) -> tuple[int, int]:
    digits = number.rstrip("af")
    return int(digits[:-1]), int(digits[-1])
