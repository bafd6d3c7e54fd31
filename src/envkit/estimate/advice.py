"""What would fit where a wish does not: one change, or the fewest together; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from envkit.errors import UsageError
from envkit.estimate.memory import Estimate, Method, Wish, estimate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from envkit.estimate.gpus import Gpus
    from envkit.estimate.memory import Model

_SHORT = 256
"""Tokens; shorter sequences are no advice."""
_MANY = 1024
"""GPUs; more are no advice."""
_LIGHTER: dict[Method, tuple[Method, ...]] = {"full": ("lora", "qlora"), "lora": ("qlora",)}
"""Methods that need less."""


@dataclass(frozen=True)
class Change:
    """Another wish that fits, and the options that differ."""

    options: str
    wish: Wish
    estimate: Estimate


def would_fit(model: Model, wish: Wish, gpus: Gpus, limit: int = 4) -> list[Change]:
    """What fits such GPUs: the changes of one option first, the mildest of each kind."""
    found: list[Change] = []
    memory = gpus.memory_mib << 20
    for family in (_alone(wish), _together(wish)):
        for candidates in family:
            for each in candidates:
                try:
                    needed = estimate(model, each)
                except UsageError:
                    continue
                if needed.total <= memory:
                    found.append(Change(_difference(wish, each), each, needed))
                    break
        if found:
            break
    return list({each.options: each for each in found}.values())[:limit]


def _alone(wish: Wish) -> Iterator[Iterator[Wish]]:
    """Every option by itself, each from the mildest to the strongest."""
    if wish.method == "inference":
        yield _smaller_batches(wish)
        yield _shorter(wish)
        yield _more_gpus(wish)
        return
    if not wish.checkpointing:
        yield iter([replace(wish, checkpointing=True)])
    if wish.gpus > 1:
        yield (replace(wish, zero=stage) for stage in range(wish.zero + 1, 4))
    yield _smaller_batches(wish)
    yield _shorter(wish)
    yield (replace(wish, method=each) for each in _lighter(wish))
    divided: Method = "lora" if wish.method == "qlora" else wish.method  # ZeRO 3 does not divide 4-bit weights
    yield (replace(each, method=divided, zero=3) for each in (wish, *_more_gpus(wish)))


def _together(wish: Wish) -> Iterator[Iterator[Wish]]:
    """A lighter method with everything else as small as it gets; for inference, a batch of one as well."""
    small = replace(wish, batch=1, checkpointing=True)
    if wish.method == "inference":
        yield _shorter(small)
        yield _more_gpus(small)
        return
    for method in (wish.method, *_lighter(wish)):
        stage = 0 if wish.gpus == 1 else 2 if method == "qlora" else 3
        least = replace(small, method=method, zero=stage)
        yield chain([least], _shorter(least))
    for method in (wish.method, *_lighter(wish)):
        yield (replace(each, method=method, zero=3) for each in _more_gpus(small))


def _lighter(wish: Wish) -> tuple[Method, ...]:
    return _LIGHTER.get(wish.method, ())


def _smaller_batches(wish: Wish) -> Iterator[Wish]:
    batch = wish.batch
    while batch > 1:
        batch //= 2
        yield replace(wish, batch=batch)


def _shorter(wish: Wish) -> Iterator[Wish]:
    length = wish.length
    while length // 2 >= _SHORT:
        length //= 2
        yield replace(wish, length=length)


def _more_gpus(wish: Wish) -> Iterator[Wish]:
    gpus = wish.gpus
    while gpus < _MANY:
        gpus *= 2
        yield replace(wish, gpus=gpus)


def _difference(before: Wish, after: Wish) -> str:
    """The options to type."""
    options = [
        f"--{name} {getattr(after, name)}"
        for name in ("method", "batch", "length", "gpus", "zero")
        if getattr(before, name) != getattr(after, name)
    ]
    if after.checkpointing and not before.checkpointing:
        options.append("--checkpointing")
    return " ".join(options)
