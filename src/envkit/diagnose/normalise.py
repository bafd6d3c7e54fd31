"""A line as the program meant it: without what ranks, processes, containers, clocks and progress bars put around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WHERE = (
    r"[A-Za-z0-9][\w.-]*[ \t]+\| ?",  # docker compose: `name-1  | `
    r"\[pod/[^\]\s]+\] ",  # kubectl logs --prefix
    r"#\d+ ",  # BuildKit's steps
)
"""What tells the container."""
_WHO = (
    r"\[?(?:default|rank|trainer)_?\d+\]?: ?",  # torch: `[rank0]: `; torchrun --tee
    r"\[\d+,\d+\]<std(?:out|err)>: ?",  # mpirun --tag-output
    r"(?:worker|node|host|gpu)[\w.-]*: ",  # pdsh, as DeepSpeed uses it
    r" *\d{1,4}: ",  # srun --label
    r"\([^()]{0,80}\bpid=\d+[^()]{0,60}\) ?",  # vLLM `(EngineCore_0 pid=7)`, `(VllmWorker rank=0 pid=12)`; Ray
)
"""What tells the rank or the process."""
_WHEN = (
    r"\[ *\d{1,9}\.\d{3,9}\] ",  # the kernel
    r"\d{1,5}\.\d{1,3} ",  # BuildKit's seconds
    r"\d{4}-\d\d-\d\dT\S+ std(?:out|err) [FP] ",  # containerd
    r"std(?:out|err): ?",  # accelerate test
    r"> ",  # a quotation
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ,]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?[+-]\d\d:?\d\d| UTC)?\]?(?: - |[ :])",
    r"\[(?:[01]\d/[0-3]\d/\d\d )?\d\d:\d\d:\d\d\] ",  # rich's RichHandler
    r"\[?[EWIF]\d{4} \d\d:\d\d:\d\d\.\d+(?: +\d+)? [\w./-]+:\d+\] ",  # glog: c10d, NCCL's watchdog
    r"(?:DEBUG|INFO|WARNING|ERROR|CRITICAL) \d\d-\d\d \d\d:\d\d:\d\d (?:\[[^\]\s]+:\d+\]|[\w./-]+:\d+\]) ?",  # vLLM
    r"\[(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\|[^\]]{1,120}\] (?:\S+:\d+ )?(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ )?>> ?",
    r"(?:DEBUG {4}|INFO {5}|WARNING {2}|ERROR {4})(?=\S)",  # and its level, padded
    r"[\w.]+ - (?:DEBUG|INFO|WARNING|ERROR|CRITICAL) - ",
)
"""What tells when, how loudly, and from which line of code."""
_BOTH = (
    r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d (?P<host>[\w.-]+) (?P<program>[^\s:\[\]]+(?:\[\d+\])?): ",  # journald, syslog
    r"\d{4}-\d\d-\d\dT\S+ (?P<host2>[\w.-]+) (?P<program2>[^\s:\[\]]+\[\d+\]): ",
    r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?P<rank>(?: [A-Z]{2}\d+)+)\] ",  # SGLang: `[2026-11-21 09:00:00 TP0] `
)

_PREFIX = re.compile(
    f"{'|'.join(_BOTH)}|(?P<where>{'|'.join(_WHERE)})|(?P<who>{'|'.join(_WHO)})|{'|'.join(_WHEN)}", re.ASCII
)
_BAR = re.compile(r"[^|]{0,160}?\d{1,3}%\|[^|]{0,400}\| *[\d.]+[kMGT]?i?B?/[\d.?]+[kMGT]?i?B? \[[^\]]{0,120}\]")
"""tqdm's."""
_PLACE = re.compile(r"(?<=\S) {2,200}[\w.-]{1,80}\.py:\d{1,6}$")
"""Where in the code it was said: RichHandler's column on the right."""
_MOST = 6
"""Of prefixes before one line."""
_HEAD = 800
"""Characters of a line in which prefixes are looked for: whatever it holds, that takes no longer."""


@dataclass(frozen=True)
class Said:
    """A line, and who said it."""

    text: str
    """Its indentation is kept: tracebacks need it."""
    where: str = ""
    """The container, or the step of a build; empty where no prefix names one."""
    who: str = ""
    """The rank and process in it."""
    whole: str = ""
    """The line with its prefixes."""


def normalise(line: str, before: Said | None = None) -> Said:
    """The line without prefixes and progress bars; `before` is the line before it, which saves time in tracebacks."""
    if before is not None and (same := _with_same_prefix(line, before)):
        return same
    text = whole = line.rstrip()
    where = who = ""
    for _ in range(_MOST):
        head = text[:_HEAD]
        found = _PREFIX.match(head)
        if not found:
            found = _BAR.match(head) if "%|" in head else None
            if not found:
                break
        groups = found.groupdict()
        where += (groups.pop("where", "") or "").strip()
        who += "".join(value.strip() for value in groups.values() if value)
        text = text[found.end() :]
    if text[-1:].isdigit() and (place := _PLACE.search(text, max(0, len(text) - 300))):
        text = text[: place.start()]
    return Said(text, where, who, whole)


def _with_same_prefix(line: str, before: Said) -> Said | None:
    """The line, if it is indented behind the very prefix of the line before it: no other prefix follows then."""
    if not before.whole.endswith(before.text):  # a column on the right was cut off
        return None
    length = len(before.whole) - len(before.text)
    rest = line[length:]
    if length and before.whole[length - 1] != " ":  # its own blank was cut off with an empty line
        return None
    if rest[:2] != "  " or not line.startswith(before.whole[:length]) or rest.lstrip()[:1].isdigit() or "%|" in rest:
        return None
    whole = line.rstrip()
    return Said(whole[length:], before.where, before.who, whole)
