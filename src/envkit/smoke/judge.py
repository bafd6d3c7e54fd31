"""What follows from what a check saw; pure, so that made-up logs, answers and pages test it."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from envkit.matrix.schema import Chat, Page, Training
    from envkit.smoke.browser import Sight
    from envkit.smoke.chat import Answer

_PEAK = re.compile(r"(?m)^peak memory: (\d+) KiB$")


# Trainings ------------------------------------------------------------------------------------------------------------


def read_losses(text: str, pattern: str) -> list[float]:
    """What each step lost, in order; something that is no number is NaN, so that it cannot pass for one."""
    found = []
    for match in re.finditer(pattern, text, flags=re.MULTILINE):
        try:
            found.append(float(match[1]))
        except ValueError:
            found.append(math.nan)
    return found


def loss_faults(losses: Sequence[float], training: Training) -> list[str]:
    """What is wrong with the losses: too few or too many, not finite, nothing, not falling as far as the framework's file says."""
    if len(losses) != training.steps:
        return [f"{training.steps} steps were to report a loss, and {len(losses)} did"]
    if bad := [number for number, each in enumerate(losses, start=1) if not math.isfinite(each)]:
        return [f"the loss of step {bad[0]} is {losses[bad[0] - 1]}"]
    if 0 in losses:
        return [
            f"the loss of step {losses.index(0) + 1} is 0: the Trainer writes that in place of one that is no number"
        ]
    first, last = fmean(losses[:3]), fmean(losses[-3:])
    if not last <= training.falls_to * first:
        wanted = f"{training.falls_to:g} of the first was expected"
        return [f"the loss does not fall: {first:.3f} at first and {last:.3f} at last, where {wanted}"]
    return []


def fmean(values: Sequence[float]) -> float:
    """Their mean."""
    return sum(values) / len(values)


def peak_memory(output: str) -> dict[str, float]:
    """The metric that measure.py printed; none where the command was killed together with it."""
    found = _PEAK.findall(output)
    return {"peak_memory_mib": round(int(found[-1]) / 1024)} if found else {}


def speed(text: str) -> dict[str, float]:
    """Tokens a second, by what the Trainer writes of a whole training; none where it says neither, or half of it."""
    try:
        results = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(results, dict):
        return {}
    tokens, seconds = results.get("num_input_tokens_seen"), results.get("train_runtime")
    if isinstance(tokens, (int, float)) and isinstance(seconds, (int, float)) and tokens and seconds:
        return {"tokens_per_second": round(tokens / seconds, 1)}
    return {}


# Programs that run inside -----------------------------------------------------------------------------------------------


def told(output: str) -> dict[str, Any] | None:
    """What a program of `envkit/smoke/inside/` found: the last line of what it printed that is its JSON."""
    for line in reversed(output.splitlines()):
        if line.startswith('{"faults"'):
            try:
                found = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(found, dict):
                return found
    return None


# Servers ----------------------------------------------------------------------------------------------------------------


def model_faults(answer: Answer) -> list[str]:
    """What is wrong with the list of models."""
    if answer.status != 200:
        return [f"/v1/models answered with status {answer.status}: {answer.start}"]
    if not _list(answer.json, "data"):
        return [f"/v1/models names no model: {answer.start}"]
    return []


def chat_faults(answer: Answer, chat: Chat) -> list[str]:
    """What is wrong with a chat completion: another status, no message, another number of tokens."""
    if answer.status != 200:
        return [f"/v1/chat/completions answered with status {answer.status}: {answer.start}"]
    choices = _list(answer.json, "choices")
    message = choices[0].get("message") if choices and isinstance(choices[0], dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("content"), str):
        return [f"the answer has no message: {answer.start}"]
    usage = answer.json.get("usage") if isinstance(answer.json, dict) else None
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    if tokens != chat.tokens:
        return [f"{chat.tokens} tokens were asked for, and {tokens} came"]
    return []


def key_faults(answers: Mapping[str, Answer]) -> list[str]:
    """What is wrong where every one of these calls, by what they are, should have been refused."""
    return [f"{call}: status {each.status} instead of 401" for call, each in answers.items() if each.status != 401]


def _list(answer: Any, key: str) -> list[Any]:
    found = answer.get(key) if isinstance(answer, dict) else None
    return found if isinstance(found, list) else []


# Pages ------------------------------------------------------------------------------------------------------------------


def page_faults(sight: Sight, page: Page) -> Iterator[str]:
    """What is wrong with a page as a browser shows it."""
    if sight.status != 200:
        yield f"the page answered with status {sight.status}"
    if not sight.title.startswith(page.title):
        yield f"it is another page: its title is {sight.title!r}, which does not begin with {page.title!r}"
    yield from (f"there is no field {each!r} to be seen" for each in page.fields if each not in sight.fields)
    yield from (
        f"the field {label!r} does not offer {wanted!r}"
        for label, wanted in page.choices.items()
        if wanted not in sight.choices.get(label, ())
    )
    yield from (f"the page shows an error: {each}" for each in sight.errors)
