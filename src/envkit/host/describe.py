"""A machine in a few words, for evidence and reports: what it is, and nothing that would tell whose it is; pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from envkit.host.facts import HostFacts


def describe_machine(facts: HostFacts) -> str:
    """Such as `Debian GNU/Linux 12 (bookworm), x86_64, 2 × NVIDIA A100-SXM4-80GB, driver 580.82.07`."""
    system = facts.system
    words = [system.os_name, system.architecture] if system else []
    if facts.gpus:
        models = Counter(gpu.name for gpu in facts.gpus)
        words += [name if count == 1 else f"{count} × {name}" for name, count in models.items()]
        words.append(f"driver {facts.driver}" if facts.driver else None)
    else:
        words.append("no GPU" if facts.gpus == () else None)
    return ", ".join(filter(None, words)) or "not known"
