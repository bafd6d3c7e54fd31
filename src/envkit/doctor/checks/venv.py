"""What environments need of the machine where they run as venvs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.doctor.checks import Machine, check

if TYPE_CHECKING:
    from collections.abc import Collection

    from envkit.doctor.checks import Seen


@check("compiler-missing")
def compiler_missing(machine: Machine) -> Seen:
    """Triton compiles its launcher with the machine's own compiler; images bring one."""
    if machine.runs_venvs and machine.facts.compilers == () and machine.facts.gpus:
        yield {"system": machine.system.os_name or "this system"}


@check("python-missing")
def python_missing(machine: Machine) -> Seen:
    """uv downloads an interpreter that is not there, from a host that is slow to reach from some places."""
    if not machine.runs_venvs or machine.facts.pythons is None:
        return
    there = {each.version for each in machine.facts.pythons}
    for version in sorted({plan.environment.entry.python for plan in machine.planned} - there):
        yield {"version": version, "there": ", ".join(sorted(there)) or "none"}


@check("cuda-on-library-path")
def cuda_on_library_path(machine: Machine) -> Seen:
    """LD_LIBRARY_PATH goes before the libraries inside the wheels, where the names are the same: of one CUDA major."""
    majors = {plan.environment.variant.cuda.split(".")[0] for plan in machine.planned if plan.environment.variant.cuda}
    found = {
        folder.path: libraries
        for folder in machine.facts.cuda_folders or ()
        if (libraries := [name for name in folder.libraries if _goes_before(name, majors)])
    }
    if found and machine.runs_venvs:
        names = dict.fromkeys(name for each in found.values() for name in each)
        yield {"folders": ", ".join(found), "libraries": ", ".join(names)}


def _goes_before(name: str, majors: Collection[str]) -> bool:
    """Whether a loader that looks for a wheel's library takes this file: names go by the first number alone.

    Of the other libraries of CUDA (cufft, curand, ...) two majors share a number.
    """
    library, _, number = name.partition(".so.")
    if library in ("libcudnn", "libnccl"):
        return bool(majors) and number.isdecimal()
    return library in ("libcudart", "libcublas", "libcublasLt", "libnvJitLink", "libnvrtc") and number in majors
