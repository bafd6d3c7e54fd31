"""GPUs and their driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packaging.version import Version

from envkit.doctor.checks import Machine, check
from envkit.errors import NoPlanError
from envkit.matrix.fit import driver_objections, gpu_objections, listed

if TYPE_CHECKING:
    from envkit.doctor.checks import Seen

NO_DRIVER = {
    "driver-hangs",
    "driver-missing",
    "driver-missing-wsl",
    "driver-not-in-container",
    "gpus-not-in-container",
    "driver-not-loaded",
    "driver-mismatch",
    "nvml-no-permission",
    "nvml-unknown-error",
    "gpu-lost",
    "gpus-not-seen",
    "driver-failing",
}
"""With any of these no GPU is known, and nothing can be said of it."""


@check("driver-hangs")
def driver_hangs(machine: Machine) -> Seen:
    """NVML gave no answer in time."""
    if driver_is_silent(machine):
        yield {"reason": machine.facts.unknown["nvml"]}


def driver_is_silent(machine: Machine) -> bool:
    """Whether the driver was asked and never answered, rather than the asking failed."""
    return machine.facts.unknown.get("nvml", "").startswith("no answer")


@check("driver-not-in-container")
def driver_not_in_container(machine: Machine) -> Seen:
    """The kernel has the driver, this container does not have its libraries."""
    if machine.facts.nvml == "LIBRARY_NOT_FOUND" and machine.kernel.version and machine.system.container:
        yield {"driver": machine.kernel.version, "container": machine.system.container}


@check("gpus-not-in-container", after={"driver-not-in-container"})
def gpus_not_in_container(machine: Machine) -> Seen:
    """The driver's libraries were handed over, the GPUs' device files were not."""
    facts = machine.facts
    none = (facts.nvml == "ok" and facts.gpus == ()) or (facts.nvml == "DRIVER_NOT_LOADED" and machine.kernel.version)
    if none and machine.system.container and facts.hardware:
        yield {"container": machine.system.container, "nodes": ", ".join(machine.kernel.nodes or ()) or "none"}


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


@check("driver-not-loaded", after={"gpus-not-in-container"})
def driver_not_loaded(machine: Machine) -> Seen:
    """There is a GPU, and the libraries; the kernel module is not loaded. (Many an image for GPUs boots without one.)"""
    if machine.facts.nvml == "DRIVER_NOT_LOADED" and machine.facts.hardware:
        loaded = ", ".join(machine.kernel.modules or ()) or "none of NVIDIA's"
        yield {"modules": loaded, "kernel": machine.system.kernel or "not known"}


@check("driver-mismatch")
def driver_mismatch(machine: Machine) -> Seen:
    """The libraries were updated and the old kernel module is still loaded; NVML itself compares them."""
    if machine.facts.nvml == "LIB_RM_VERSION_MISMATCH":
        loaded, library = machine.kernel.version, machine.facts.driver
        yield {"loaded": loaded or "of a version that is not known", "library": library or "of another one"}


@check("nvml-no-permission")
def nvml_no_permission(machine: Machine) -> Seen:
    """The driver refuses this user, or SELinux does."""
    if machine.facts.nvml == "NO_PERMISSION":
        yield {}


@check("nvml-unknown-error")
def nvml_unknown_error(machine: Machine) -> Seen:
    """The device files were taken away from a running container."""
    if machine.facts.nvml == "UNKNOWN" and machine.system.container:
        yield {"container": machine.system.container}


@check("gpu-lost")
def gpu_lost(machine: Machine) -> Seen:
    """A GPU fell off the bus, or wants to be reset."""
    if machine.facts.nvml in ("GPU_IS_LOST", "RESET_REQUIRED"):
        yield {"error": machine.facts.nvml}


@check("gpus-not-seen", after={"gpus-not-in-container"})
def gpus_not_seen(machine: Machine) -> Seen:
    """The driver answers, and does not count the GPU that is plugged in."""
    facts = machine.facts
    none = (facts.nvml == "ok" and facts.gpus == ()) or facts.nvml == "GPU_NOT_FOUND"
    if none and facts.hardware:
        kind = {True: "open", False: "proprietary", None: "loaded"}[machine.kernel.open]
        driver = facts.driver or machine.kernel.version or "not known"
        yield {"hardware": ", ".join(facts.hardware), "kind": kind, "driver": driver}


@check("driver-failing", after=NO_DRIVER - {"driver-failing"})
def driver_failing(machine: Machine) -> Seen:
    """The driver answers with an error that has no finding of its own."""
    if machine.facts.gpu_problem and machine.facts.nvml not in (None, "ok"):
        yield {"error": machine.facts.nvml or "", "problem": machine.facts.gpu_problem}


@check("uvm-missing", after=NO_DRIVER)
def uvm_missing(machine: Machine) -> Seen:
    """The first CUDA program makes the device file of unified memory; containers that come before it go without."""
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
        driver = machine.facts.driver or "…"
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
    """The driver is older than every environment needs that carries code for these GPUs."""
    driver, needs = machine.facts.driver, _needed_drivers(machine)
    if machine.facts.gpus and driver and needs and Version(driver) < Version(needs[0]):
        major, minor = (machine.facts.cuda_driver or "0.0").split(".")[:2]
        found = str(1000 * int(major) + 10 * int(minor)) if machine.facts.cuda_driver else "…"  # as torch counts
        newest = f", the newest {needs[-1]}" if len(needs) > 1 else ""
        yield {"driver": driver, "least": needs[0], "newest": newest, "found": found}


@check("driver-holds-back", after={*NO_DRIVER, "driver-too-old"})
def driver_holds_back(machine: Machine) -> Seen:
    """A newer driver would allow newer environments."""
    driver, newer, chosen = machine.facts.driver, {}, []
    for plan in machine.planned:
        if plan.device == "cpu" or not driver:
            continue
        for environment in (machine.matrix.environment(name) for name, _ in plan.rejected):
            least = machine.matrix.least_driver(environment)
            if least and Version(driver) < Version(least) and not gpu_objections(environment, machine.facts):
                newer[environment.name] = least
                chosen.append(plan.environment.name)
                break
    if newer:
        yield {
            "driver": driver or "",
            "newer": listed(newer),
            "least": max(newer.values(), key=Version),
            "chosen": listed(chosen),
        }


@check("gpu-unsupported", after={*NO_DRIVER, "driver-too-old", "mig-without-slices"})
def gpu_unsupported(machine: Machine) -> Seen:
    """No framework has an environment that runs on these GPUs."""
    against = _objections(machine)
    if against and not machine.planned:
        framework, reason = next(iter(against.items()))
        yield {"frameworks": listed(against), "framework": framework, "reason": reason}


@check("framework-unsupported", after={*NO_DRIVER, "driver-too-old", "mig-without-slices", "gpu-unsupported"})
def framework_unsupported(machine: Machine) -> Seen:
    """Others run here, and one has no environment for these GPUs."""
    for framework, reason in _objections(machine).items():
        yield {"framework": framework, "reason": reason}


def _objections(machine: Machine) -> dict[str, str]:
    """What stands against each framework for GPUs that has no plan; the driver, where that is all."""
    found = {}
    for framework, plan in machine.plans.items():
        environments = [each for each in machine.matrix.environments(framework) if each.variant.cuda]
        if environments and isinstance(plan, NoPlanError) and plan.rejected:
            fitting = [each for each in environments if not gpu_objections(each, machine.facts)]
            reasons = [
                *(reason for each in fitting for reason in driver_objections(each, machine.matrix, machine.facts)),
                *(reason for each in environments for reason in gpu_objections(each, machine.facts)),
                *(reason for _, each in plan.rejected for reason in each),
            ]
            found[framework] = reasons[0]
    return found


def _needed_drivers(machine: Machine) -> list[str]:
    """What the environments need that carry code for these GPUs, the least first."""
    needed = {
        least
        for framework in machine.frameworks
        for each in machine.matrix.environments(framework)
        if not gpu_objections(each, machine.facts) and (least := machine.matrix.least_driver(each))
    }
    return sorted(needed, key=Version)
