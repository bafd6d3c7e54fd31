"""GPUs and their driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.doctor.checks import Machine, check
from envkit.errors import NoPlanError

if TYPE_CHECKING:
    from envkit.doctor.checks import Seen

NO_DRIVER = {
    "driver-hangs",
    "driver-missing",
    "driver-missing-wsl",
    "driver-not-in-container",
    "driver-not-loaded",
    "driver-mismatch",
    "nvml-no-permission",
    "nvml-unknown-error",
    "gpu-lost",
    "gpus-not-seen",
}
"""With any of these no GPU is known, and nothing can be said of it."""


@check("driver-hangs")
def driver_hangs(machine: Machine) -> Seen:
    """NVML gave no answer in time."""
    reason = machine.facts.unknown.get("nvml", "")
    if reason.startswith("no answer"):
        yield {"reason": reason}


@check("driver-not-in-container")
def driver_not_in_container(machine: Machine) -> Seen:
    """The kernel has the driver, this container does not have its libraries."""
    if machine.facts.nvml == "LIBRARY_NOT_FOUND" and machine.kernel.version and machine.system.container:
        yield {"driver": machine.kernel.version, "container": machine.system.container}


@check("driver-missing-wsl")
def driver_missing_wsl(machine: Machine) -> Seen:
    """WSL lends a GPU, and its library is not found."""
    if machine.facts.nvml == "LIBRARY_NOT_FOUND" and machine.facts.hardware == ("wsl",):
        yield {}


@check("driver-missing", after={"driver-not-in-container", "driver-missing-wsl"})
def driver_missing(machine: Machine) -> Seen:
    """The bus has a GPU, and there is no driver at all."""
    hardware = machine.facts.hardware or ()
    if machine.facts.nvml == "LIBRARY_NOT_FOUND" and hardware:
        nouveau = ", driven by nouveau" if "nouveau" in (machine.kernel.modules or ()) else ""
        yield {"hardware": ", ".join(hardware), "nouveau": nouveau}


@check("driver-not-loaded")
def driver_not_loaded(machine: Machine) -> Seen:
    """The libraries are there, the kernel module is not loaded."""
    if machine.facts.nvml == "DRIVER_NOT_LOADED":
        loaded = ", ".join(machine.kernel.modules or ()) or "none of NVIDIA's"
        yield {"modules": loaded, "kernel": machine.system.kernel or "not known"}


@check("driver-mismatch")
def driver_mismatch(machine: Machine) -> Seen:
    """The libraries were updated and the old kernel module is still loaded."""
    loaded, library = machine.kernel.version, machine.facts.driver
    if machine.facts.nvml == "LIB_RM_VERSION_MISMATCH" or (loaded and library and loaded != library):
        yield {"loaded": loaded or "of a version that is not known", "library": library or "another one"}


@check("nvml-no-permission")
def nvml_no_permission(machine: Machine) -> Seen:
    """The driver refuses this user, or SELinux does."""
    if machine.facts.nvml == "NO_PERMISSION":
        yield {}


@check("nvml-unknown-error")
def nvml_unknown_error(machine: Machine) -> Seen:
    """The device files were taken away from a running container."""
    if machine.facts.nvml == "UNKNOWN":
        yield {"container": machine.system.container or "no container"}


@check("gpu-lost")
def gpu_lost(machine: Machine) -> Seen:
    """A GPU fell off the bus, or wants to be reset."""
    if machine.facts.nvml in ("GPU_IS_LOST", "RESET_REQUIRED"):
        yield {"error": machine.facts.nvml}


@check("gpus-not-seen")
def gpus_not_seen(machine: Machine) -> Seen:
    """The driver answers, and does not count the GPU that is plugged in."""
    if machine.facts.nvml == "ok" and machine.facts.gpus == () and machine.facts.hardware:
        kind = {True: "open", False: "proprietary", None: "loaded"}[machine.kernel.open]
        yield {"hardware": ", ".join(machine.facts.hardware), "kind": kind, "driver": machine.facts.driver or "loaded"}


@check("uvm-missing", after=NO_DRIVER)
def uvm_missing(machine: Machine) -> Seen:
    """The device file of unified memory is made by the first CUDA program, unless nvidia-modprobe is missing."""
    if _lacks_uvm(machine) and not machine.system.container:
        yield {"nodes": ", ".join(machine.kernel.nodes or ())}


@check("uvm-missing-in-container", after=NO_DRIVER)
def uvm_missing_in_container(machine: Machine) -> Seen:
    """No program in a container can make that device file."""
    if _lacks_uvm(machine) and machine.system.container:
        yield {"nodes": ", ".join(machine.kernel.nodes or ())}


def _lacks_uvm(machine: Machine) -> bool:
    nodes = machine.kernel.nodes
    here = bool(machine.facts.gpus) and machine.facts.hardware != ("wsl",)
    return here and bool(nodes) and "/dev/nvidia-uvm" not in (nodes or ())


@check("fabric-manager-stopped", after=NO_DRIVER)
def fabric_manager_stopped(machine: Machine) -> Seen:
    """GPUs behind NVSwitches wait for the fabric manager."""
    waiting = [gpu for gpu in machine.facts.gpus or () if gpu.fabric in ("not started", "in progress")]
    stopped = machine.facts.fabric_manager in ("installed", "missing") and not machine.system.container
    finished = any(gpu.fabric == "completed" for gpu in machine.facts.gpus or ())
    if waiting or (machine.facts.gpus and stopped and not finished):
        driver = machine.facts.driver or "580"
        yield {
            "switches": str(machine.facts.nvswitches or "no visible"),
            "manager": machine.facts.fabric_manager or "not known",
            "state": waiting[0].fabric or "" if waiting else "not known",
            "driver": driver,
            "branch": driver.split(".")[0],
        }


@check("mig-without-slices", after=NO_DRIVER)
def mig_without_slices(machine: Machine) -> Seen:
    """In MIG mode programs see slices alone."""
    for gpu in machine.facts.gpus or ():
        if gpu.mig and not gpu.mig_devices:
            yield {"index": str(gpu.index), "name": gpu.name}


@check("driver-too-old", after=NO_DRIVER)
def driver_too_old(machine: Machine) -> Seen:
    """The driver is older than every environment needs."""
    driver, needs = machine.facts.driver, _needed_drivers(machine)
    if machine.facts.gpus and driver and needs and Version(driver) < Version(needs[0]):
        major, minor = (machine.facts.cuda_driver or "0.0").split(".")[:2]
        found = str(1000 * int(major) + 10 * int(minor)) if machine.facts.cuda_driver else "…"  # as torch counts
        yield {"driver": driver, "least": needs[0], "newest": needs[-1], "found": found}


@check("driver-holds-back", after={*NO_DRIVER, "driver-too-old"})
def driver_holds_back(machine: Machine) -> Seen:
    """A newer driver would allow a newer environment."""
    driver = machine.facts.driver
    for framework, plan in machine.plans.items():
        if isinstance(plan, NoPlanError) or plan.device == "cpu" or not driver:
            continue
        for name, reasons in plan.rejected:
            least = machine.matrix.least_driver(machine.matrix.environment(name))
            if least and len(reasons) == 1 and Version(driver) < Version(least):
                yield {
                    "framework": framework,
                    "driver": driver,
                    "least": least,
                    "newer": name,
                    "chosen": plan.environment.name,
                }
                break


@check("gpu-unsupported", after={*NO_DRIVER, "driver-too-old", "mig-without-slices"})
def gpu_unsupported(machine: Machine) -> Seen:
    """No environment of a framework carries code for these GPUs."""
    for framework, plan in machine.plans.items():
        if isinstance(plan, NoPlanError) and plan.rejected:
            reason = next(reason for _, reasons in plan.rejected for reason in reasons)
            yield {"framework": framework, "reason": reason, "count": str(len(plan.rejected))}


def _needed_drivers(machine: Machine) -> list[str]:
    environments = (each for framework in machine.frameworks for each in machine.matrix.environments(framework))
    needed = {least for each in environments if (least := machine.matrix.least_driver(each))}
    return sorted(needed, key=Version)
