"""What follows from what was seen inside made-up environments: healthy ones raise no alarm, broken ones name the break."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from envkit.audit.check import Check, overall
from envkit.audit.judge import (
    judge_cli,
    judge_companions,
    judge_imports,
    judge_installed,
    judge_linked,
    judge_variables,
    variables_of,
)
from envkit.audit.known import known
from envkit.audit.seen import Answer, FileFault
from envkit.matrix.schema import App, AppAuth, AppBind, AppPort, Framework, Toolkit, TorchStack, Unread
from tests.unit.audit.made import HEALTHY, LOCKED, Words, fault, seen, with_versions

STACK = TorchStack(
    variant="cu130", source="x", torch="2.11.0", torchvision="0.26.0", torchaudio="2.11.0", triton="3.6.0"
)
SERVE = App(
    about="serves",
    argv=["demo", "serve"],
    port=AppPort(option="--port", default=8000),
    bind=AppBind(option="--host"),
)
HELP = "usage: demo serve [--host HOST] [--port PORT]"


def framework(**changes: Any) -> Framework:
    given = {"apps": {"serve": SERVE}, "imports": ["torch", "demo"], **changes}
    return Framework(name="demo", title="Demo", home="https://demo.example/", package="demo", cpu=True, **given)


# Installed ------------------------------------------------------------------------------------------------------------


def test_an_environment_that_is_its_lock_is_installed() -> None:
    check = judge_installed(HEALTHY, LOCKED, known())

    assert (check.result, check.detail) == ("pass", "7 packages, exactly the lock; 700 files")
    assert check.metrics == {"packages": 7, "files": 700}


def test_a_version_that_is_written_another_way_is_the_same() -> None:
    assert judge_installed(with_versions(demo="1.0.0"), {**LOCKED, "demo": "1.0"}, known()).result == "pass"


def test_what_differs_from_the_lock_is_named() -> None:
    there = with_versions(torch="2.15.0", triton=None, gradio="6.0")
    twice = seen(distributions=(*there.distributions, ("demo", "1.1")))

    assert judge_installed(twice, LOCKED, known()).faults == (
        "torch 2.15.0 is installed, the lock has 2.11.0",
        "demo is there 2 times: 1.0, 1.1",
        "gradio 6.0 is not in the lock",
        "triton 3.6.0 is not installed",
    )


def test_files_that_were_changed_are_named_and_careless_ones_are_not() -> None:
    files = (
        FileFault("nvidia/nccl/lib/libnccl.so.2", ("nvidia-nccl-cu12", "nvidia-nccl-cu13"), "shared"),
        FileFault("tests/__init__.py", ("careless", "demo"), "shared"),
        FileFault("torch/version.py", ("torch",), "missing"),
        FileFault("demo/cli.py", ("demo",), "size"),
        FileFault("PyNvVideoCodec/PyNvVideoCodec_130.so", ("pynvvideocodec",), "size"),
    )

    assert judge_installed(seen(files=files), LOCKED, known()).faults == (
        "nvidia/nccl/lib/libnccl.so.2 is claimed by nvidia-nccl-cu12 and nvidia-nccl-cu13, which disagree about it",
        "torch/version.py of torch is gone",
        "demo/cli.py of demo was changed",
    )


# Companions -----------------------------------------------------------------------------------------------------------


def test_companions_that_agree() -> None:
    check = judge_companions(HEALTHY, STACK, known())

    assert (check.result, check.detail) == ("pass", "torch 2.11.0, CUDA 13.0")


def test_a_torchvision_for_another_cuda_is_noticed() -> None:
    """torchvision 0.29.2 asks for torch from 2.14 on, and beside 2.14.1 it is one for CUDA 13.2 beside 13.0."""
    there = with_versions(torch="2.14.1", torchvision="0.29.2", torchaudio=None)
    stack = TorchStack(variant="cu130", source="x", torch="2.14.1", torchvision="0.29.2", triton="3.6.0")

    check = judge_companions(
        seen(distributions=there.distributions, cuda={"torch": "13.0", "torchvision": "13.2"}), stack, known()
    )

    assert check.faults == ("torchvision 0.29.2 was built for CUDA 13.2, torch 2.14.1 for CUDA 13.0",)


def test_a_torch_that_is_not_the_stack_s_is_noticed() -> None:
    assert judge_companions(with_versions(torch="2.15.0", triton=None), STACK, known()).faults == (
        "torch 2.15.0 is installed, the torch stack has 2.11.0",
        "triton 3.6.0 of the torch stack is not installed",
    )


def test_what_compiles_belongs_to_the_stack_whatever_its_extras() -> None:
    toolkit = Toolkit(require=["cuda-toolkit[crt,nvcc]==13.0.3", "nvidia-nvjitlink==13.0.88"], source="x")
    stack = replace(STACK, toolkit=toolkit)

    whole = with_versions(cuda_toolkit="13.0.3.0", nvidia_nvjitlink="13.0.88")
    assert judge_companions(whole, stack, known()).result == "pass"
    assert judge_companions(with_versions(nvidia_nvjitlink="13.5.37"), stack, known()).faults == (
        "cuda-toolkit 13.0.3 of the torch stack is not installed",
        "nvidia-nvjitlink 13.5.37 is installed, the torch stack has 13.0.88",
    )


def test_a_second_cuda_is_noticed() -> None:
    there = with_versions(nvidia_nccl_cu12="2.27.3")
    sonames = {**HEALTHY.sonames, "libcublas.so.12": "nvidia/cublas/lib/libcublas.so.12"}

    assert judge_companions(seen(distributions=there.distributions, sonames=sonames), STACK, known()).faults == (
        "nvidia-nccl-cu12 2.27.3 is for CUDA 12, torch for CUDA 13",
        "nvidia/cublas/lib/libcublas.so.12 is of CUDA 12, torch is for CUDA 13",
    )


def test_a_bitsandbytes_without_torch_s_cuda_is_noticed() -> None:
    old = with_versions(bitsandbytes="0.45.5")
    members = tuple(each for each in HEALTHY.members if "130" not in each)

    assert judge_companions(seen(distributions=old.distributions, members=members), STACK, known()).faults == (
        "bitsandbytes 0.45.5 has no libbitsandbytes_cuda130.so, which torch 2.11.0 (CUDA 13.0) asks for",
    )


@pytest.mark.parametrize(
    ("cuda", "faults"),
    [
        ("12.9", ()),  # cuda128 serves
        ("12.4", ()),  # cuda126 does
        ("13.2", ()),
        ("11.0", ()),
        ("14.0", ("bitsandbytes 0.50.2 has no libbitsandbytes_cuda140.so, which torch 2.11.0 (CUDA 14.0) asks for",)),
    ],
)
def test_a_new_bitsandbytes_takes_the_nearest_of_the_same_major(cuda: str, faults: tuple[str, ...]) -> None:
    there = seen(
        cuda={"torch": cuda}, sonames={}, distributions=[each for each in HEALTHY.distributions if "cu" not in each[0]]
    )

    assert judge_companions(there, STACK, known()).faults == faults


def test_flashinfer_s_three_packages_must_be_of_one_version() -> None:
    good = with_versions(flashinfer_python="0.7.2", flashinfer_jit_cache="0.7.2+cu130")
    bad = with_versions(flashinfer_python="0.7.2", flashinfer_cubin="0.6.13")

    assert judge_companions(good, STACK, known()).result == "pass"
    assert judge_companions(bad, STACK, known()).faults == (
        "flashinfer-python 0.7.2, flashinfer-cubin 0.6.13: they must be of one version",
    )


def test_an_environment_without_torch_has_no_companions() -> None:
    none = seen(distributions=(("demo", "1.0"),), cuda={}, sonames={}, members=())

    check = judge_companions(none, TorchStack(variant="cpu", source="x"), known())

    assert (check.result, check.detail) == ("pass", "no torch in it")


# Linked ---------------------------------------------------------------------------------------------------------------


def test_a_library_that_would_not_load_is_told_with_its_reason() -> None:
    linking = (
        fault("torch/lib/libtorch_cuda.so", "undefined", "ncclDevCommDestroy", "torch/_C.so", more=3),
        fault("torch/lib/libtorch_cuda.so", "missing", "libcublas.so.13", "torch/_C.so"),
        fault("demo/_fast.abi3.so", "version", "libc.so.6 GLIBC_2.38"),
    )

    check = judge_linked(seen(linking=linking), known())

    assert (check.result, check.detail, check.seconds) == ("fail", "3 faults", 2.0)
    assert check.faults == (
        "torch/lib/libtorch_cuda.so: undefined symbol ncclDevCommDestroy, and 3 more",
        "torch/lib/libtorch_cuda.so needs libcublas.so.13, which is not there",
        "demo/_fast.abi3.so needs version GLIBC_2.38 of libc.so.6",
    )


def test_the_libraries_of_a_family_that_are_not_taken_may_lack_anything() -> None:
    others = tuple(
        fault(f"bitsandbytes/libbitsandbytes_{each}.so", "missing", "libx") for each in ("cuda118", "cuda126")
    )
    taken = fault("bitsandbytes/libbitsandbytes_cuda130.so", "missing", "libcublas.so.13")

    assert judge_linked(seen(linking=others), known()).result == "pass"
    assert judge_linked(seen(linking=(*others, taken)), known()).faults == (
        "bitsandbytes/libbitsandbytes_cuda130.so needs libcublas.so.13, which is not there",
    )


@pytest.mark.parametrize(
    ("torch", "faults"),
    [
        ("2.9.1", ("torch_c_dlpack_ext/libtorch_c_dlpack_addon_torch29-cuda.so: undefined symbol x",)),
        ("2.10.0", ()),
    ],
)
def test_a_family_may_have_one_library_for_each_torch(torch: str, faults: tuple[str, ...]) -> None:
    there = with_versions(torch=torch, torch_c_dlpack_ext="0.1.5").distributions
    name = "torch_c_dlpack_ext/libtorch_c_dlpack_addon_torch{}.so"
    members = tuple(name.format(each) for each in ("28-cuda", "29-cuda"))
    linking = tuple(fault(each, "undefined", "x") for each in members)

    environment = seen(distributions=there, members=(*HEALTHY.members, *members), linking=linking)

    assert judge_linked(environment, known()).faults == faults
    missing = (
        "torch-c-dlpack-ext 0.1.5 has no libtorch_c_dlpack_addon_torch29-cpu.so, which torch 2.9.1 (CUDA 13.0) asks for"
    )
    assert (missing in judge_companions(environment, STACK, known()).faults) == bool(faults)


def test_what_a_package_does_without_is_no_fault_unless_something_else_brings_it() -> None:
    library, root = "torio/lib/libtorio_ffmpeg4.so", "torio/lib/_torio_ffmpeg4.so"

    assert judge_linked(seen(linking=(fault(library, "missing", "libavutil.so.56", root),)), known()).result == "pass"
    shared = fault(library, "missing", "libavutil.so.56", root, "demo/_video.abi3.so")
    assert judge_linked(seen(linking=(shared,)), known()).result == "fail"


@pytest.mark.parametrize(("version", "result"), [("0.0.35", "pass"), ("0.0.32.post2", "fail")])
def test_xformers_does_without_its_kernels_since_it_says_so(version: str, result: str) -> None:
    there = with_versions(xformers=version).distributions
    linking = (fault("xformers/_C.so", "missing", "libcudart.so.12"),)

    assert judge_linked(seen(distributions=there, linking=linking), known()).result == result


# Imports --------------------------------------------------------------------------------------------------------------

BROKEN = (
    "Traceback (most recent call last):\n  File x\nImportError: libcudart.so.12: cannot open\n@@ not imported: demo\n"
)
ALONE = "Traceback\nNotImplementedError: Unsloth cannot find any torch accelerator? You need a GPU.\n@@ not imported: demo\n"


def test_modules_that_import() -> None:
    check = judge_imports(Words("a warning\n").answer, framework(), gpu=False)

    assert (check.result, check.detail, check.seconds) == ("pass", "torch, demo", 1.5)


def test_a_module_that_does_not_import_is_named_with_its_error() -> None:
    check = judge_imports(Words(BROKEN, status=1).answer, framework(), gpu=False)

    assert check.faults == ("demo: ImportError: libcudart.so.12: cannot open",)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (139, "`import torch demo` ended with status 139: loading"),
        (None, "`import torch demo` did not end in time: loading"),
        (1, "`import torch demo` ended with status 1: loading"),
    ],
)
def test_imports_that_crash_or_hang_fail(status: int | None, words: str) -> None:
    check = judge_imports(Words("loading\n", status=status).answer, framework(), gpu=False)

    assert (check.result, check.faults) == ("fail", (words,))


def test_what_needs_a_gpu_is_skipped_without_one_and_fails_with_one() -> None:
    picky = framework(without_gpu=["cannot find any torch accelerator"])

    skipped = judge_imports(Words(ALONE, status=1).answer, picky, gpu=False)
    failed = judge_imports(Words(ALONE, status=1).answer, picky, gpu=True)
    other = judge_imports(Words(BROKEN, status=1).answer, picky, gpu=False)

    assert (skipped.result, skipped.detail) == (
        "skip",
        "demo: needs a GPU: NotImplementedError: Unsloth cannot find any torch accelerator? You need a GPU.",
    )
    assert (failed.result, other.result) == ("fail", "fail")


def test_a_failure_is_not_hidden_behind_what_needs_a_gpu() -> None:
    both = ALONE + BROKEN.replace(": demo", ": trl")

    check = judge_imports(Words(both, status=1).answer, framework(without_gpu=["torch accelerator"]), gpu=False)

    assert (check.result, check.faults) == ("fail", ("trl: ImportError: libcudart.so.12: cannot open",))


# Programs -------------------------------------------------------------------------------------------------------------


def cli(answer: Answer, **changes: Any) -> Check:
    return judge_cli(HEALTHY, {("demo", "serve", "--help"): answer}, framework(**changes), gpu=False)


def test_a_program_that_knows_its_options() -> None:
    check = cli(Words(HELP).answer)

    assert (check.result, check.detail, check.metrics) == ("pass", "1 app", {"apps": 1})


@pytest.mark.parametrize("words", [HELP.replace("--port", "--server-port"), HELP.replace("--port", "--port-range")])
def test_an_option_that_is_gone_is_noticed(words: str) -> None:
    assert cli(Words(words).answer).faults == ("serve: `demo serve --help` does not know --port",)


def test_a_help_that_fails_is_told_with_its_last_words() -> None:
    check = cli(Words("Traceback\nModuleNotFoundError: No module named 'gradio'\n", status=1).answer)

    assert check.faults == (
        "serve: `demo serve --help` ended with status 1: ModuleNotFoundError: No module named 'gradio'",
    )


def test_a_help_that_needs_a_gpu_is_skipped() -> None:
    check = cli(Words("RuntimeError: Failed to infer device type\n", status=1).answer, without_gpu=["infer device"])

    assert (check.result, check.detail) == ("skip", "serve: needs a GPU: RuntimeError: Failed to infer device type")


def test_a_program_that_is_not_there_is_noticed_even_where_nothing_prints_options() -> None:
    page = App(about="a page", argv=["demo-web"], help=[])

    check = judge_cli(HEALTHY, {}, framework(apps={"page": page}), gpu=False)

    assert check.faults == ("page: there is no program demo-web",)


def test_options_that_cannot_be_looked_up_are_a_fault_and_variables_are_not() -> None:
    told = App(about="x", argv=["demo"], port=AppPort(option="--port", default=1), help=[])
    quiet = App(about="x", argv=["demo"], port=AppPort(env="DEMO_PORT", default=1), help=[])

    check = judge_cli(HEALTHY, {}, framework(apps={"told": told, "quiet": quiet}), gpu=False)
    fine = judge_cli(HEALTHY, {}, framework(apps={"quiet": quiet}), gpu=False)

    assert check.faults == ("told: nothing prints its options, so --port cannot be looked up",)
    assert fine.detail == "1 app, 1 of them without a help to ask for"


# Variables ------------------------------------------------------------------------------------------------------------


def test_a_variable_that_nothing_reads_is_named() -> None:
    api = App(
        about="an API",
        argv=["demo"],
        port=AppPort(env="DEMO_PORT", default=1),
        bind=AppBind(env="DEMO_HOST"),
        auth=AppAuth(env="DEMO_KEY"),
    )
    given = framework(
        apps={"api": api}, env={"DEMO_QUIET": "1"}, pass_env=["DEMO_GONE"], secrets=["DEMO_KEY", "HF_TOKEN"]
    )

    check = judge_variables(HEALTHY, given)

    assert variables_of(given) == ["DEMO_GONE", "DEMO_HOST", "DEMO_KEY", "DEMO_PORT", "DEMO_QUIET", "HF_TOKEN"]
    assert (check.result, check.faults) == ("fail", ("nothing that is installed reads DEMO_GONE",))
    gone = Unread(variables=["DEMO_GONE"], source="x")
    assert judge_variables(HEALTHY, given, gone).detail == "5 variables are read"
    wrong = Unread(variables=["DEMO_GONE", "DEMO_KEY"], source="x")
    assert judge_variables(HEALTHY, given, wrong).faults == (
        "DEMO_KEY is read, and envmatrix.yaml says that nothing reads it",
    )


def test_the_worst_check_decides() -> None:
    def check(result: Any) -> Check:
        return Check("imports", result, "")

    assert overall([check("pass"), check("pass")]) == "pass"
    assert overall([check("pass"), check("skip")]) == "skip"
    assert overall([check("skip"), check("fail")]) == "fail"
    assert overall([check("fail"), check("error")]) == "error"
