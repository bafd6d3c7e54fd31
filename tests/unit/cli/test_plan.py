"""`envkit plan`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from envkit.host.facts import Gpu, HostFacts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Envkit, Machine

T4 = HostFacts((Gpu(0, "Tesla T4", "GPU-0", 15360, "7.5"),), driver="535.54.03")
PTX = (
    "the driver's own CUDA is 12.2, older than the environment's 12.4: what is compiled through PTX when a program starts"
    " (numba, CuPy, kernels of your own) can fail with `the provided PTX was compiled with an unsupported toolchain`;"
    " driver 550 or later compiles it"
)


def test_a_plan_with_the_reasons_against_the_others(envkit: Envkit, machine: Machine) -> None:
    machine.facts = T4

    result = envkit("plan", "demo")

    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "demo-cu124 on the GPU, backend docker\n"
        "  not demo-cu130: driver 535.54.03 is older than 580.65.06, which CUDA 13.0 needs\n"
        "  not demo-cpu: the variant cpu carries no CUDA: it runs on a CPU\n"
        f"  warning: {PTX}\n"
    )


def test_json(envkit: Envkit, machine: Machine) -> None:
    machine.facts = T4

    assert envkit("plan", "demo", "--json").data == {
        "framework": "demo",
        "environment": "demo-cu124",
        "variant": "cu124",
        "device": "gpu",
        "backend": "docker",
        "rejected": [
            {
                "environment": "demo-cu130",
                "reasons": ["driver 535.54.03 is older than 580.65.06, which CUDA 13.0 needs"],
            },
            {"environment": "demo-cpu", "reasons": ["the variant cpu carries no CUDA: it runs on a CPU"]},
        ],
        "notes": [],
        "warnings": [PTX],
    }


def test_no_plan_has_the_same_reasons_in_text_and_json(envkit: Envkit, machine: Machine) -> None:
    machine.facts = T4

    text, as_json = envkit("plan", "solo"), envkit("plan", "solo", "--json")

    assert text.status == as_json.status == 4
    reason = "driver 535.54.03 is older than 580.65.06, which CUDA 13.0 needs"
    assert text.err == (
        "error: no environment of solo runs on this machine's GPU\n"
        f"  solo-cu130: {reason}\n"
        "\nhint: update the NVIDIA driver\n"
    )
    assert as_json.data["error"]["rejected"] == [{"environment": "solo-cu130", "reasons": [reason]}]


def test_a_broken_driver_is_no_reason_for_the_cpu(envkit: Envkit, machine: Machine) -> None:
    machine.facts = HostFacts(gpu_problem="its driver does not answer: Driver Not Loaded")

    assert envkit("plan", "demo").status == 4
    assert envkit("plan", "demo", "--device", "cpu").out.startswith("demo-cpu on the CPU, backend docker\n")


def test_options(envkit: Envkit) -> None:
    note = "  note: there is no NVIDIA GPU: planned for the CPU\n"
    assert envkit("plan", "demo", "--env", "demo-cu124").out == f"demo-cu124 on the CPU, backend docker\n{note}"
    assert envkit("plan", "demo", "--device", "gpu").status == 4
    assert envkit("plan", "demo", "--device", "tpu").status == 2
    assert envkit("plan", "dmo").err == "error: unknown framework: dmo\n\nhint: did you mean `demo`?\n"


def test_a_plan_for_some_of_the_gpus(envkit: Envkit, machine: Machine) -> None:
    v100 = Gpu(0, "Tesla V100-SXM2-16GB", "GPU-7a", 16384, "7.0")
    machine.facts = HostFacts((v100, Gpu(1, "Tesla T4", "GPU-9b", 15360, "7.5")), driver="580.82.07")

    assert envkit("plan", "demo").out.startswith(
        "demo-cu124 on the GPU, backend docker\n  not demo-cu130: GPU 0 (Tesla"
    )
    for wish in ("1", "GPU-9"):
        assert envkit("plan", "demo", "--gpus", wish).out.startswith("demo-cu130 on the GPU, backend docker\n")
    assert envkit("plan", "demo", "--gpus", "none").out == (
        "demo-cpu on the CPU, backend docker\n"
        "  not demo-cu130: demo-cpu is made for the CPU\n"
        "  not demo-cu124: demo-cpu is made for the CPU\n"
    )


@pytest.mark.parametrize(
    ("visible", "options", "planned"),
    [
        ("1", [], "demo-cu130 on the GPU"),
        ("1", ["--gpus", "all"], "demo-cu124 on the GPU"),
        ("1", ["--gpus", "0"], "demo-cu124 on the GPU"),
        ("", [], "demo-cpu on the CPU"),
        ("-1", [], "demo-cpu on the CPU"),
        ("7", ["--device", "cpu"], "demo-cpu on the CPU"),
    ],
)
def test_cuda_visible_devices_chooses_where_the_user_does_not(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str, options: list[str], planned: str
) -> None:
    v100 = Gpu(0, "Tesla V100-SXM2-16GB", "GPU-7a", 16384, "7.0")
    machine.facts = HostFacts((v100, Gpu(1, "Tesla T4", "GPU-9b", 15360, "7.5")), driver="580.82.07")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    result = envkit("plan", "demo", *options)

    assert result.out.startswith(f"{planned}, backend docker\n")
    said = f"GPUs: {visible if visible == '1' else 'none'}, as CUDA_VISIBLE_DEVICES says (`--gpus all` takes all)\n"
    assert result.err == ("" if options else said)


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (["--gpus", "none", "--device", "gpu"], "`--gpus none` contradicts `--device gpu`", "leave out one of them"),
        (
            ["--gpus", "0", "--device", "cpu"],
            "there is no GPU to choose: the plan is for the CPU",
            "leave out `--gpus`",
        ),
        (["--gpus", "1"], "there is no GPU with index 1", "there are: 0"),
    ],
)
def test_gpus_that_cannot_be_chosen(
    envkit: Envkit, machine: Machine, options: list[str], message: str, hint: str
) -> None:
    machine.facts = T4

    result = envkit("plan", "demo", *options)

    assert (result.status, result.err) == (2, f"error: {message}\n\nhint: {hint}\n")


# Another machine's facts ----------------------------------------------------------------------------------------------


def test_a_plan_for_another_machine(
    envkit: Envkit, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine.facts = T4
    file = tmp_path / "facts.json"
    file.write_text(envkit("host", "--json").out)
    machine.facts = HostFacts(gpus=())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")  # of this one

    assert envkit("plan", "demo", "--facts", str(file)).out.startswith("demo-cu124 on the GPU\n")
    assert envkit("plan", "demo").out.startswith("demo-cpu on the CPU, backend docker\n")


def test_facts_from_stdin(envkit: Envkit, monkeypatch: pytest.MonkeyPatch) -> None:
    text = b'{"gpus": [{"index": 0, "name": "x", "uuid": "x", "memory_mib": 1, "compute_capability": "12.0"}]}'
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))

    assert envkit("plan", "demo", "--facts", "-").out.startswith("demo-cu130 on the GPU\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the facts cannot be read: FILE: No such file or directory"),
        ("", "not the facts of a machine: FILE: Input data was truncated"),
        ('{"driver": 580}', "not the facts of a machine: FILE: Expected `str | null`, got `int` - at `$.driver`"),
    ],
)
def test_facts_that_are_none(envkit: Envkit, tmp_path: Path, text: str | None, message: str) -> None:
    file = tmp_path / "facts.json"
    if text is not None:
        file.write_text(text)

    result = envkit("plan", "demo", "--facts", str(file))

    assert result.status == 2
    assert result.err == f"error: {message.replace('FILE', str(file))}\n\nhint: `envkit host --json` makes them\n"


GPU = '{"index": 0, "name": "x", "uuid": "x", "memory_mib": 1, "compute_capability": "%s"}'


@pytest.mark.parametrize(
    "text",
    ['{"driver": "unknown", "gpus": [%s]}' % GPU % "8.6", '{"gpus": [%s]}' % GPU % "86"],  # noqa: UP031
)
def test_facts_that_cannot_be(envkit: Envkit, tmp_path: Path, text: str) -> None:
    file = tmp_path / "facts.json"
    file.write_text(text)

    assert envkit("plan", "demo", "--facts", str(file)).status == 2
