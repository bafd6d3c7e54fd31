"""`envkit list`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit


def test_everything_is_listed(envkit: Envkit) -> None:
    result = envkit("list")

    assert (result.status, result.err) == (0, "")
    rows = [line.split() for line in result.out.splitlines()]
    assert ["Demo", "(demo)", "https://demo.example/"] in rows
    assert ["page", "a", "page", "without", "a", "login", "7860"] in rows
    assert ["train", "a", "job"] in rows
    assert ["demo-cu130", "2.1.0", "2.11.0", "13.0", "580.65.06", "3.11", "envkit/demo:2.1.0-cu130"] in rows
    assert ["demo-cpu", "2.1.0", "3.11", "envkit/demo:2.1.0-cpu"] in rows
    assert ["Solo", "(solo)", "https://solo.example/"] in rows


def test_one_framework_is_listed(envkit: Envkit) -> None:
    out = envkit("list", "solo").out

    assert "Solo (solo)" in out
    assert "demo" not in out


def test_json(envkit: Envkit) -> None:
    result = envkit("list", "solo", "--json")

    assert result.data == [
        {
            "framework": "solo",
            "title": "Solo",
            "cpu": False,
            "apps": [{"name": "train", "about": "a job", "port": None}],
            "environments": [
                {
                    "name": "solo-cu130",
                    "version": "1.17.0",
                    "variant": "cu130",
                    "torch": "2.11.0",
                    "python": "3.11",
                    "driver": "580.65.06",
                    "image": "envkit/solo:1.17.0-cu130",
                }
            ],
        }
    ]


def test_an_unknown_framework(envkit: Envkit) -> None:
    text, as_json = envkit("list", "dmo"), envkit("list", "dmo", "--json")

    assert (text.status, text.out) == (2, "")
    assert text.err == "error: unknown framework: dmo\n\nhint: did you mean `demo`?\n"
    assert (as_json.status, as_json.err) == (2, "")
    assert as_json.data["error"]["message"] == "unknown framework: dmo"


def test_a_usage_error_with_json_is_json(envkit: Envkit) -> None:
    result = envkit("list", "--no-such-option", "--json")

    assert (result.status, result.err) == (2, "")
    assert result.data["error"]["kind"] == "usage"
    assert result.data["error"]["message"].startswith("No such option '--no-such-option'")
    assert result.data["error"]["hint"] == "see `envkit list --help`"


def test_it_looks_at_no_machine(envkit: Envkit, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("an information command probed")

    monkeypatch.setattr("envkit.host.probes.probe_host", refuse)
    monkeypatch.setattr("pynvml.nvmlInit", refuse)

    assert envkit("list").status == 0


def test_a_broken_matrix_names_every_fault(envkit: Envkit, share: Path) -> None:
    overlay = share / "mine.yaml"
    overlay.write_text("colour: red\nmirrors: {near: {abouts: x}}\n")

    text, as_json = envkit("list", "--matrix", str(overlay)), envkit("list", "--json", "--matrix", str(overlay))

    assert text.status == as_json.status == 3
    assert as_json.data["error"]["faults"] == [
        f"{overlay}:1: colour: unknown key",
        f"{overlay}:2: mirrors.near.abouts: unknown key, did you mean `about`?",
        f"{overlay}:2: mirrors.near: the key `about` is missing",
    ]
    assert text.err == (
        "error: the compatibility matrix has 3 faults\n"
        + "".join(f"  {each}\n" for each in as_json.data["error"]["faults"])
        + "\nhint: every line above names its file and line; `envkit list` reads them again\n"
    )
