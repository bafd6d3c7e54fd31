"""`envkit render`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit


def test_files_are_written_once(envkit: Envkit, share: Path) -> None:
    first, second = envkit("render"), envkit("render", "--json")

    assert first.status == second.status == 0
    assert first.err.splitlines()[-1] == "17 generated files, 5 changed"
    assert f"wrote {share}/compose/demo.yaml" in first.err
    assert second.err == "17 generated files, 0 changed\n"
    assert (len(second.data["files"]), second.data["changed"]) == (17, [])


def test_a_check_of_fresh_files(envkit: Envkit) -> None:
    envkit("render")

    assert envkit("render", "--check").status == 0


def test_a_check_names_every_stale_file_and_changes_nothing(envkit: Envkit, share: Path) -> None:
    envkit("render")
    edited, missing = share / "compose/demo.yaml", share / "images/demo/cpu/Dockerfile"
    edited.write_text("edited\n")
    missing.unlink()

    result = envkit("render", "--check")

    assert result.status == 6
    head, *files = result.err.split("\n\nhint:")[0].splitlines()
    assert head == "error: 2 of 17 generated files are not what the matrix says"
    assert sorted(files) == [f"  {edited}", f"  {missing}"]
    assert result.err.endswith("\nhint: run `envkit render`\n")
    assert (edited.read_text(), missing.exists()) == ("edited\n", False)


def test_a_dry_run_writes_nothing(envkit: Envkit, share: Path) -> None:
    result = envkit("render", "--dry-run")

    assert result.err.splitlines()[-1] == "17 generated files, 5 would change"
    assert f"would write {share}/compose/demo.yaml" in result.err
    assert not (share / "compose").exists()
