"""Every kind of check, each run in a room: what is started, and what of it is shown to the judges."""

from __future__ import annotations

import http.client
import secrets
import shlex
from typing import TYPE_CHECKING

import msgspec

from envkit.apps.verify import glance
from envkit.audit.check import overall
from envkit.diagnose.match import diagnose
from envkit.errors import AppError
from envkit.process import redact
from envkit.smoke.browser import find_browser, see
from envkit.smoke.chat import ask
from envkit.smoke.check import Cause, Check, judged
from envkit.smoke.judge import (
    chat_faults,
    fmean,
    key_faults,
    loss_faults,
    model_faults,
    page_faults,
    peak_memory,
    read_losses,
    speed,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from envkit.backends.base import Backend, Recipe
    from envkit.host.facts import Gpu
    from envkit.matrix.schema import Chat, Export, Page, Training
    from envkit.smoke.room import Ended, Room

_PROGRAM_SECONDS = 300
_LOG_LINES = 20
_QUESTION = [{"role": "user", "content": "say 1"}]


# The environment itself -------------------------------------------------------------------------------------------------


def check_environment(backend: Backend, recipe: Recipe, gpus: tuple[Gpu, ...]) -> tuple[Check, Check]:
    """`import`: what is installed is the lock, torch's companions are its own, the modules import; `cli`: it answers."""
    installed, companions, imports, cli = glance(backend, recipe, gpus=gpus)
    parts = (installed, companions, imports)
    bad = [each for each in parts if each.result != "pass"]
    together = Check(
        name="import",
        result=overall(parts),
        detail="; ".join(each.detail for each in bad or parts),
        seconds=sum(each.seconds for each in parts),
        faults=tuple(fault for each in bad for fault in each.faults),
        metrics=installed.metrics,
    )
    return together, Check(
        name="cli", result=cli.result, detail=cli.detail, seconds=cli.seconds, faults=cli.faults, metrics=cli.metrics
    )


# Programs ---------------------------------------------------------------------------------------------------------------


def check_program(room: Room, name: str, *argv: str) -> Check:
    """What a program of `inside/` found."""
    return _answer(name, argv, room.program(name, *argv, within_seconds=_PROGRAM_SECONDS))


def _answer(name: str, argv: Iterable[str], ended: Ended) -> Check:
    command = ("python", *argv)
    found = told(ended.output)
    if ended.status != 0 or found is None:
        return with_log(
            Check(name=name, result="error", detail=how(ended, shlex.join(command)), command=command), ended.output
        )
    check = judged(name, found["faults"], found["detail"], metrics=found["metrics"], command=command)
    return with_log(check, ended.output)


def how(ended: Ended, command: str) -> str:
    """How something ended that should have ended well."""
    if ended.status is None:
        return f"`{command}` did not end within {ended.seconds:.0f} s"
    if ended.status == 0:
        return f"`{command}` ended well and said nothing"
    return f"`{command}` ended with status {ended.status}"


def with_log(check: Check, output: str) -> Check:
    """The check; with the last lines and what is known of them, where it did not pass."""
    if check.result in ("pass", "skip"):
        return check
    lines = [line for line in redact(output).replace("\r", "\n").splitlines() if line.strip()]
    found = diagnose([output.encode()]).diagnoses
    cause = Cause(found[0].id, found[0].title, found[0].fix) if found else None
    return msgspec.structs.replace(check, log=tuple(lines[-_LOG_LINES:]), diagnosis=cause)


# Trainings and exports --------------------------------------------------------------------------------------------------


def check_training(room: Room, name: str, training: Training) -> Check:
    """Whether it ends well, its losses fall, and what it wrote is there and loads again with the same logits."""
    app = room.environment.app(training.app)
    env = {each: value.replace("{processes}", str(_processes(room.gpus))) for each, value in training.env.items()}
    ended = room.run(name, app, training.args, env=env, within_seconds=training.within_seconds)
    command = (*app.argv, *training.args)
    if ended.status != 0:
        return with_log(
            Check(name=name, result="fail", detail=how(ended, shlex.join(command)), command=command), ended.output
        )
    text = _read(room, training.losses.file) if training.losses.file else ended.output
    losses = read_losses(text, training.losses.pattern)
    faults = loss_faults(losses, training)
    faults += [f"it did not print {each!r}" for each in training.says if each not in ended.output]
    faults += [f"it did not write {each}" for each in training.files if not any(room.workspace.glob(each))]
    metrics = {**peak_memory(ended.output), **(speed(_read(room, training.results)) if training.results else {})}
    fine = []
    if len(losses) >= 3:
        metrics |= {"first_loss": round(fmean(losses[:3]), 4), "last_loss": round(fmean(losses[-3:]), 4)}
        fine.append(
            f"the loss falls from {metrics['first_loss']:.3f} to {metrics['last_loss']:.3f} in {len(losses)} steps"
        )
    if written := _written(training):
        again = check_program(room, name, "smoke/compare.py", training.base, *written)
        if again.result == "error":
            return msgspec.structs.replace(again, command=command, losses=tuple(losses))
        faults += again.faults
        metrics |= again.metrics
        fine.append(again.detail)
    check = judged(name, faults, "; ".join(fine), metrics=metrics, losses=tuple(losses), command=command)
    return with_log(check, ended.output)


def _processes(gpus: Sequence[Gpu]) -> int:
    """How many a training over several is started in: two on the CPU; on GPUs no more than there are."""
    return min(2, len(gpus)) if gpus else 2


def _written(training: Training) -> list[str]:
    options = {"--adapter": training.adapter, "--copy": training.copy, "--model": training.model}
    return [word for option, path in options.items() if path for word in (option, path)]


def check_export(room: Room, name: str, export: Export, training: Training) -> Check:
    """Whether the model that is written says what the base says under its adapter."""
    app = room.environment.app(export.app)
    ended = room.run(name, app, export.args, env=export.env, within_seconds=export.within_seconds)
    command = (*app.argv, *export.args)
    if ended.status != 0:
        return with_log(
            Check(name=name, result="fail", detail=how(ended, shlex.join(command)), command=command), ended.output
        )
    assert training.adapter  # noqa: S101  # load.py saw to it
    argv = ("smoke/compare.py", training.base, "--adapter", training.adapter, "--merged", export.writes)
    check = check_program(room, name, *argv)
    return msgspec.structs.replace(check, command=command, metrics={**check.metrics, **peak_memory(ended.output)})


def _read(room: Room, file: str) -> str:
    """What was written there; nothing where nothing was."""
    path = room.workspace / file
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


# Servers ----------------------------------------------------------------------------------------------------------------


def check_chat(room: Room, name: str, chat: Chat) -> Check:
    """Whether the server names its model and answers with as many tokens as were asked for, to whoever has the key."""
    app = room.environment.app(chat.app)
    command = (*app.argv, *chat.args)
    key = secrets.token_hex(16) if app.auth else ""
    env = {**chat.env, **({app.auth.env: key} if app.auth else {})}
    body = {"model": chat.model, "messages": _QUESTION, "max_tokens": chat.tokens, "temperature": 0}
    faults: list[str] = []
    metrics: dict[str, float] = {}
    try:
        with room.serve(name, app, chat.args, env=env, within_seconds=chat.within_seconds) as server:
            try:
                faults += model_faults(ask(server.url, "/v1/models", key=key))
                answer = ask(server.url, "/v1/chat/completions", body, key=key)
                faults += chat_faults(answer, chat)
                metrics["seconds_for_an_answer"] = round(answer.seconds, 3)
                metrics["tokens_per_second"] = round(chat.tokens / answer.seconds, 1)
                if key:
                    faults += _unguarded(server.url, chat, body)
            except (OSError, http.client.HTTPException) as error:
                faults.append(f"the server gave no answer: {error}")
    except AppError as error:
        return did_not_start(name, command, error)
    guarded = ", and a call without the key gets 401" if key else "; it has no key"
    check = judged(name, faults, f"{chat.tokens} tokens{guarded}", metrics=metrics, command=command)
    return with_log(check, server.output)


def _unguarded(url: str, chat: Chat, body: Mapping[str, object]) -> list[str]:
    """What is answered without the key, or with another one, and should not be."""
    calls: dict[str, object] = {"/v1/models": None, "/v1/chat/completions": body}
    return key_faults(
        {
            f"{path} with {'another key' if key else 'no key'}": ask(url, path, sent, key=key)
            for path, sent in calls.items()
            if path not in chat.open
            for key in ("", "another")
        }
    )


def check_page(room: Room, name: str, page: Page) -> tuple[Check, bytes]:
    """Whether a browser shows the right page with its fields, what they offer, and no error; with a screenshot."""
    app = room.environment.app(page.app)
    command = (*app.argv, *page.args)
    browser = find_browser()
    if browser is None:
        reason = "there is no browser to look with: `sudo apt-get install chromium` installs one"
        return Check(name=name, result="skip", detail=reason), b""
    try:
        with room.serve(name, app, page.args, env=page.env, within_seconds=page.within_seconds) as server:
            sight = see(
                browser,
                server.url,
                fields=page.fields,
                open_fields=list(page.choices),
                within_seconds=page.load_seconds,
                given_up=lambda: room.closed,
            )
    except AppError as error:
        return did_not_start(name, command, error), b""
    faults = list(page_faults(sight, page))
    fine = f"{page.title!r} shows {', '.join(page.fields)}"
    metrics = {"seconds_to_show": round(sight.seconds, 1)}
    check = judged(name, faults, fine, metrics=metrics, command=command)
    return with_log(check, server.output), sight.screenshot


def did_not_start(name: str, command: tuple[str, ...], error: AppError) -> Check:
    """The check of a server that never answered."""
    return with_log(
        Check(name=name, result="fail", detail=error.message, command=command), error.log.decode(errors="replace")
    )
