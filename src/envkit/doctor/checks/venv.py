"""What environments need of the machine where they run as venvs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envkit.doctor.checks import Machine, check

if TYPE_CHECKING:
    from envkit.doctor.checks import Seen


@check("compiler-missing")
def compiler_missing(machine: Machine) -> Seen:
    """Triton compiles its launcher with the machine's own compiler; images bring one."""
    if machine.facts.compilers == () and machine.facts.gpus:
        yield {"system": machine.system.os_name or "this system"}


@check("python-missing")
def python_missing(machine: Machine) -> Seen:
    """uv downloads an interpreter that is not there, from a host that is slow to reach from some places."""
    if machine.facts.pythons is None:
        return
    there = {each.version for each in machine.facts.pythons}
    for version in sorted({plan.environment.entry.python for plan in machine.planned} - there):
        yield {"version": version, "there": ", ".join(sorted(there)) or "none"}


@check("cuda-on-library-path")
def cuda_on_library_path(machine: Machine) -> Seen:
    """LD_LIBRARY_PATH goes before the libraries inside the wheels."""
    folders = machine.facts.cuda_folders or ()
    if folders:
        libraries = dict.fromkeys(name.split(".so")[0] for folder in folders for name in folder.libraries)
        yield {"folders": ", ".join(each.path for each in folders), "libraries": ", ".join(libraries)}
