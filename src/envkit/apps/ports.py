"""Whether a port is free, and who has it otherwise."""

from __future__ import annotations

import socket
from contextlib import closing

import psutil

from envkit.errors import UsageError


def claim_port(port: int, address: str, *, instances: dict[int, str] | None = None) -> int:
    """A port that was free a moment ago: `port` itself, or any when it is 0.

    Raises `UsageError` naming the owner as far as this user may know; `instances` are envkit's own, by port.
    """
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except PermissionError as error:
            raise UsageError(f"port {port} needs root", hint="choose one above 1023 with `--port`") from error
        except OSError as error:
            owner = (instances or {}).get(port)
            by = f"the envkit instance {owner}: `envkit stop {owner}` ends it" if owner else _owner(port)
            free = claim_port(0, address)
            raise UsageError(f"port {port} is taken by {by}", hint=f"choose another with `--port {free}`") from error
        return int(probe.getsockname()[1])


def _owner(port: int) -> str:
    try:
        found = psutil.net_connections(kind="tcp")
        pid = next(
            (
                each.pid
                for each in found
                if each.laddr and each.laddr.port == port and each.status == psutil.CONN_LISTEN
            ),
            None,
        )
        if pid:
            return f"{psutil.Process(pid).name()} (process {pid})"
    except psutil.Error:
        pass
    return "another program"
