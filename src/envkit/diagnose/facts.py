"""Whether a fact of the machine holds that a log is from: yes, no, or nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from envkit.diagnose.schema import Condition
    from envkit.host.facts import HostFacts

    Judge = Callable[[Condition], bool | None]


def nobody_knows(condition: Condition) -> bool | None:
    """The log is from a machine that cannot be asked."""
    return None


def judge_by(facts: HostFacts, variables: Mapping[str, str | None] | None) -> Judge:
    """Judges by the facts of this machine, and by the variables of the program where they are known; None: set to anything."""

    def judge(condition: Condition) -> bool | None:
        if condition.fact.startswith("env."):
            return None if variables is None else _of_variable(condition, variables.get(condition.fact[4:], ""))
        found = _values(condition.fact, facts)
        if found is None:
            return None
        return any(_holds(condition, value) for value in found or [""])

    return judge


def sentence(condition: Condition) -> str:
    """What must hold, for people."""
    name = condition.fact.removeprefix("env.").replace("_gib", " (GiB)").replace(".mib", " (MiB)").replace(".", " ")
    if condition.below is not None:
        return f"{name} below {condition.below}"
    if condition.at_least is not None:
        return f"{name} at least {condition.at_least}"
    return f"{name} is {condition.equals}"


def _of_variable(condition: Condition, value: str | None) -> bool | None:
    if value is not None:
        return _holds(condition, value)
    return condition.equals == "set" if condition.equals in {"set", "unset"} else None


def _values(name: str, facts: HostFacts) -> list[str] | None:
    """What the fact is; several where there are several GPUs; empty text: there is none; None: not known."""
    if name.startswith("gpu."):
        return _of_gpus(name, facts)
    system = facts.system
    memory = None
    if system:
        memory = min(filter(None, (system.memory_mib, system.memory_limit_mib)), default=None)
    shm, home = facts.disk("shm"), facts.disk("home")
    known: dict[str, str | None] = {
        "driver": facts.driver if facts.driver is not None or facts.nvml is None else "",
        "cuda_driver": facts.cuda_driver if facts.cuda_driver is not None or facts.nvml is None else "",
        "memory.gib": None if memory is None else f"{memory / 1024:.2f}",
        "shm.mib": _text(shm.total_mib if shm else None),
        "disk.free_gib": None if home is None or home.free_mib is None else f"{home.free_mib / 1024:.2f}",
        "glibc": system.glibc if system else None,
        "container": None if system is None or system.container is None else "yes" if system.container else "no",
        "provider": facts.provider,
    }
    value = known[name]
    return None if value is None else [value]


def _of_gpus(name: str, facts: HostFacts) -> list[str] | None:
    if facts.gpus is None:
        return None
    if name == "gpu.count":
        return [str(len(facts.gpus))]
    values = [
        gpu.compute_capability
        if name == "gpu.capability"
        else gpu.name
        if name == "gpu.name"
        else None
        if gpu.memory_mib is None
        else f"{gpu.memory_mib / 1024:.2f}"
        for gpu in facts.gpus
    ]
    return None if None in values else [value for value in values if value is not None]


def _text(value: int | None) -> str | None:
    return None if value is None else str(value)


def _holds(condition: Condition, value: str) -> bool:
    if condition.equals is not None:
        return _is(condition, value)
    limit = condition.below if condition.below is not None else condition.at_least
    try:
        below = Version(value) < Version(limit or "")
    except InvalidVersion:
        return False
    return below if condition.below is not None else not below


def _is(condition: Condition, value: str) -> bool:
    match condition.equals:
        case "set":
            return bool(value)
        case "unset" | "missing":
            return not value
        case wanted:
            return (wanted or "") in value if condition.fact == "gpu.name" else value == wanted
