"""Steps as a script that a person can read and run by hand; what the runner runs is cut from the same cloth. Pure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from envkit.bootstrap.knowledge import functions
from envkit.render.templates import render_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from envkit.bootstrap.choose import Outline, Value
    from envkit.bootstrap.knowledge import Step

_HEAD = """\
set -euo pipefail
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
"""


def commands(step: Step, outline: Outline) -> str:
    """What the step runs on the outline's distribution."""
    return (step.program(outline.distribution) or "").strip()


def plain_commands(step: Step, outline: Outline) -> str:
    """The same for people to read: with the values of variables, but for those of several lines."""

    def value(match: re.Match[str]) -> str:
        found = outline.values.get(match[1] or match[2], "\n")
        text = found if isinstance(found, str) else shlex.join(found)
        return match[0] if "\n" in text else text

    return re.sub(r'"\$(?:\{(\w+)\[@\]\}|(\w+))"', value, commands(step, outline))


def check(lines: Iterable[str]) -> str:
    """One condition: all of these hold."""
    return " &&\n    ".join(f"{{ {each}; }}" if "||" in each else each for each in lines)


def prelude(outline: Outline, texts: Iterable[str]) -> str:
    """What has to stand before these texts: the variables and the functions that they use, and no others."""
    known, used = functions(outline.distribution.family), "\n".join(texts)
    chosen: list[str] = []
    while more := [
        name for name in known if name not in chosen and re.search(rf"^(?!#).*\b{name}\b", used, re.MULTILINE)
    ]:
        chosen += more
        used += "\n".join(known[name] for name in more)
    values = [_assignment(name, value) for name, value in outline.values.items() if re.search(rf"\$\{{?{name}\b", used)]
    return "\n".join([_HEAD, *values, "", *(known[name] for name in known if name in chosen)])


def render_script(outline: Outline) -> str:
    """All steps as one script, which skips what is done and may be stopped and repeated."""
    steps = [
        {
            "id": step.id,
            "title": step.title,
            "reason": step.reason,
            "done": check(step.done),
            "run": commands(step, outline),
            "works": check(step.works),
            "otherwise": step.otherwise,
        }
        for step in outline.steps
    ]
    texts = ["take_machine", *(each[key] for each in steps for key in ("done", "run", "works"))]
    return render_text(
        Path(__file__).with_name("script.sh.j2"),
        {"outline": outline, "prelude": prelude(outline, texts).strip(), "steps": steps},
    )


def _assignment(name: str, value: Value) -> str:
    return f"{name}={shlex.quote(value)}" if isinstance(value, str) else f"{name}=({shlex.join(value)})"
