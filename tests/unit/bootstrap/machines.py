"""Machines that nobody has prepared yet."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from envkit.host.facts import Engine, Gpu, HostFacts, System, Toolkit

MISSING = Engine(state="missing", problem="docker is not installed")
USABLE = Engine(
    state="usable", version="29.1.3", buildx="0.30.1", cdi_devices=(), runtimes=("runc",), group_member=True
)
SYSTEMS = {
    "ubuntu-22.04": ("ubuntu", "22.04", "Ubuntu 22.04.5 LTS"),
    "ubuntu-24.04": ("ubuntu", "24.04", "Ubuntu 24.04.3 LTS"),
    "ubuntu-26.04": ("ubuntu", "26.04", "Ubuntu 26.04 LTS"),
    "debian-12": ("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
    "debian-13": ("debian", "13", "Debian GNU/Linux 13 (trixie)"),
    "rhel-9": ("rhel", "9.6", "Red Hat Enterprise Linux 9.6 (Plow)"),
    "rocky-9": ("rocky", "9.6", "Rocky Linux 9.6 (Blue Onyx)"),
}


def system(name: str = "ubuntu-24.04", **other: Any) -> System:
    """A virtual machine with this distribution."""
    distribution, version, title = SYSTEMS[name]
    usual: dict[str, Any] = {
        "os": distribution,
        "os_version": version,
        "os_name": title,
        "architecture": "x86_64",
        "container": "",
        "systemd": True,
        "sys_admin": False,
        "root": False,
        "nofile": 1024,
        "memlock_kib": 8192,
        "infiniband": False,
    }
    return System(**{**usual, **other})


def fresh(name: str = "ubuntu-24.04", **other: Any) -> HostFacts:
    """A server with an RTX 4090 and its driver, and nothing else."""
    facts = HostFacts(
        gpus=(Gpu(name="NVIDIA GeForce RTX 4090", uuid="GPU-0", compute_capability="8.9"),),
        driver="580.95.05",
        hardware=("0000:01:00.0",),
        pci_devices=("2684",),
        toolkit=Toolkit(),
        engine=MISSING,
        podman=Engine(state="missing"),
        system=system(name),
        provider="",
        compilers=(),
    )
    return structs.replace(facts, **other)


def undriven(name: str = "ubuntu-24.04", *devices: str) -> HostFacts:
    """A server with GPUs that no driver has been installed for."""
    return fresh(name, gpus=(), driver=None, pci_devices=devices or ("2684",))
