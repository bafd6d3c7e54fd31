"""Puts the questions to an environment: which programs run inside it, with which arguments, and what they answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from envkit.audit.judge import help_command, modules_of, variables_of
from envkit.audit.seen import Answer, Seen
from envkit.errors import BackendError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from envkit.audit.known import Known
    from envkit.matrix.schema import Framework
    from envkit.process import Completed

_Type = TypeVar("_Type")
_PROBE_SECONDS = 900  # a cold network disk reads gigabytes
_COMMAND_SECONDS = 300
_HERE = Path(__file__).parent
_LONGEST = 300
"""Characters of a line of the interpreter's own words: `ls` repeats the whole program that it was asked to run."""


class Inside(Protocol):
    """Runs a command inside the environment to its end."""

    def __call__(self, argv: Sequence[str], *, timeout: float) -> Completed:
        """Its status and what it printed; `timeout` in seconds."""


def ask_probe(inside: Inside, known: Known, framework: Framework | None = None, *, deep: bool = False) -> Seen:
    """The environment, looked at; with the framework, also for what it needs. `deep` compares every file's hash."""
    apps = framework.apps if framework else {}
    questions = {
        "driver_libraries": known.driver_libraries.names,
        "torch_loads": known.torch_loads.names,
        "cuda_of": known.built_for.packages,
        "stated": {name: {"file": each.file, "patterns": each.patterns} for name, each in known.stated.items()},
        "families": [each.files for each in known.families.values()],
        "programs": sorted({app.argv[0] for app in apps.values()}),
        "variables": variables_of(framework) if framework else [],
        "installers": known.kept_by_others.installers,
        "folders": known.kept_by_others.folders,
        "deep": deep,
    }
    return _answered(inside, "probe", questions, _PROBE_SECONDS, Seen)


def ask_imports(inside: Inside, framework: Framework) -> Answer:
    """How importing the framework's modules ended."""
    modules = modules_of(framework)
    argv = ["python", "-I", "-c", program("imports"), *modules]
    return ask_commands(inside, [argv], timeout=_COMMAND_SECONDS + 60 * len(modules))[0]


def ask_help(inside: Inside, framework: Framework) -> dict[tuple[str, ...], Answer]:
    """What each app says of its options, by the command that was run; the same command once."""
    commands = dict.fromkeys(tuple(command) for app in framework.apps.values() if (command := help_command(app)))
    return dict(zip(commands, ask_commands(inside, list(commands)), strict=True))


def ask_commands(
    inside: Inside, commands: Sequence[Sequence[str]], *, timeout: float = _COMMAND_SECONDS
) -> list[Answer]:
    """How each of the commands ended; `timeout` for each of them."""
    if not commands:
        return []
    questions = {"commands": commands, "timeout": timeout}
    return _answered(inside, "answers", questions, timeout * len(commands) + 60, list[Answer])


def program(name: str) -> str:
    """The text of a program that runs inside."""
    return (_HERE / f"{name}.py").read_text(encoding="utf-8")


def _answered(inside: Inside, name: str, questions: dict[str, Any], timeout: float, type: type[_Type]) -> _Type:  # noqa: A002
    """The program's answer; raises `BackendError` when the environment's Python does not run it."""
    done = inside(["python", "-I", "-S", "-c", program(name), json.dumps(questions)], timeout=timeout)
    try:
        return msgspec.json.decode(done.stdout, type=type)
    except msgspec.MsgspecError as error:
        last = "\n".join(each[:_LONGEST] for each in (done.stderr or done.stdout).strip().splitlines()[-10:])
        gone = "its interpreter may be gone, or is no Python: name another, or make the environment again"
        raise BackendError(
            f"the environment's Python gave no answer (status {done.status})",
            details=last,
            hint="Python 3.8 is the oldest that can be looked into" if "SyntaxError" in last else gone,
        ) from error
