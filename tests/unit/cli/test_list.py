"""`envkit list`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from envkit.evidence import Level, Result, Seen, record
from envkit.host.facts import Disk, Gpu, HostFacts, System
from envkit.lock.lockfile import lock_path, read_lock

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix, MatrixEnvironment
    from tests.unit.cli.conftest import Envkit, Machine


DEBIAN = System(os_name="Debian GNU/Linux 12 (bookworm)", architecture="x86_64")
T4 = Gpu(0, "Tesla T4", "GPU-0", 15360, "7.5")


def cells(out: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in out.splitlines()]


def saw(environment: MatrixEnvironment, level: Level, result: Result = "pass", *, job: str = "") -> None:
    seen = Seen(
        level=level, job=job, backend="venv", result=result, date="2026-11-21", machine="Debian 12, x86_64, no GPU"
    )
    record(environment, read_lock(environment), seen)


# All frameworks -------------------------------------------------------------------------------------------------------


def test_everything_is_listed(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(gpus=(), system=DEBIAN)

    result = envkit("list")

    assert (result.status, result.err) == (0, "")
    assert [line.rstrip() for line in result.out.splitlines()] == [
        "Framework  Variant  Version  torch   Driver from  Attention  Size    Seen                 Fits",
        "─" * 101,
        "demo       cu130    2.1.0    2.11.0  580.65.06                       resolved 2026-01-01  ✓ CPU",
        "           cu124    2.0.0    2.6.0   525.60.13                       resolved 2026-01-01  ✓ CPU",
        "           cpu      2.1.0                                            resolved 2026-01-01  ✓",
        "solo       cu130    1.17.0   2.11.0  580.65.06               2.1 GB  resolved 2026-01-01  needs a GPU",
        "",
        "Fits: Debian GNU/Linux 12 (bookworm), x86_64, no GPU",
        "Apps, and more of each environment: `envkit list FRAMEWORK`",
    ]


def test_what_was_seen_is_the_strongest_level_and_what_failed(envkit: Envkit, matrix: Matrix) -> None:
    saw(matrix.environment("demo-cu130"), "imports")
    saw(matrix.environment("demo-cu130"), "cpu", job="page")
    saw(matrix.environment("demo-cu124"), "imports")
    saw(matrix.environment("demo-cu124"), "cpu", "fail", job="page")
    lock_path(matrix.environment("demo-cpu")).unlink()

    rows = cells(envkit("list").out)

    assert [row[-2] for row in rows[2:5]] == ["cpu 2026-11-21", "imports 2026-11-21, cpu failed", "not locked"]


@pytest.mark.parametrize(
    ("facts", "fits", "told"),
    [
        (
            HostFacts(gpus=(T4,), driver="580.82.07", system=DEBIAN),
            ["✓", "✓", "CPU only", "✓"],
            "Debian GNU/Linux 12 (bookworm), x86_64, Tesla T4, driver 580.82.07",
        ),
        (
            HostFacts(gpus=(T4,), driver="550.54.14"),
            ["driver too old", "✓", "CPU only", "driver too old"],
            "Tesla T4, driver 550.54.14",
        ),
        (
            HostFacts(gpus=(T4,), driver="580.82.07", disks=(Disk("home", "/data", free_mib=1000),)),
            ["✓", "✓", "CPU only", "✓, little disk"],
            "Tesla T4, driver 580.82.07",
        ),
        (
            HostFacts(gpus=(), gpu_problem="its driver does not answer"),
            ["not known"] * 4,
            "there is an NVIDIA GPU, but its driver does not answer",
        ),
        (HostFacts(), ["not known"] * 4, "whether this machine has an NVIDIA GPU is not known"),
        (HostFacts(gpus=(), system=System(architecture="aarch64")), ["x86_64 only"] * 4, "aarch64, no GPU"),
    ],
)
def test_what_fits_is_judged_for_this_machine(
    envkit: Envkit, machine: Machine, facts: HostFacts, fits: list[str], told: str
) -> None:
    machine.facts = facts

    rows = cells(envkit("list").out)

    assert [row[-1] for row in rows[2:6]] == fits
    assert rows[7] == [f"Fits: {told}"]


def test_another_machine_can_be_described(envkit: Envkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("this machine was asked about another one")

    monkeypatch.setattr("envkit.cli.list.probe_host", refuse)
    (tmp_path / "facts.json").write_text('{"gpus": [{"compute_capability": "6.1"}], "driver": "580.82.07"}')

    rows = cells(envkit("list", "--facts", str(tmp_path / "facts.json")).out)

    assert [row[-1] for row in rows[2:6]] == ["no code for 6.1", "✓", "CPU only", "no code for 6.1"]


@pytest.mark.parametrize(("width", "shown"), [(80, False), (109, False), (110, True)])
def test_a_narrow_terminal_gets_what_matters(
    envkit: Envkit, monkeypatch: pytest.MonkeyPatch, width: int, shown: bool
) -> None:
    monkeypatch.setattr("envkit.cli.listing.has_room_for", lambda columns: width >= columns)

    out = envkit("list").out

    assert ("Size" in out, "Attention" in out, "2026-01-01" in out) == (shown, shown, shown)
    assert "Fits" in out
    assert shown or max(map(len, out.splitlines())) <= 80


def test_what_is_not_available_stands_below_with_its_reason(envkit: Envkit, share: Path) -> None:
    overlay = missing(share)

    everything, one = envkit("list", "--matrix", overlay).out, envkit("list", "demo", "--matrix", overlay).out

    assert cells(everything)[-5:] == [
        [""],
        ["Not available", "Seen", "Why"],
        ["─" * 49],
        ["tuna", "2026-11-20", "it does not import"],
        ["demo-cu132", "2026-11-21", "no torch belongs to it"],
    ]
    assert cells(one)[-1] == ["demo-cu132", "2026-11-21", "no torch belongs to it"]
    assert "tuna" not in one


@pytest.mark.parametrize(
    "argv",
    [
        ["list", "tuna"],
        ["plan", "tuna"],
        ["run", "tuna", "train"],
        ["build", "demo-cu132"],
        ["plan", "demo", "--env", "demo-cu132"],
        ["run", "demo", "page", "--env", "demo-cu132"],
    ],
    ids=" ".join,
)
def test_what_is_not_available_says_why(envkit: Envkit, share: Path, argv: list[str]) -> None:
    result = envkit(*argv, "--matrix", missing(share))

    assert (result.status, result.out) == (2, "")
    assert result.err in (
        "error: tuna is not available: it does not import\n\nhint: seen 2026-11-20: tried\n",
        "error: demo-cu132 is not available: no torch belongs to it\n\nhint: seen 2026-11-21: the package index\n",
    )


def missing(share: Path) -> str:
    """An overlay in which a framework and an environment are not available."""
    overlay = share / "mine.yaml"
    overlay.write_text(
        "unavailable:\n"
        "  tuna: {reason: it does not import, date: 2026-11-20, source: tried, home: https://tuna.example/}\n"
        "  demo-cu132: {reason: no torch belongs to it, date: 2026-11-21, source: the package index}\n"
    )
    return str(overlay)


# One framework --------------------------------------------------------------------------------------------------------


def test_one_framework_is_listed_with_its_apps_and_all_that_is_known(
    envkit: Envkit, machine: Machine, matrix: Matrix
) -> None:
    machine.facts = HostFacts(gpus=(), system=DEBIAN)
    saw(matrix.environment("solo-cu130"), "imports")
    saw(matrix.environment("solo-cu130"), "cpu", job="sft-lora")
    saw(matrix.environment("solo-cu130"), "cpu", "fail", job="webui")

    out = envkit("list", "solo").out

    assert [line.rstrip() for line in out.splitlines()] == [
        "Solo (solo)  https://solo.example/",
        "",
        "App      What it is               Port",
        "──────────────────────────────────────",
        "train    a job",
        "report   a report; needs no GPU",
        "",
        "Environment  Version  torch   CUDA  Python  Driver from  Seen                 Fits",
        "─" * 89,
        "solo-cu130   1.17.0   2.11.0  13.0  3.11    580.65.06    imports, cpu failed  needs a GPU",
        "",
        "solo-cu130",
        "  GPUs       torch 2.11.0 carries 7.5, 8.0, 8.6, 9.0, 10.0, 12.0",
        "  size       2.1 GB as a venv, 3.1 GB as an image",
        "  image      envkit/solo:1.17.0-cu130",
        "  seen       imports, cpu sft-lora: pass, 2026-11-21 (venv, Debian 12, x86_64, no GPU)",
        "             cpu webui: fail, 2026-11-21 (venv, Debian 12, x86_64, no GPU)",
        "  here       solo needs a GPU in it",
    ]


def test_json(envkit: Envkit, machine: Machine, matrix: Matrix) -> None:
    machine.facts = HostFacts(gpus=(T4,), driver="550.54.14")
    saw(matrix.environment("solo-cu130"), "cpu", job="sft-lora")

    result = envkit("list", "solo", "--json")

    assert result.data == [
        {
            "framework": "solo",
            "title": "Solo",
            "home": "https://solo.example/",
            "cpu": False,
            "apps": [
                {"name": "train", "about": "a job", "port": None, "cpu": False},
                {"name": "report", "about": "a report", "port": None, "cpu": True},
            ],
            "environments": [
                {
                    "name": "solo-cu130",
                    "version": "1.17.0",
                    "variant": "cu130",
                    "torch": "2.11.0",
                    "cuda": "13.0",
                    "python": "3.11",
                    "driver": "580.65.06",
                    "capabilities": ["7.5", "8.0", "8.6", "9.0", "10.0", "12.0"],
                    "attention": None,
                    "image": "envkit/solo:1.17.0-cu130",
                    "size": {"venv_mib": 2000, "image_mib": 3000},
                    "note": "",
                    "level": "cpu",
                    "date": "2026-11-21",
                    "problem": "",
                    "seen": [
                        {
                            "level": "cpu",
                            "job": "sft-lora",
                            "backend": "venv",
                            "result": "pass",
                            "date": "2026-11-21",
                            "machine": "Debian 12, x86_64, no GPU",
                            "detail": "",
                        }
                    ],
                    "fit": {
                        "fits": False,
                        "device": "gpu",
                        "reasons": ["driver 550.54.14 is older than 580.65.06, which CUDA 13.0 needs"],
                        "warnings": [],
                    },
                }
            ],
            "unavailable": [],
            "missing": None,
        }
    ]


def test_json_has_what_is_not_available(envkit: Envkit, share: Path) -> None:
    found = {each["framework"]: each for each in envkit("list", "--json", "--matrix", missing(share)).data}

    assert found["demo"]["unavailable"] == [
        {
            "name": "demo-cu132",
            "reason": "no torch belongs to it",
            "date": "2026-11-21",
            "source": "the package index",
        }
    ]
    assert found["tuna"] == {
        "framework": "tuna",
        "title": "tuna",
        "home": "https://tuna.example/",
        "cpu": False,
        "apps": [],
        "environments": [],
        "unavailable": [],
        "missing": {"reason": "it does not import", "date": "2026-11-20", "source": "tried"},
    }


def test_a_lock_that_is_not_fresh_has_no_level(envkit: Envkit, matrix: Matrix) -> None:
    lock = lock_path(matrix.environment("solo-cu130"))
    lock.unlink()

    found = envkit("list", "solo", "--json").data[0]["environments"][0]

    assert (found["level"], found["date"]) == (None, None)
    assert found["problem"] == f"solo-cu130 has no lock: {lock}"
    assert f"  lock       solo-cu130 has no lock: {lock}" in envkit("list", "solo").out


# Errors ---------------------------------------------------------------------------------------------------------------


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
