"""An environment as an entry of the user's own envmatrix.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import yaml

if TYPE_CHECKING:
    from collections.abc import Container

    from envkit.matrix.load import MatrixEnvironment

_CLAIMS = {"attention", "size", "note"}
"""What was said or measured of the set before it changed."""


def free_name(environment: MatrixEnvironment, taken: Container[str]) -> str:
    """A name that no environment has, as the matrix wants it: the framework first, the variant last."""
    framework, variant = environment.framework.name, environment.stack.variant
    number = 1
    while (name := f"{framework}-mine{'' if number == 1 else f'-{number}'}-{variant}") in taken:
        number += 1
    return name


def overlay_entry(environment: MatrixEnvironment, name: str) -> str:
    """The whole file with this one entry, in YAML."""
    entry = {
        key: value
        for key in type(environment.entry).__struct_fields__
        if key not in _CLAIMS and (value := msgspec.to_builtins(getattr(environment.entry, key)))
    }
    file = {"environments": {name: entry}}
    return str(yaml.dump(file, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


class _Dumper(yaml.SafeDumper):
    """Lists are indented, and nothing refers to anything, as people write it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:  # yaml's own
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """In double quotes where YAML would take the plain text for something else, such as a number."""
        plain = self.resolve(yaml.ScalarNode, data, (True, False)) == "tag:yaml.org,2002:str"  # type: ignore[no-untyped-call]
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.represent_str)
