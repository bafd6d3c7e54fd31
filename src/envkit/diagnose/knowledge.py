"""What is known of logs (`diagnoses/*.yaml`), as every start reads it: in a tenth of a second, because tests checked it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import yaml
from msgspec import ValidationError, convert

from envkit.diagnose.schema import Entry

SHIPPED = Path(__file__).parent / "diagnoses"
FIELD = re.compile(r"\{([a-z_]\w*)(?:\|([^{}]*))?\}")
"""`{name}` or `{name|otherwise}` in a text."""

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar is text, so that 3.10 cannot become 3.1


@cache
def known() -> tuple[Entry, ...]:
    """The shipped entries, by file and place; raises `MatrixError` where one has not even their shape."""
    try:
        return tuple(entry for path in sorted(SHIPPED.glob("*.yaml")) for entry in _entries(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError):
        from envkit.diagnose.checked import load_entries  # tells every fault with its place

        return load_entries(SHIPPED)


def _entries(path: Path) -> list[Entry]:
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506  # makes text, lists and tables
    return convert(found or [], list[Entry], strict=False)
