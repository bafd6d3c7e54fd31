"""`envkit host`: what this machine is."""

from __future__ import annotations

import click
import msgspec

from envkit.cli.console import json_option, print_json
from envkit.host.probes import probe_host


@click.command("host")
@json_option
def host_command(as_json: bool) -> None:
    """Show the facts of this machine that plans are made from.

    With --json, another machine's `envkit plan FRAMEWORK --facts FILE` takes them.
    """
    facts = probe_host()
    if as_json:
        print_json(msgspec.to_builtins(facts))
        return
    for gpu in facts.gpus or ():
        click.echo(
            f"GPU {gpu.index}   {gpu.name}, {gpu.memory_mib} MiB, compute capability {gpu.compute_capability}, {gpu.uuid}"
        )
    if not facts.gpus:
        click.echo(f"GPU     {f'there is one, but {facts.gpu_problem}' if facts.gpu_problem else 'none from NVIDIA'}")
    if facts.driver:
        click.echo(f"driver  {facts.driver}, for CUDA up to {facts.cuda_driver}")
