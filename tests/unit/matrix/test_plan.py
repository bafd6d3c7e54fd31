"""A framework and a machine become a plan, or the reasons why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from envkit.errors import NoPlanError, UsageError
from envkit.host.facts import Gpu, HostFacts, MigDevice, System
from envkit.matrix.load import load_matrix
from envkit.matrix.plan import DeviceWish, Fit, judge_fit, make_plan

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix

MODELS = {
    "K80": ("Tesla K80", "3.7"),
    "P100": ("Tesla P100-PCIE-16GB", "6.0"),
    "V100": ("Tesla V100-SXM2-16GB", "7.0"),
    "T4": ("Tesla T4", "7.5"),
    "3090": ("NVIDIA GeForce RTX 3090", "8.6"),
    "4090": ("NVIDIA GeForce RTX 4090", "8.9"),
    "H200": ("NVIDIA H200", "9.0"),
    "5090": ("NVIDIA GeForce RTX 5090", "12.0"),
}
OLD_CARRIES = "torch 2.6.0 carries 6.0, 7.0, 7.5, 8.0, 8.6, 9.0"
NEW_CARRIES = "torch 2.11.0 carries 7.5, 8.0, 8.6, 9.0, 10.0, 12.0"
NO_PTX = ", and no PTX for newer GPUs"
NO_CUDA = ("demo-cpu", ("the variant cpu carries no CUDA: it runs on a CPU",))


def machine(models: str = "", driver: str | None = None, problem: str | None = None) -> HostFacts:
    gpus = [
        Gpu(index, MODELS[model][0], f"GPU-{index}", 24576, MODELS[model][1])
        for index, model in enumerate(models.split())
    ]
    return HostFacts(tuple(gpus), driver=driver, gpu_problem=problem)


def too_old(driver: str, least: str, cuda: str) -> str:
    return f"driver {driver} is older than {least}, which CUDA {cuda} needs"


def lacks(model: str, carries: str, at: int | None = None) -> str:
    name = MODELS[model][0] if at is None else f"GPU {at} ({MODELS[model][0]})"
    return f"{name} has compute capability {MODELS[model][1]}; {carries}"


# What fits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "driver", "environment", "against_others"),
    [
        ("3090", "580.65.06", "demo-cu130", {"demo-cu124": ("demo-cu130 is newer",)}),
        ("3090", "580.65.05", "demo-cu124", {"demo-cu130": (too_old("580.65.05", "580.65.06", "13.0"),)}),
        ("3090", "535.183.01", "demo-cu124", {"demo-cu130": (too_old("535.183.01", "580.65.06", "13.0"),)}),
        ("3090", "525.60.13", "demo-cu124", {"demo-cu130": (too_old("525.60.13", "580.65.06", "13.0"),)}),
        ("V100", "580.82.07", "demo-cu124", {"demo-cu130": (lacks("V100", NEW_CARRIES),)}),
        (
            "V100",
            "535.54.03",
            "demo-cu124",
            {"demo-cu130": (too_old("535.54.03", "580.65.06", "13.0"), lacks("V100", NEW_CARRIES))},
        ),
        ("5090", "580.82.07", "demo-cu130", {"demo-cu124": (lacks("5090", OLD_CARRIES + NO_PTX),)}),
        ("T4", "580.82.07", "demo-cu130", {"demo-cu124": ("demo-cu130 is newer",)}),
        ("4090", "1000.1", "demo-cu130", {"demo-cu124": ("demo-cu130 is newer",)}),  # not as text: 1000 > 580
        ("H200", None, "demo-cu130", {"demo-cu124": ("demo-cu130 is newer",)}),  # an unknown driver stops nobody
        ("T4 V100", "580.82.07", "demo-cu124", {"demo-cu130": (lacks("V100", NEW_CARRIES, at=1),)}),
        ("3090 3090", "580.82.07", "demo-cu130", {"demo-cu124": ("demo-cu130 is newer",)}),
    ],
)
def test_a_machine_gets_the_newest_environment_that_fits(
    matrix: Matrix, models: str, driver: str | None, environment: str, against_others: dict[str, tuple[str, ...]]
) -> None:
    plan = make_plan(matrix, "demo", machine(models, driver))

    assert (plan.environment.name, plan.device) == (environment, "gpu")
    assert plan.rejected == (*against_others.items(), NO_CUDA)


@pytest.mark.parametrize(
    ("models", "driver", "against"),
    [
        (
            "3090",
            "470.82.01",
            {
                "demo-cu130": [too_old("470.82.01", "580.65.06", "13.0")],
                "demo-cu124": [too_old("470.82.01", "525.60.13", "12.4")],
            },
        ),
        (
            "5090",
            "570.86.10",
            {
                "demo-cu130": [too_old("570.86.10", "580.65.06", "13.0")],
                "demo-cu124": [lacks("5090", OLD_CARRIES + NO_PTX)],
            },
        ),
        (
            "K80 5090",
            "580.82.07",
            {
                "demo-cu130": [lacks("K80", NEW_CARRIES, at=0)],
                "demo-cu124": [lacks("K80", OLD_CARRIES), lacks("5090", OLD_CARRIES + NO_PTX)],
            },
        ),
        (
            "V100 5090",
            "580.82.07",
            {
                "demo-cu130": [lacks("V100", NEW_CARRIES, at=0)],
                "demo-cu124": [lacks("5090", OLD_CARRIES + NO_PTX, at=1)],
            },
        ),
    ],
)
def test_a_gpu_that_nothing_fits_is_an_error_and_never_the_cpu(
    matrix: Matrix, models: str, driver: str, against: dict[str, list[str]]
) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", machine(models, driver))

    error = caught.value
    assert error.message == "no environment of demo runs on this machine's GPU"
    assert error.rejected == (*((name, tuple(reasons)) for name, reasons in against.items()), NO_CUDA)
    assert error.details == "\n".join(f"{name}: {each}" for name, reasons in error.rejected for each in reasons)
    ways = {
        "3090": "update the NVIDIA driver",
        "5090": "update the NVIDIA driver",
        "K80 5090": "choose GPUs that fit with `--gpus 1` (demo-cu130)",
        "V100 5090": "choose GPUs that fit with `--gpus 1` (demo-cu130) or `--gpus 0` (demo-cu124)",
    }
    assert error.hint == f"{ways[models]}, or try `--device cpu`"
    assert error.exit_code == 4


def test_two_gpus_of_one_model_are_one_reason(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", machine("V100 V100 V100", "580.82.07"))

    assert dict(plan.rejected)["demo-cu130"] == (lacks("V100", NEW_CARRIES),)


def test_a_later_minor_capability_runs_what_an_earlier_one_does_and_not_the_other_way_round(matrix: Matrix) -> None:
    earlier = HostFacts((Gpu(0, "A GPU", "GPU-0", 1, "12.1"),), driver="580.82.07")
    later = HostFacts((Gpu(0, "A GPU", "GPU-0", 1, "7.2"),), driver="580.82.07")

    assert make_plan(matrix, "demo", earlier).environment.name == "demo-cu130"
    assert make_plan(matrix, "demo", later).environment.name == "demo-cu124"


def test_gpus_of_one_model_that_are_at_fault_are_named_by_their_indices(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", machine("V100 T4 V100 V100", "580.82.07"))

    assert dict(plan.rejected)["demo-cu130"] == (
        f"each of the GPUs 0, 2 and 3 (Tesla V100-SXM2-16GB) has compute capability 7.0; {NEW_CARRIES}",
    )


def test_nothing_proposed_where_no_gpu_fits_and_the_framework_needs_one(matrix: Matrix) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "solo", machine("V100", "580.82.07"))

    assert caught.value.hint == "see what there is with `envkit list`"


def test_wheels_with_ptx_run_on_later_gpus(share: Path) -> None:
    file = share / "envmatrix.yaml"
    file.write_text(file.read_text().replace('    triton: "3.6.0"\n', '    triton: "3.6.0"\n    ptx: "12.0"\n'))
    later = HostFacts((Gpu(0, "A GPU", "GPU-0", 1, "13.0"),), driver="640.10")

    assert make_plan(load_matrix(), "demo", later).environment.name == "demo-cu130"


# MIG ------------------------------------------------------------------------------------------------------------------


def test_slices_have_the_capability_of_their_gpu(matrix: Matrix) -> None:
    a100 = Gpu(0, "NVIDIA A100", "GPU-0", 40960, "8.0", mig=True, mig_devices=(MigDevice(0, "a slice", "MIG-0", 4864),))

    assert make_plan(matrix, "demo", HostFacts((a100,), driver="580.82.07")).environment.name == "demo-cu130"


def test_a_gpu_in_mig_mode_without_slices_runs_nothing(matrix: Matrix) -> None:
    facts = HostFacts((Gpu(3, "NVIDIA A100", "GPU-3", 40960, "8.0", mig=True),), driver="580.82.07")
    reason = "NVIDIA A100 is in MIG mode and has no slices: `sudo nvidia-smi -i 3 -mig 0` ends that mode"

    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", facts)

    assert caught.value.rejected == (("demo-cu130", (reason,)), ("demo-cu124", (reason,)), NO_CUDA)
    assert caught.value.hint == "see what there is with `envkit list`, or try `--device cpu`"


# Processors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [machine("H200", "580.82.07"), machine()])
def test_other_processors_are_not_supported_yet(matrix: Matrix, facts: HostFacts) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", replace(facts, system=System(architecture="aarch64")))

    assert caught.value.message == "aarch64 is not supported yet: the locks hold wheels for x86_64 alone"
    assert caught.value.hint == "choose a machine with x86_64 processors (`uname -m`)"
    assert make_plan(matrix, "demo", replace(facts, system=System(architecture="x86_64")))
    assert make_plan(matrix, "demo", replace(facts, system=System()))


# A driver of which only its CUDA is known -----------------------------------------------------------------------------


def test_the_cuda_of_a_driver_decides_where_its_version_is_not_known(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", replace(machine("3090"), cuda_driver="12.4"))

    assert plan.environment.name == "demo-cu124"
    assert dict(plan.rejected)["demo-cu130"] == (
        "the driver runs CUDA up to 12.4; CUDA 13.0 needs driver 580.65.06 or later",
    )


# The device -----------------------------------------------------------------------------------------------------------


def test_without_a_gpu_the_environment_for_the_cpu_goes_first(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", machine())

    assert (plan.environment.name, plan.device) == ("demo-cpu", "cpu")
    assert plan.rejected == (
        ("demo-cu130", ("demo-cpu is made for the CPU",)),
        ("demo-cu124", ("demo-cpu is made for the CPU",)),
    )


def test_a_cpu_that_nobody_asked_for_is_said(matrix: Matrix) -> None:
    assert make_plan(matrix, "demo", machine()).notes == ("there is no NVIDIA GPU: planned for the CPU",)
    assert make_plan(matrix, "demo", machine(), device="cpu").notes == ()


def test_a_named_environment_with_cuda_runs_on_the_cpu_too(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", machine(), environment="demo-cu124")

    assert (plan.environment.name, plan.device, plan.rejected) == ("demo-cu124", "cpu", ())


@pytest.mark.parametrize("facts", [machine("5090", "470.82.01"), machine("3090", "580.82.07"), machine(problem="x")])
def test_the_cpu_is_taken_where_it_is_asked_for(matrix: Matrix, facts: HostFacts) -> None:
    plan = make_plan(matrix, "demo", facts, device="cpu")

    assert (plan.environment.name, plan.device) == ("demo-cpu", "cpu")


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_a_gpu_whose_driver_is_broken_is_an_error_and_never_the_cpu(matrix: Matrix, device: DeviceWish) -> None:
    facts = machine(problem="its driver does not answer: Driver/library version mismatch")

    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", facts, device=device)

    assert caught.value.message == (
        "there is an NVIDIA GPU, but its driver does not answer: Driver/library version mismatch"
    )
    assert (
        caught.value.hint
        == "`envkit doctor` says what is wrong with the driver; or give the GPU up with `--device cpu`"
    )


def test_a_machine_of_which_nothing_is_known_is_not_taken_for_one_without_a_gpu(matrix: Matrix) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", HostFacts())

    assert caught.value.message == "whether this machine has an NVIDIA GPU is not known"
    assert caught.value.hint == "say so with `--device gpu` or `--device cpu`"
    assert make_plan(matrix, "demo", HostFacts(), device="gpu").environment.name == "demo-cu130"
    assert make_plan(matrix, "demo", HostFacts(), device="cpu").environment.name == "demo-cpu"


def test_a_gpu_that_is_asked_for_must_be_there(matrix: Matrix) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", machine(), device="gpu")

    assert caught.value.message == "there is no NVIDIA GPU"
    assert caught.value.hint == "leave out `--device gpu`, or use `--device cpu`"


@pytest.mark.parametrize(("facts", "device"), [(machine(), "auto"), (machine("3090", "580.82.07"), "cpu")])
def test_a_framework_that_needs_a_gpu_is_not_run_on_the_cpu(
    matrix: Matrix, facts: HostFacts, device: DeviceWish
) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "solo", facts, device=device)

    assert caught.value.message.startswith("solo needs a GPU")
    assert caught.value.hint == "see `envkit list` for what runs on a CPU"


@pytest.mark.parametrize(("facts", "device"), [(machine(), "auto"), (machine("3090", "580.82.07"), "cpu")])
def test_an_app_of_it_that_needs_no_gpu_is_run_there(matrix: Matrix, facts: HostFacts, device: DeviceWish) -> None:
    plan = make_plan(matrix, "solo", facts, device=device, app="report")

    assert (plan.environment.name, plan.device) == ("solo-cu130", "cpu")
    with pytest.raises(NoPlanError, match=r"^solo needs a GPU, and there is none$"):
        make_plan(matrix, "solo", facts, device=device, app="train")


def test_a_gpu_that_is_there_is_not_given_up_for_it(matrix: Matrix) -> None:
    assert make_plan(matrix, "solo", machine("3090", "580.82.07"), app="report").device == "gpu"


# Names ----------------------------------------------------------------------------------------------------------------


def test_a_named_environment_is_judged_and_not_replaced(matrix: Matrix) -> None:
    with pytest.raises(NoPlanError) as caught:
        make_plan(matrix, "demo", machine("V100", "580.82.07"), environment="demo-cu130")

    assert caught.value.rejected == (("demo-cu130", (lacks("V100", NEW_CARRIES),)),)


def test_a_named_environment_is_taken_over_a_newer_one(matrix: Matrix) -> None:
    plan = make_plan(matrix, "demo", machine("T4", "580.82.07"), environment="demo-cu124")

    assert (plan.environment.name, plan.rejected) == ("demo-cu124", ())


def test_unknown_names_get_the_nearest_ones(matrix: Matrix) -> None:
    with pytest.raises(UsageError, match=r"^unknown framework: dmo$"):
        make_plan(matrix, "dmo", machine())
    with pytest.raises(UsageError, match=r"^unknown environment: demo-cu999$"):
        make_plan(matrix, "demo", machine(), environment="demo-cu999")


def test_an_environment_of_another_framework_is_refused(matrix: Matrix) -> None:
    with pytest.raises(NoPlanError, match=r"^solo-cu130 is no environment of demo$"):
        make_plan(matrix, "demo", machine("T4", "580.82.07"), environment="solo-cu130")


# One environment by itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "name", "expected"),
    [
        (machine("T4", "580.82.07"), "demo-cu130", Fit(True, "gpu")),
        (machine(), "demo-cu130", Fit(True, "cpu")),
        (
            machine(),
            "solo-cu130",
            Fit(False, "cpu", "needs a GPU", ("solo needs a GPU in it",)),
        ),
        (
            machine("T4", "550.54.14"),
            "demo-cu130",
            Fit(
                False,
                "gpu",
                "driver too old",
                ("driver 550.54.14 is older than 580.65.06, which CUDA 13.0 needs",),
            ),
        ),
        (machine("T4", "580.82.07"), "demo-cpu", Fit(False, "gpu", "CPU only", NO_CUDA[1])),
        (
            machine("V100 T4", "580.82.07"),
            "demo-cu130",
            Fit(
                False,
                "gpu",
                "not every GPU",
                (f"GPU 0 (Tesla V100-SXM2-16GB) has compute capability 7.0; {NEW_CARRIES}",),
            ),
        ),
        (
            machine("V100", "580.82.07"),
            "demo-cu130",
            Fit(
                False,
                "gpu",
                "no code for 7.0",
                (f"Tesla V100-SXM2-16GB has compute capability 7.0; {NEW_CARRIES}",),
            ),
        ),
        (
            HostFacts(),
            "demo-cu130",
            Fit(None, None, "not known", ("whether this machine has an NVIDIA GPU is not known",)),
        ),
        (
            HostFacts(gpus=(), gpu_problem="its driver does not answer"),
            "demo-cu130",
            Fit(None, None, "not known", ("there is an NVIDIA GPU, but its driver does not answer",)),
        ),
    ],
)
def test_an_environment_is_judged_by_itself(matrix: Matrix, facts: HostFacts, name: str, expected: Fit) -> None:
    found = judge_fit(matrix.environment(name), matrix, facts)

    assert (found.fits, found.device, found.short, found.reasons) == (
        expected.fits,
        expected.device,
        expected.short,
        expected.reasons,
    )


@pytest.mark.parametrize("driver", ["470.82.01", "550.54.14", "580.82.07"])
@pytest.mark.parametrize("models", ["", "K80", "P100", "V100", "T4", "4090", "5090", "V100 T4", "T4 5090"])
@pytest.mark.parametrize("framework", ["demo", "solo"])
def test_what_is_planned_fits_and_what_fits_is_planned(
    matrix: Matrix, framework: str, models: str, driver: str
) -> None:
    facts = machine(models, driver if models else None)
    fits = [each.name for each in matrix.environments(framework) if judge_fit(each, matrix, facts).fits]

    try:
        plan = make_plan(matrix, framework, facts)
    except NoPlanError:
        assert fits == []
    else:
        assert plan.environment.name in fits
        assert judge_fit(plan.environment, matrix, facts).warnings == plan.warnings
        unfit = {name for name, reasons in plan.rejected if f"{plan.environment.name} is " not in reasons[0]}
        assert set(fits) == {plan.environment.name} | {name for name, _ in plan.rejected} - unfit
