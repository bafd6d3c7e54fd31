"""YAML turned into typed values: scalars stay text, and every fault is gathered with file, line, key and value."""

from __future__ import annotations

import types
import typing
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

if TYPE_CHECKING:
    from pathlib import Path

Keys = tuple[str, ...]
T = TypeVar("T")

_BAD: Any = object()
"""Stands for a value that was already reported."""


class Source:
    """Reads files, remembers where each key stands, and collects the faults of all of them."""

    def __init__(self) -> None:
        """Nothing read, no fault found."""
        self.faults: list[str] = []
        self._places: dict[Path, dict[Keys, int]] = {}

    def read(self, path: Path, shape: type[T]) -> T | None:
        """The file as a `shape`, or None after its faults were added to `faults`."""
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except FileNotFoundError:
            self.faults.append(f"{path}: there is no such file")
            return None
        except (OSError, UnicodeDecodeError) as error:
            self.faults.append(f"{path}: cannot be read: {error}")
            return None
        except yaml.YAMLError as error:
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
            line = f":{mark.line + 1}" if mark else ""
            self.faults.append(f"{path}{line}: not YAML: {problem or getattr(error, 'reason', error)}")
            return None
        before = len(self.faults)
        self._places[path] = {(): 1}
        try:
            data = {} if node is None else self._plain(node, path, ())
        except RecursionError:
            self.faults.append(f"{path}: not a tree: an alias leads back to what it stands in")
            return None
        value = self._convert(data, shape, path, ())
        return value if len(self.faults) == before else None

    def fault(self, keys: Keys, text: str, path: Path | None = None) -> None:
        """Adds a fault at `keys` of `path`; without a path, of the file that said it last."""
        paths = (
            [path] if path else [each for each, lines in self._places.items() if keys[:2] in lines] or [*self._places]
        )
        lines = self._places.get(paths[-1], {})
        near = keys
        while near not in lines and near:
            near = near[:-1]
        key = f" {'.'.join(keys)}:" if keys else ""
        self.faults.append(f"{paths[-1]}:{lines.get(near, 1)}:{key} {text}")

    def _plain(self, node: yaml.Node, path: Path, keys: Keys) -> Any:  # whatever the file holds
        """Mappings, lists and text; `3.10` stays text, so it cannot become 3.1."""
        if isinstance(node, yaml.MappingNode):
            table: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = str(key_node.value)
                repeated = key in table
                self._places[path][(*keys, key)] = key_node.start_mark.line + 1
                table[key] = self._plain(value_node, path, (*keys, key))
                if repeated:
                    self.fault((*keys, key), "the key stands here a second time", path)
            return table
        if isinstance(node, yaml.SequenceNode):
            items = []
            for number, item in enumerate(node.value):
                self._places[path][(*keys, str(number))] = item.start_mark.line + 1
                items.append(self._plain(item, path, (*keys, str(number))))
            return items
        return None if node.tag == "tag:yaml.org,2002:null" else node.value

    def _convert(self, data: Any, shape: Any, path: Path, keys: Keys) -> Any:  # any type of the schema
        """`data` as `shape`. msgspec stops at the first fault, so tables are converted entry by entry."""
        origin, arguments = typing.get_origin(shape), typing.get_args(shape)
        if origin in (typing.Union, types.UnionType) and data is not None:
            return self._convert(data, arguments[0], path, keys)
        if origin is typing.Annotated and typing.get_origin(arguments[0]) in (dict, list):
            inner = self._convert(data, arguments[0], path, keys)
            return inner if inner is _BAD else self._leaf(msgspec.to_builtins(inner), shape, path, keys)
        if isinstance(shape, type) and issubclass(shape, msgspec.Struct) and isinstance(data, dict):
            return self._convert_struct(data, shape, path, keys)
        if origin is dict and isinstance(data, dict):
            names = [self._leaf(key, arguments[0], path, (*keys, key)) for key in data]
            table = {key: self._convert(value, arguments[1], path, (*keys, key)) for key, value in data.items()}
            return _BAD if _BAD in names or _BAD in table.values() else table
        if origin is list and isinstance(data, list):
            items = [self._convert(each, arguments[0], path, (*keys, str(n))) for n, each in enumerate(data)]
            return _BAD if _BAD in items else items
        return self._leaf(data, shape, path, keys)

    def _convert_struct(self, data: dict[str, Any], shape: Any, path: Path, keys: Keys) -> Any:
        fields = {each.encode_name: each for each in msgspec.structs.fields(shape)}
        unknown = [key for key in data if key not in fields]
        for key in unknown:
            near = get_close_matches(key, fields, n=1)
            self.fault((*keys, key), f"unknown key{f', did you mean `{near[0]}`?' if near else ''}", path)
        missing = [name for name, each in fields.items() if each.required and name not in data]
        for name in missing:
            self.fault(keys, f"the key `{name}` is missing", path)
        values = {
            each.name: self._convert(data[name], each.type, path, (*keys, name))
            for name, each in fields.items()
            if name in data
        }
        return _BAD if unknown or missing or _BAD in values.values() else shape(**values)

    def _leaf(self, data: Any, shape: Any, path: Path, keys: Keys) -> Any:
        try:
            return msgspec.convert(data, shape, strict=False)
        except msgspec.ValidationError as error:
            described = [each.description for each in getattr(shape, "__metadata__", ()) if each.description]
            expected = (
                f"expected {described[0]}"
                if described
                else str(error).split(" - at ")[0].replace("Expected", "expected")
            )
            self.fault(keys, f"{expected}, got {data!r}", path)
            return _BAD
