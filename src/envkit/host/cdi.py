"""Reads the files that describe this machine's GPUs to container engines (Container Device Interface)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from envkit.host.facts import CdiSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CDI_KIND = "nvidia.com/gpu"
CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")
"""Where engines look when nobody tells them otherwise; podman before 5 looks nowhere else."""
_DRIVER = re.compile(r"/lib(?:cuda|nvidia-ml)\.so\.(\d{3,}\.\d+(?:\.\d+)?)$")
"""WSL's libcuda.so.1.1 is of no such version."""


def read_cdi_specs(folders: Sequence[str] = CDI_FOLDERS) -> tuple[CdiSpec, ...]:
    """The NVIDIA specs in these folders, in the order of their names; what cannot be read is passed over."""
    paths = (path for folder in folders for path in sorted(Path(folder).glob("*")))
    read = (_read(path) for path in paths if path.suffix in (".json", ".yaml"))
    return tuple(each for each in read if each)


def _read(path: Path) -> CdiSpec | None:
    try:
        spec = yaml.load(path.read_bytes(), Loader=_Loader)  # noqa: S506  # JSON is YAML; the loader is a safe one
    except (OSError, ValueError, yaml.YAMLError):
        return None
    if not isinstance(spec, dict) or spec.get("kind") != CDI_KIND:
        return None
    devices = spec.get("devices")
    names = [each.get("name") for each in devices if isinstance(each, dict)] if isinstance(devices, list) else []
    versions = (match[1] for text in _host_paths(spec) if (match := _DRIVER.search(text)))
    return CdiSpec(
        path=str(path),
        devices=tuple(f"{CDI_KIND}={name}" for name in names if isinstance(name, str) and name),
        driver=next(versions, None),
    )


def _host_paths(node: object) -> Iterator[str]:
    """Every `hostPath`, wherever it stands: a spec has edits of its own and edits of each device."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "hostPath" and isinstance(value, str):
                yield value
            yield from _host_paths(value)
    elif isinstance(node, list):
        for each in node:
            yield from _host_paths(each)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml where it is there
    """Takes every scalar for text, so that a device named 0 is not a number and `1:30` not one of base 60."""


_Loader.yaml_implicit_resolvers = {}
