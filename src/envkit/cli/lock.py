"""`envkit lock`: resolve environments, or check that their locks are fresh."""

from __future__ import annotations

from pathlib import Path

import click

from envkit.cli.console import json_option, matrix_option, print_json, say
from envkit.errors import StaleLockError
from envkit.lock.lockfile import Lock, load_lock, lock_path, read_lock
from envkit.lock.resolver import resolve, write_lock
from envkit.matrix.load import MatrixEnvironment, load_matrix


@click.command("lock")
@click.argument("environments", nargs=-1, metavar="[ENVIRONMENT]...")
@click.option("--check", is_flag=True, help="Change nothing; exit 6 when a lock is missing, edited or stale.")
@click.option("--upgrade", is_flag=True, help="Look at everything that is published now, not when the lock was made.")
@click.option("--dry-run", is_flag=True, help="Resolve, and show what would change.")
@json_option
@matrix_option
def lock_command(
    environments: tuple[str, ...],
    check: bool,
    upgrade: bool,
    dry_run: bool,
    as_json: bool,
    overlay: Path | None,
) -> None:
    """Resolve environments into hash-pinned locks.

    One resolver pass for each ENVIRONMENT (all of them by default), for Linux on x86_64, with hashes and without
    index addresses. What the matrix does not decide keeps the version it had.
    """
    matrix = load_matrix(overlay)
    chosen = [matrix.environment(name) for name in environments] or matrix.environments()
    report = _checked_all(chosen) if check else [_locked(each, upgrade=upgrade, write=not dry_run) for each in chosen]
    if as_json:
        print_json(report)


def _checked_all(environments: list[MatrixEnvironment]) -> list[dict[str, object]]:
    """A row for each; raises `StaleLockError` that names every one which is not fresh."""
    rows, stale = [], []
    for environment in environments:
        try:
            rows.append(_checked(environment))
        except StaleLockError as error:
            stale.append(error)
    if len(stale) > 1:
        details = "\n".join(error.message for error in stale)
        raise StaleLockError(
            f"{len(stale)} of {len(environments)} locks are not fresh", details=details, hint="run `envkit lock`"
        )
    if stale:
        raise stale[0]
    return rows


def _checked(environment: MatrixEnvironment) -> dict[str, object]:
    lock = read_lock(environment)
    torch = environment.folder / "torch.lock"
    if not torch.is_file() or torch.read_text(encoding="utf-8") != lock.subset(environment.torch_layer):
        raise StaleLockError(f"not the torch layer of its lock: {torch}", hint=f"run `envkit lock {environment.name}`")
    say(f"{environment.name}: fresh, {len(lock.packages)} packages")
    return {
        "environment": environment.name,
        "fresh": True,
        "packages": len(lock.packages),
        "sha256": lock.sha256,
    }


def _locked(environment: MatrixEnvironment, *, upgrade: bool, write: bool) -> dict[str, object]:
    old = load_lock(environment)
    new = resolve(environment, upgrade=upgrade)
    changes = _changes(old, new)
    for line in changes:
        say(f"  {line}")
    if write:
        write_lock(environment, new)
    say(f"{environment.name}: {len(new.packages)} packages, {len(changes)} changed, as of {new.exclude_newer}")
    if write:
        say(f"  wrote {lock_path(environment)}")
    return {
        "environment": environment.name,
        "packages": len(new.packages),
        "changes": changes,
        "sha256": new.sha256,
    }


def _changes(old: Lock | None, new: Lock) -> list[str]:
    before, after = old.packages if old else {}, new.packages
    return [
        f"{name} {before.get(name, '(new)')} -> {after.get(name, '(gone)')}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
