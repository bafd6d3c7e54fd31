"""A made-up environment that is in order; a test changes what it is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from envkit.audit.seen import Answer, LinkFault, Seen

HEALTHY = Seen(
    python="3.11.2",
    seconds=(0.5, 2.0, 1.0),
    distributions=(
        ("torch", "2.11.0"),
        ("torchvision", "0.26.0"),
        ("torchaudio", "2.11.0"),
        ("triton", "3.6.0"),
        ("bitsandbytes", "0.50.2"),
        ("nvidia-cudnn-cu13", "9.19.0.56"),
        ("demo", "1.0"),
    ),
    records=700,
    files=(),
    cuda={"torch": "13.0", "torchvision": "13.0", "torchaudio": "13.0"},
    members=tuple(
        f"bitsandbytes/libbitsandbytes_{each}.so" for each in ("cpu", "cuda118", "cuda126", "cuda128", "cuda130")
    ),
    sonames={"libcudart.so.13": "nvidia/cu13/lib/libcudart.so.13", "libc10.so": "torch/lib/libc10.so"},
    libraries=90,
    linking=(),
    programs=("demo",),
    words=("DEMO_PORT", "DEMO_HOST", "DEMO_KEY", "DEMO_QUIET", "HF_TOKEN"),
)
LOCKED = dict(HEALTHY.distributions)


def seen(**changes: Any) -> Seen:
    """The healthy environment with these changes."""
    return replace(HEALTHY, **changes)


def with_versions(**versions: str | None) -> Seen:
    """The healthy environment with other versions; None: not installed. `_` stands for `-`."""
    found = {**LOCKED, **{name.replace("_", "-"): version for name, version in versions.items()}}
    return seen(distributions=tuple((name, version) for name, version in found.items() if version))


def fault(library: str, kind: Any, what: str, *roots: str, more: int = 0) -> LinkFault:
    """A library that would not load; its own root, if no other is named."""
    return LinkFault(library, library.split("/")[0], kind, what, more, roots or (library,))


@dataclass(frozen=True)
class Words:
    """Short for answers."""

    output: str
    status: int | None = 0

    @property
    def answer(self) -> Answer:
        """As the environment gives it."""
        return Answer(self.status, self.output, 1.5)
