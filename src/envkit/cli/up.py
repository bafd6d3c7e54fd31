"""`envkit up`: from a fresh server to a running app, in one command."""

from __future__ import annotations

from typing import Any

import click

from envkit.bootstrap.choose import Wishes, is_ready
from envkit.cli.bootstrap import (
    again_in_group,
    driver_option,
    find_outline,
    joined_group,
    prepare,
    user_name,
    yes_option,
)
from envkit.cli.run import run_command
from envkit.host.probes import EVERYTHING, PLAN, probe_host
from envkit.matrix.load import load_matrix, named

_LOOK = (*PLAN, "provider", "compilers")
"""What tells whether anything is missing where Docker works."""


@click.command("up", context_settings=run_command.context_settings)
@driver_option
@yes_option
@click.pass_context
def up_command(context: click.Context, /, *, driver: bool, yes: bool, **options: Any) -> int:  # those of `run`
    """Prepare the machine where something is missing, then run an app.

    What `envkit bootstrap` would do is shown and asked for; then it is `envkit run`, with the same options. On a machine
    that has it all, it is `envkit run`.
    """
    matrix = load_matrix(options["overlay"])
    named(options["app"], matrix.framework(options["framework"]).apps, f"app of {options['framework']}")
    backend, facts = options["backend"], probe_host(_LOOK)
    if is_ready(facts, backend):
        context.obj = facts
        return int(context.invoke(run_command, **options) or 0)
    facts = probe_host(EVERYTHING)
    if not is_ready(facts, backend):
        wishes = Wishes(backend=backend, driver=driver, user=user_name())
        planned = find_outline(matrix, facts, wishes, options["mirror"], other=False)
        ended = prepare(planned, yes=yes, dry_run=options["dry_run"])
        if joined_group(ended):
            again_in_group()
    return int(context.invoke(run_command, **options) or 0)


up_command.params[:0] = run_command.params
