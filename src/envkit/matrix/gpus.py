"""Which of a machine's GPUs a user means: indices and UUIDs, never a count; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from envkit.errors import UsageError

if TYPE_CHECKING:
    from envkit.host.facts import Gpu, HostFacts

_FORMS = "write indices (`0,1`), UUIDs (`GPU-…`, `MIG-…`), `all` or `none`"


def select_gpus(facts: HostFacts, wish: str | None) -> HostFacts:
    """The facts with the chosen GPUs alone, in the order of the wish; `none` leaves none, None and `all` all.

    A GPU in MIG mode keeps all of its slices, and those named alone where slices are. Raises `UsageError` for what is
    not there.
    """
    if wish in (None, "all"):
        return facts
    if wish == "none":
        return replace(facts, gpus=(), gpu_problem=None)
    if facts.gpu_problem and not facts.gpus:
        return facts  # the plan tells what is wrong with them
    if facts.gpus is None:
        raise UsageError("the GPUs of this machine are not known: none can be chosen", hint="leave out `--gpus`")
    if not facts.gpus:
        raise UsageError("there is no GPU to choose: the plan is for the CPU", hint="leave out `--gpus`")
    chosen: dict[int, Gpu] = {}
    for name in (wish or "").split(","):
        gpu = _find(name.strip(), facts.gpus)
        before = chosen.get(gpu.index, replace(gpu, mig_devices=()))
        slices = {each.uuid: each for each in (*before.mig_devices, *gpu.mig_devices)}
        chosen[gpu.index] = replace(gpu, mig_devices=tuple(slices.values()))
    return replace(facts, gpus=tuple(chosen.values()))


def _find(name: str, gpus: tuple[Gpu, ...]) -> Gpu:
    """The GPU of that index or UUID, of which the beginning is enough; for a slice, its GPU with that slice alone."""
    if name.isdecimal():
        there = {str(gpu.index): gpu for gpu in gpus}
        if name not in there:
            raise UsageError(f"there is no GPU with index {name}", hint=f"there are: {', '.join(there)}")
        return there[name]
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    if name.startswith("MIG-"):
        by_uuid = {each.uuid: replace(gpu, mig_devices=(each,)) for gpu in gpus for each in gpu.mig_devices}
    elif not name.startswith("GPU-"):
        raise UsageError(f"not a GPU: {name!r}", hint=_FORMS)
    found = [uuid for uuid in by_uuid if uuid.startswith(name)]
    if name in by_uuid:
        found = [name]
    if len(found) != 1:
        problem = f"more than one UUID begins with {name}" if found else f"there is no GPU with UUID {name}"
        raise UsageError(problem, hint=f"there are: {', '.join(found or by_uuid) or 'none'}")
    return by_uuid[found[0]]
