"""What follows from what was seen inside an environment; pure, so that made-up environments test it."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envkit.audit.check import Check, judged
from envkit.audit.companions import companion_faults
from envkit.audit.fault import Subject
from envkit.audit.imports import FAILED
from envkit.audit.linking import linking_faults

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from envkit.audit.known import Known
    from envkit.audit.seen import Answer, FileFault, Seen
    from envkit.matrix.schema import App, Framework, TorchStack, Unread

# What is installed ----------------------------------------------------------------------------------------------------


def judge_installed(seen: Seen, locked: Mapping[str, str], known: Known) -> Check:
    """Whether the set of packages is the lock's, and their files are as they were installed."""
    faults = [*_differences(seen, locked), *_file_faults(seen.files, known)]
    return judged(
        "installed",
        faults,
        f"{len(locked)} packages, exactly the lock; {seen.records} files",
        seconds=seen.seconds[0],
        packages=len(seen.distributions),
        files=seen.records,
    )


def _differences(seen: Seen, locked: Mapping[str, str]) -> Iterator[str]:
    wanted: dict[str, str] = {canonicalize_name(name): version for name, version in locked.items()}
    found: dict[str, list[str]] = {}
    for name, version in seen.distributions:
        found.setdefault(name, []).append(version)
    for name, versions in found.items():
        if len(versions) > 1:
            yield f"{name} is there {len(versions)} times: {', '.join(versions)}"
        elif name not in wanted:
            yield f"{name} {versions[0]} is not in the lock"
        elif not _same(versions[0], wanted[name]):
            yield f"{name} {versions[0]} is installed, the lock has {wanted[name]}"
    yield from (f"{name} {version} is not installed" for name, version in wanted.items() if name not in found)


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _file_faults(files: Iterable[FileFault], known: Known) -> Iterator[str]:
    for each in files:
        owners = " and ".join(each.distributions)
        match each.fault:
            case "shared":
                if not any(fnmatchcase(each.path, pattern) for pattern in known.shared_files.names):
                    yield f"{each.path} is claimed by {owners}, which disagree about it"
            case "missing":
                yield f"{each.path} of {owners} is gone"
            case "size" | "hash":
                if not any(fnmatchcase(each.path, pattern) for pattern in known.wrong_records.names):
                    yield f"{each.path} of {owners} was changed"


# What belongs together ------------------------------------------------------------------------------------------------


def judge_companions(seen: Seen, stack: TorchStack, known: Known) -> Check:
    """Whether torch is the stack's, and all that must agree with it does; here a warning is a fault too."""
    versions = seen.versions
    faults = [
        *_not_of_the_stack(versions, stack),
        *(each.line for each in companion_faults(Subject(seen, known))),
    ]
    fine = f"torch {versions['torch']}, CUDA {seen.torch_cuda or 'none'}" if "torch" in versions else "no torch in it"
    return judged("companions", faults, fine)


def _not_of_the_stack(versions: Mapping[str, str], stack: TorchStack) -> Iterator[str]:
    for pin in map(Requirement, stack.pins):
        name, version = canonicalize_name(pin.name), str(pin.specifier).removeprefix("==")
        if name not in versions:
            yield f"{name} {version} of the torch stack is not installed"
        elif not pin.specifier.contains(versions[name], prereleases=True):
            yield f"{name} {versions[name]} is installed, the torch stack has {version}"


# Whether libraries load -----------------------------------------------------------------------------------------------


def judge_linked(seen: Seen, known: Known) -> Check:
    """Whether every library that is loaded finds what it needs."""
    faults = [each.line for each in linking_faults(Subject(seen, known))]
    fine = f"{seen.libraries} libraries find what they need"
    return judged("linked", faults, fine, seconds=seen.seconds[1], libraries=seen.libraries)


# What runs ------------------------------------------------------------------------------------------------------------


def modules_of(framework: Framework) -> list[str]:
    """What is imported."""
    return framework.imports or [framework.package.replace("-", "_")]


