"""The shape of `diagnoses/*.yaml`: one entry for each thing that breaks, with the log lines that it is known by."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Severity = Literal["fatal", "partial", "warning", "wrapper"]
Text = Annotated[str, Meta(min_length=1)]
Identifier = Annotated[
    str, Meta(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="lower case words with hyphens between them")
]
Identifiers = Annotated[
    str, Meta(pattern=r"^[a-z0-9*]+(-[a-z0-9*]+)*$", description="an id, with `*` for any part of it")
]
Texts = Annotated[list[Text], Meta(min_length=1)]
FactName = Annotated[
    str,
    Meta(
        pattern=r"^(env\.[A-Za-z_][A-Za-z0-9_]*|driver|cuda_driver|gpu\.count|gpu\.capability|gpu\.memory_gib|gpu\.name"
        r"|memory\.gib|shm\.mib|disk\.free_gib|glibc|container|provider)$",
        description="a fact of the vocabulary in src/envkit/diagnose/schema.py",
    ),
]


class Condition(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"equals": "is"}):
    """A fact of the machine that the log is from; it confirms the entry, or speaks against it.

    An entry that a fact speaks against is told only where there is no other; a shell's variables need not be those of
    the program that wrote the log.

    | fact | is |
    |---|---|
    | `env.NAME` | an environment variable: `set`, `unset`, or its value |
    | `driver`, `cuda_driver` | of NVIDIA's driver; the newest CUDA that it supports; `is: missing` |
    | `gpu.count`, `gpu.capability`, `gpu.memory_gib`, `gpu.name` | of any GPU; for `gpu.name`, `is` is a part of it |
    | `memory.gib`, `shm.mib`, `disk.free_gib` | what this machine or container has; free where envkit keeps things |
    | `glibc` | of the system |
    | `container` | `yes` or `no` |
    | `provider` | such as `autodl` |
    """

    fact: FactName
    equals: Text | None = None
    below: Text | None = None
    """Versions are compared as versions, numbers as numbers."""
    at_least: Text | None = None


class Entry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"also": "with"}):
    """One thing that breaks.

    Patterns are RE2's (https://github.com/google/re2/wiki/Syntax: no look-around, no back-references), each alternative
    with four characters in a row that stand for themselves (what the log is searched for); they are looked for anywhere
    in one line after `normalise.py` took away colours, boxes, and the prefixes of ranks, processes, containers
    and clocks. A group `(?P<name>…)` fills `{name}` in the texts; `{name|something}` says `something` where the pattern
    that matched has no such group.
    """

    id: Identifier
    """Never used again for something else."""
    title: Text
    """A short statement: what broke."""
    severity: Severity
    """fatal: a cause; partial: what does not work while the program goes on, told where nothing failed; warning: never
    the cause of a crash; wrapper: says that something above it failed.
    """
    match: Texts
    """Any one of these in a line is enough."""
    also: list[Text] = []
    """Written `with`: one of these must be in some line of the same log."""
    unless: list[Text] = []
    """None of these may be in any line of the same log."""
    frame: Text | None = None
    """Where the exception was raised (`FILE:LINE in FUNCTION`), if the log tells: of a library and not of the user, say."""
    beats: list[Identifiers] = []
    """What follows from this: told as its consequence, not as a cause; `nccl-*` stands for all such ids."""
    general: bool = False
    """Whether it stands for a whole class: of one line, an entry that knows more is told in its place."""
    facts: list[Condition] = []
    """All that must hold; looked at where the log is from this machine."""
    check: list[Text] = []
    """What to look at by hand: envkit did not."""
    cause: Text
    """One to three sentences."""
    fix: Texts
    """The next steps, in order: commands in backquotes, or short sentences with one."""
    source: Text
    """The address of one thread or page about it."""
    examples: Texts
    """Pieces of log as programs print it, with paths, hosts and versions of ours; it is what they are diagnosed with."""
    counterexamples: Texts
    """Pieces that look alike and are something else."""
