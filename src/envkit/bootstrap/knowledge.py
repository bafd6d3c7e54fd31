"""What is known of distributions, repositories and steps (`steps.yaml`), and the functions that steps call (`*.sh`)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from msgspec import Meta, Struct, convert

from envkit.host.mirrors import Question  # noqa: TC001  # msgspec reads it

_HERE = Path(__file__).parent
_FUNCTION = re.compile(r"^(?:#[^\n]*\n)*^(\w+)\(\) \{\n.*?^\}\n", re.MULTILINE | re.DOTALL)

Text = Annotated[str, Meta(min_length=1)]
Commands = Annotated[list[Text], Meta(min_length=1)]
Family = Literal["debian", "redhat"]


class Distribution(Struct, frozen=True, forbid_unknown_fields=True):
    """A distribution in one version, which steps are known for."""

    title: Text
    family: Family
    docker: Text
    """Its part of Docker's repository."""
    driver: Text
    """Its part of the data on drivers; in NVIDIA's repository its folder."""
    codename: str = ""
    engine: list[Text] = []
    """The packages of its own engine; empty: it has none."""


class Repository(Struct, frozen=True, forbid_unknown_fields=True):
    """Packages that no distribution has."""

    address: Text
    fingerprint: dict[Family, Text]
    """Of the key that signs them."""
    source: Text
    answer: dict[Family, Question] = {}
    """What a mirror of it must answer; `{names}` are fields of the distribution. Empty: there is no mirror."""


class DriverAdvice(Struct, frozen=True, forbid_unknown_fields=True):
    """The branch of the driver that is advised, and its packages."""

    branch: Text
    oldest: Text
    """The least PCI device number of a GPU that the branch knows, in hexadecimal."""
    open_from: Text
    """The least one of a GPU that the open kernel module is for."""
    packages: dict[str, dict[Literal["open", "proprietary"], Text]]
    source: Text


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is merged into Docker's daemon.json."""

    always: dict[str, object]
    gpu: dict[str, object]
    """Where the machine has a GPU, and an engine that knows CDI or will."""
    hook: dict[str, object]
    """Where the engine does not know CDI."""
    source: Text


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """One step, which may be stopped anywhere and run again."""

    id: Text
    title: Text
    """What it brings."""
    reason: Text
    run: dict[str, Text]
    """bash, by distribution, or family of distributions, or `any`; the step is for those that are named."""
    done: Commands
    """All hold where there is nothing left to do."""
    works: Commands
    """All hold after it."""
    otherwise: Text
    """What to do where it failed."""
    source: Text
    follows: list[Text] = []
    """Steps that make this one be done anew."""

    def program(self, distribution: Distribution) -> str | None:
        """What it runs there; None: it is not for that distribution."""
        return next(
            (self.run[each] for each in (distribution.driver, distribution.family, "any") if each in self.run), None
        )


class Knowledge(Struct, frozen=True, forbid_unknown_fields=True):
    """All of `steps.yaml`."""

    architectures: list[Text]
    distributions: dict[str, Distribution]
    repositories: dict[Literal["docker", "toolkit", "driver"], Repository]
    driver: DriverAdvice
    daemon: Settings
    texts: dict[str, dict[Literal["debian", "redhat", "any"], Text]]
    """Files that steps write, by the variable that holds them; `{names}` stand for other variables."""
    steps: list[Step]
    """In the order that they are done in."""


@cache
def knowledge() -> Knowledge:
    """What the file says."""
    text = (_HERE / "steps.yaml").read_text(encoding="utf-8")
    return convert(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), Knowledge)  # noqa: S506  # both are safe


@cache
def functions(family: Family) -> dict[str, str]:
    """The functions that steps may call on such a distribution, by name."""
    texts = [(_HERE / name).read_text(encoding="utf-8") for name in ("functions.sh", f"{family}.sh")]
    return {match[1]: match[0] for text in texts for match in _FUNCTION.finditer(text)}


@cache
def daemon_program() -> str:
    """The program that merges daemon.json, for the machine's own Python."""
    return (_HERE / "daemon.py").read_text(encoding="utf-8")