def judge_imports(answer: Answer, framework: Framework, *, gpu: bool) -> Check:
    """Whether the modules import; one that cannot without a GPU is skipped where there is none."""
    modules = modules_of(framework)
    blocks = re.split(rf"(?m)^{FAILED}(.+)$", answer.output)
    failed = list(zip(blocks[1::2], blocks[::2], strict=False))
    faults: list[str] = []
    skips: list[str] = []
    for module, words in failed:
        wants = None if gpu else _asks_for_gpu(words, framework)
        (skips if wants else faults).append(f"{module}: {wants or _last_line(words)}")
    if answer.status not in (0, 1) or (answer.status and not failed):
        faults.append(_ended(" ".join(["import", *modules]), answer))
    return _with_skips(
        judged("imports", faults, ", ".join(modules), seconds=answer.seconds, modules=len(modules)), skips
    )


def help_command(app: App) -> list[str]:
    """What prints the app's options; empty: nothing does."""
    return [*app.argv, "--help"] if app.help is None else app.help


def judge_cli(seen: Seen, answers: Mapping[tuple[str, ...], Answer], framework: Framework, *, gpu: bool) -> Check:
    """Whether every app's program is there, prints its help, and knows the options that it is told with."""
    faults: list[str] = []
    skips: list[str] = []
    for name, app in framework.apps.items():
        command = help_command(app)
        if app.argv[0] not in seen.programs:
            faults.append(f"{name}: there is no program {app.argv[0]}")
        elif command and (answer := answers[tuple(command)]).status != 0:
            wants = None if gpu else _asks_for_gpu(answer.output, framework)
            (skips if wants else faults).append(f"{name}: {wants or _ended(' '.join(command), answer)}")
        elif command:
            faults += [
                f"{name}: `{' '.join(command)}` does not know {option}"
                for option in _options(app)
                if not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", answers[tuple(command)].output)
            ]
        elif options := _options(app):
            faults.append(f"{name}: nothing prints its options, so {' and '.join(options)} cannot be looked up")
    seconds = sum(each.seconds for each in answers.values())
    silent = sum(1 for app in framework.apps.values() if not help_command(app))
    count = len(framework.apps)
    fine = f"{count} {'app' if count == 1 else 'apps'}" + (
        f", {silent} of them without a help to ask for" if silent else ""
    )
    return _with_skips(judged("cli", faults, fine, seconds=seconds, apps=len(framework.apps)), skips)


def _options(app: App) -> list[str]:
    return [told.option for told in (app.port, app.bind) if told and told.option]


def _asks_for_gpu(words: str, framework: Framework) -> str | None:
    """The line in which the framework says that it needs a GPU, if it does."""
    for line in words.splitlines():
        if any(each in line for each in framework.without_gpu):
            return f"needs a GPU: {line.strip()}"
    return None


def _ended(command: str, answer: Answer) -> str:
    how = "did not end in time" if answer.status is None else f"ended with status {answer.status}"
    last = _last_line(answer.output)
    return f"`{command}` {how}{f': {last}' if last else ''}"


def _last_line(words: str) -> str:
    return next((line.strip() for line in reversed(words.splitlines()) if line.strip()), "")


def _with_skips(check: Check, skips: Sequence[str]) -> Check:
    """The check as skipped, where nothing failed and something could not be tried."""
    if not skips or check.result != "pass":
        return check
    detail = skips[0] if len(skips) == 1 else f"{len(skips)} need a GPU"
    return Check(check.name, "skip", detail, check.seconds, tuple(skips), check.metrics)


def variables_of(framework: Framework) -> list[str]:
    """Every variable that envkit hands to the framework because something in it reads them."""
    told = [each for app in framework.apps.values() for each in (app.port, app.bind, app.auth) if each and each.env]
    return sorted(
        {
            *(str(each.env) for each in told),
            *(cache.env for cache in framework.caches.values()),
            *framework.env,
            *framework.pass_env,
            *framework.secrets,
        }
    )


def judge_variables(seen: Seen, framework: Framework, unread: Unread | None = None) -> Check:
    """Whether something that is installed reads every variable, but those of which the matrix says that nothing does."""
    silent = unread.variables if unread else []
    names = [each for each in variables_of(framework) if each not in silent]
    faults = [
        *(f"nothing that is installed reads {name}" for name in names if name not in seen.words),
        *(f"{name} is read, and envmatrix.yaml says that nothing reads it" for name in silent if name in seen.words),
    ]
    fine = f"{len(names)} variables are read"
    return judged("variables", faults, fine, seconds=seen.seconds[2], variables=len(names))
