"""For every finding of an environment: one that sets it off, and the nearest ones that must not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
from packaging.requirements import Requirement

from envkit.audit.fault import Subject
from envkit.audit.known import known
from envkit.audit.seen import FileFault, Seen
from envkit.host.facts import Gpu, HostFacts
from envkit.matrix.schema import Driver, TorchStack
from tests.unit.audit.made import HEALTHY, fault, with_versions

if TYPE_CHECKING:
    from collections.abc import Mapping

MARKERS = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "python_full_version": "3.11.2",
    "python_version": "3.11",
    "sys_platform": "linux",
}
STACKS = (
    TorchStack(variant="cu130", source="x", torch="2.11.0", torchvision="0.26.0", torchaudio="2.11.0", triton="3.6.0"),
    TorchStack(variant="cu132", source="x", torch="2.15.0", torchvision="0.29.2", triton="3.9.0"),
)
DRIVERS = {"13": Driver(least="580.65.06", source="x"), "12": Driver(least="525.60.13", source="x")}
SOUND = Subject(
    msgspec.structs.replace(
        HEALTHY,
        sites=("/venv/lib/python3.11/site-packages",),
        markers=MARKERS,
        tags={"torch": ("cp311-cp311-manylinux_2_28_x86_64",), "demo": ("py3-none-any",)},
        recorded={"torch": 500, "demo": 20},
        requires={
            "torch": ("triton==3.6.0; platform_system == 'Linux'", "nvidia-cudnn-cu13==9.19.0.56"),
            "torchvision": ("torch==2.11.0", "numpy; extra == 'array'"),
            "demo": ("torch>=2.8", "pywin32; sys_platform == 'win32'"),
        },
    ),
    known(),
    stacks=STACKS,
    drivers=DRIVERS,
)
CARRIED = ("sm_75", "sm_80", "sm_90", "sm_120")


def with_seen(found: Seen, **changes: Any) -> Subject:
    """The sound environment with what `found` has in place of the healthy one's, and these changes."""
    fields = {
        name: getattr(found, name) for name in found.__struct_fields__ if getattr(found, name) != getattr(HEALTHY, name)
    }
    return replace(SOUND, seen=msgspec.structs.replace(SOUND.seen, **{**fields, **changes}))


def but(**changes: Any) -> Subject:
    """The sound environment with these changes to what was seen."""
    return with_seen(HEALTHY, **changes)


def asking(requires: Mapping[str, tuple[str, ...]], **versions: str | None) -> Subject:
    """The sound environment with these versions, of which these ask for something."""
    return with_seen(with_versions(**versions), requires={**SOUND.seen.requires, **requires})


def on(subject: Subject, gpu: str = "9.0", driver: str = "580.65.06", cuda: str = "13.0") -> Subject:
    """On a machine with such a GPU."""
    gpus = (Gpu(name="Card", compute_capability=gpu),)
    return replace(subject, facts=HostFacts(gpus=gpus, driver=driver, cuda_driver=cuda))


@dataclass(frozen=True)
class Trigger:
    """An environment with one fault."""

    id: str
    subject: Subject
    evidence: str
    otherwise: str = ""
    fine: tuple[Subject, ...] = ()
    """Environments that look alike and do not have it."""
    fix: str = ""
    """What one of the cures says."""


XFORMERS = fault("xformers/_C.so", "missing", "libcudart.so.12")
XFORMERS = msgspec.structs.replace(XFORMERS, distribution="xformers")
VISION = fault("torchvision/_C.so", "undefined", "_ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb", more=2)
NCCL = fault("torch/lib/libtorch_cuda.so", "undefined", "ncclDevCommDestroy", "torch/_C.so")
PURE = fault("demo/_fast.abi3.so", "undefined", "zstd_new")
GL = fault("cv2/cv2.abi3.so", "missing", "libGL.so.1")
CUBLAS = fault("torch/lib/libtorch_cuda.so", "missing", "libcublas.so.13", "torch/_C.so")
AUDIO_15 = with_versions(torch="2.15.0", torchvision="0.29.2", torchaudio="2.11.0", triton="3.9.0")
OLD_BITS = tuple(f"bitsandbytes/libbitsandbytes_{each}.so" for each in ("cpu", "cuda118", "cuda126", "cuda128"))
CU129 = {"torch": "12.9", "torchvision": "12.9", "torchaudio": "12.9"}
PLAIN = tuple(each for each in HEALTHY.distributions if "-cu13" not in each[0])
FLASH = "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
"""A wheel from a page of releases; its metadata says 2.8.3."""

TRIGGERS = [
    Trigger(
        "companion-of-another-cuda",
        with_seen(
            AUDIO_15, cuda={"torch": "13.2", "torchvision": "13.2", "torchaudio": "13.0"}, requires={}, sonames={}
        ),
        "torchaudio 2.11.0 was built for CUDA 13.0, torch 2.15.0 for CUDA 13.2",
        "RuntimeError: Detected that PyTorch and TorchAudio were compiled with different CUDA versions. PyTorch has CUDA"
        " version 13.2 whereas TorchAudio has CUDA version 13.0.",
        fine=(SOUND, but(cuda={"torch": "13.0"}), but(cuda={"torch": "13.0", "torchvision": "13.2"})),
        fix="`pip uninstall torchaudio`: there is none for torch 2.15.0",
    ),
    Trigger(
        "companion-of-a-near-cuda",
        but(cuda={"torch": "13.0", "torchvision": "13.2"}),
        "torchvision 0.26.0 was built for CUDA 13.2, torch 2.11.0 for CUDA 13.0",
        fine=(SOUND, but(cuda={"torch": "13.0", "torchvision": "12.8"})),
        fix="nothing while it works; else `pip install --no-deps 'torchvision==0.26.0'`, which goes with torch 2.11.0",
    ),
    Trigger(
        "built-for-another-cuda",
        with_seen(with_versions(xformers="0.0.32.post2"), linking=(XFORMERS,)),
        "xformers/_C.so needs libcudart.so.12, which is not there",
        "libcudart.so.12: cannot open shared object file: No such file or directory",
        fine=(
            with_seen(with_versions(xformers="0.0.35"), linking=(XFORMERS,)),  # says so, and goes on
            with_seen(with_versions(xformers="0.0.32.post2"), cuda={"torch": "12.8"}, linking=(XFORMERS,)),
        ),
    ),
    Trigger(
        "built-for-another-torch",
        but(linking=(VISION,), requires={"torchvision": ("torch==2.15.0",)}),
        "torchvision/_C.so: undefined symbol _ZN3c104cuda29c10_cuda_check_implementationEiPKcS2_jb, and 2 more;"
        " torchvision asks for torch==2.15.0",
        "RuntimeError: operator torchvision::nms does not exist",
        fine=(SOUND, but(linking=(PURE,)), but(linking=(NCCL,))),
    ),
    Trigger(
        "built-with-another-torch",
        with_seen(with_versions(xformers="0.0.35"), stated={"xformers": {"torch": "2.10.0+cu128", "cuda": "1208"}}),
        "xformers 0.0.35 was built with torch 2.10.0 and CUDA 12.8; here are torch 2.11.0 and CUDA 13.0",
        fine=(
            with_seen(with_versions(xformers="0.0.36"), stated={"xformers": {"torch": "2.11.0+cu130", "cuda": "1300"}}),
            with_seen(with_versions(flashinfer_jit_cache="0.7.2+cu130")),
            with_seen(with_versions(demo="1.0+git1234abc")),
            with_seen(with_versions(torch=None), stated={"xformers": {"torch": "2.10.0"}}, requires={}),
        ),
    ),
    Trigger(
        "libraries-of-torch-disagree",
        with_seen(
            with_versions(nvidia_nccl_cu13="2.27.7"),
            linking=(NCCL,),
            requires={"torch": ("nvidia-nccl-cu13==2.28.9",)},
        ),
        "torch/lib/libtorch_cuda.so: undefined symbol ncclDevCommDestroy; torch asks for nvidia-nccl-cu13==2.28.9, and"
        " 2.27.7 is installed",
        "/venv/lib/python3.11/site-packages/torch/lib/libtorch_cuda.so: undefined symbol: ncclDevCommDestroy",
        fine=(SOUND, but(linking=(VISION,))),
    ),
    Trigger(
        "packages-of-another-cuda",
        with_seen(with_versions(nvidia_nccl_cu12="2.27.3", nvidia_cublas_cu12="12.8")),
        "nvidia-nccl-cu12 2.27.3 is for CUDA 12, torch for CUDA 13; nvidia-cublas-cu12 12.8 is for CUDA 12, torch for CUDA 13",
        fine=(SOUND, with_seen(with_versions(torch=None, nvidia_nccl_cu12="2.27.3"), requires={})),
    ),
    Trigger(
        "libraries-of-another-cuda",
        but(sonames={"libcublas.so.12": "nvidia/cublas/lib/libcublas.so.12", "libcudnn.so.9": "nvidia/cudnn.so.9"}),
        "nvidia/cublas/lib/libcublas.so.12 is of CUDA 12, torch is for CUDA 13",
        fine=(SOUND,),
    ),
    Trigger(
        "no-library-for-this-cuda",
        with_seen(with_versions(bitsandbytes="0.47.0"), members=OLD_BITS),
        "bitsandbytes 0.47.0 has no libbitsandbytes_cuda130.so, which torch 2.11.0 (CUDA 13.0) asks for",
        "RuntimeError: Configured CUDA binary not found at"
        " /venv/lib/python3.11/site-packages/bitsandbytes/libbitsandbytes_cuda130.so",
        fine=(
            SOUND,
            with_seen(
                with_versions(bitsandbytes="0.50.2"), members=OLD_BITS, cuda=CU129, distributions=PLAIN, sonames={}
            ),
            with_seen(with_versions(bitsandbytes=None), members=()),
        ),
    ),
    Trigger(
        "must-be-of-one-version",
        with_seen(with_versions(flashinfer_python="0.7.2", flashinfer_cubin="0.6.13")),
        "flashinfer-python 0.7.2, flashinfer-cubin 0.6.13: they must be of one version",
        "RuntimeError: flashinfer-cubin version (0.6.13) does not match flashinfer version (0.7.2).",
        fine=(
            with_seen(with_versions(flashinfer_python="0.7.2", flashinfer_jit_cache="0.7.2+cu130")),
            with_seen(with_versions(flashinfer_python="0.7.2")),
        ),
    ),
    Trigger(
        "should-be-of-one-version",
        with_seen(with_versions(nvidia_cuda_nvcc="13.0.88", nvidia_nvvm="13.5.37")),
        "nvidia-cuda-nvcc 13.0.88, nvidia-nvvm 13.5.37: they must be of one version",
        "ptxas fatal   : Unsupported .version",
        fine=(with_seen(with_versions(nvidia_cuda_nvcc="13.0.88", nvidia_nvvm="13.0.96")),),
    ),
    Trigger(
        "library-missing",
        with_seen(with_versions(opencv_python="4.11"), linking=(GL,)),
        "cv2/cv2.abi3.so needs libGL.so.1, which is not there",
        "libGL.so.1: cannot open shared object file: No such file or directory",
        fine=(
            SOUND,
            but(linking=(fault("numba/np/ufunc/tbbpool.so", "missing", "libtbb.so.12"),)),
            but(linking=(fault("demo/_x.so", "missing", "libcut.so"),), cut={"demo.libs/libcut.so": "content"}),
        ),
        fix="`sudo apt-get install libgl1`; or `pip install opencv-python-headless` in place of opencv-python",
    ),
    Trigger(
        "library-missing",
        but(linking=(fault("rdkit.libs/libcairo.so.2", "missing", "libXrender.so.1"),)),
        "rdkit.libs/libcairo.so.2 needs libXrender.so.1, which is not there",
        "libXrender.so.1: cannot open shared object file: No such file or directory",
        fine=(SOUND,),
        fix="`sudo apt-get install libxext6 libxrender1`, which bring libX11",
    ),
    Trigger(
        "symbol-undefined",
        but(linking=(PURE,)),
        "demo/_fast.abi3.so: undefined symbol zstd_new",
        "/venv/lib/python3.11/site-packages/demo/_fast.abi3.so: undefined symbol: zstd_new",
        fine=(but(linking=(VISION,)),),
    ),
    Trigger(
        "glibc-too-old",
        but(linking=(fault("demo/_fast.abi3.so", "version", "libc.so.6 GLIBC_2.38"),)),
        "demo/_fast.abi3.so needs version GLIBC_2.38 of libc.so.6",
        "version `GLIBC_2.38' not found (required by /venv/lib/python3.11/site-packages/demo/_fast.abi3.so)",
        fine=(SOUND,),
    ),
    Trigger(
        "libstdcxx-too-old",
        but(linking=(fault("demo/_fast.abi3.so", "version", "libstdc++.so.6 GLIBCXX_3.4.32"),)),
        "demo/_fast.abi3.so needs version GLIBCXX_3.4.32 of libstdc++.so.6",
        "version `GLIBCXX_3.4.32' not found (required by /venv/lib/python3.11/site-packages/demo/_fast.abi3.so)",
        fine=(SOUND,),
    ),
    Trigger(
        "library-too-old",
        but(linking=(fault("demo/_fast.abi3.so", "version", "libnvJitLink.so.12 libnvJitLink.so.12"),)),
        "demo/_fast.abi3.so needs version libnvJitLink.so.12 of libnvJitLink.so.12",
        "version `libnvJitLink.so.12' not found (required by /venv/lib/python3.11/site-packages/demo/_fast.abi3.so)",
        fine=(SOUND,),
    ),
    Trigger(
        "library-cut-short",
        but(cut={"torch/lib/libtorch_cpu.so": "content"}),
        "torch/lib/libtorch_cpu.so is shorter than its own header says",
        "Bus error",
        fine=(SOUND, but(files=(FileFault("torch/lib/libtorch_cpu.so", ("torch",), "size"),))),
    ),
    Trigger(
        "requirement-refused",
        asking({"transformers": ("tokenizers<0.23,>=0.22",)}, transformers="5.6.0", tokenizers="0.20.3"),
        "transformers 5.6.0 asks for tokenizers>=0.22,<0.23, and 0.20.3 is installed",
        "ImportError: tokenizers>=0.22,<0.23 is required for a normal functioning of this module, but found"
        " tokenizers==0.20.3.",
        fine=(
            asking({"transformers": ("tokenizers<0.23,>=0.22",)}, transformers="5.6.0", tokenizers="0.22.1"),
            asking({"transformers": ("kernels<0.1; extra == 'kernels'",)}, transformers="5.6.0", kernels="0.16"),
            asking({"peft": ("tokenizers<0.20",)}, peft="0.18.1", tokenizers="0.22.1"),
        ),
    ),
    Trigger(
        "requirement-contradicted",
        asking({"demo": ("triton<3.5", "pywin32; sys_platform == 'win32'")}),
        "demo 1.0 asks for triton<3.5, and 3.6.0 is installed",
        fine=(
            SOUND,
            asking({"demo": ("torch==2.11.0+cpu",)}),  # another build of the same release
            asking({"demo": ("triton<3.5; python_version < '3.11'",)}),
            asking({"demo": ("triton[odd",)}),
            replace(asking({"demo": ("triton<3.5",)}), deliberate=(Requirement("triton==3.6.0"),)),
            but(linking=(VISION,), requires={"torchvision": ("torch==2.15.0",)}),  # its libraries say more
        ),
    ),
    Trigger(
        "requirement-missing",
        asking(
            {"torch": ("cuda-toolkit[cublas]==13.0.2",), "cuda-toolkit": ("nvidia-cublas==13.1.*; extra == 'cublas'",)},
            cuda_toolkit="13.0.2",
        ),
        "cuda-toolkit 13.0.2 asks for nvidia-cublas==13.1.*, which is not installed",
        fine=(
            SOUND,
            asking({"demo": ("opencv-python>=4.5",)}, opencv_python_headless="4.11"),
            asking({"demo": ("gradio; extra == 'page'",)}),
            replace(asking({"demo": ("gradio",)}), deliberate=(Requirement("gradio; python_version < '3'"),)),
        ),
    ),
    Trigger(
        "do-not-go-together",
        with_seen(with_versions(pyarrow="26.0.1", numpy="1.26.4")),
        "pyarrow 26.0.1 beside numpy 1.26.4, and no metadata forbids it",
        "ImportError: pyarrow requires NumPy 2.0 or newer, found 1.26.4",
        fine=(
            with_seen(with_versions(pyarrow="25.0.1", numpy="1.26.4")),
            with_seen(with_versions(pyarrow="26.0.1", numpy="2.4.6")),
        ),
        fix="`pip install 'pyarrow<26'`",
    ),
    Trigger(
        "built-for-numpy-1",
        with_seen(
            with_versions(pandas="2.1.4", numpy="2.4.6"),
            numpy={"pandas/_libs/lib.so": "C", "pandas/_libs/join.so": "C"},
        ),
        "pandas/_libs/lib.so asks for numpy.core.multiarray alone; pandas/_libs/join.so asks for numpy.core.multiarray alone",
        "A module that was compiled using NumPy 1.x cannot be run in",
        fine=(SOUND,),
    ),
    Trigger(
        "installed-twice",
        but(distributions=(*SOUND.seen.distributions, ("demo", "0.9"))),
        "versions 1.0 and 0.9; Python takes 1.0",
        fine=(SOUND, but(distributions=(*SOUND.seen.distributions, ("demo", "1.0")))),
    ),
    Trigger(
        "wheel-of-another-python",
        but(tags={"demo": ("cp310-cp310-manylinux_2_28_x86_64",)}),
        "its wheel is for cp310-cp310-manylinux_2_28_x86_64, this is Python 3.11",
        "No module named",
        fine=(
            but(tags={"demo": ("cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64",)}),
            but(tags={"demo": ("py2-none-any", "py3-none-any")}),
            but(tags={"demo": ("py39-none-manylinux_2_28_x86_64",)}),
            but(tags={"demo": ("cp311-cp311-linux_x86_64",)}),
            but(tags={"demo": ("nonsense",)}),
        ),
    ),
    Trigger(
        "package-hollow",
        but(files=tuple(FileFault(f"demo/{each}.py", ("demo",), "missing") for each in range(15))),
        "15 of the 20 files of demo 1.0 are gone: demo/0.py, demo/1.py, demo/2.py, and 12 more",
        "No module named",
        fine=(SOUND, but(files=(FileFault("demo/tests/x.py", ("demo",), "missing"),))),
    ),
    Trigger(
        "files-missing",
        but(files=(FileFault("demo/a.py", ("demo",), "missing"), FileFault("demo/b.py", ("demo",), "missing"))),
        "2 of the files of demo 1.0 are gone: demo/a.py, demo/b.py",
        fine=(SOUND,),
    ),
    Trigger(
        "library-changed",
        but(files=(FileFault("demo/_fast.abi3.so", ("demo",), "size"),)),
        "1 of demo 1.0: demo/_fast.abi3.so",
        fine=(
            SOUND,
            but(files=(FileFault("demo/a.py", ("demo",), "size"),)),
            but(files=(FileFault("PyNvVideoCodec/PyNvVideoCodec_130.so", ("demo",), "size"),)),
        ),
    ),
    Trigger(
        "files-changed",
        but(files=(FileFault("demo/a.py", ("demo",), "hash"),)),
        "1 of demo 1.0: demo/a.py",
        fine=(SOUND, but(files=(FileFault("certifi/cacert.pem", ("certifi",), "size"),))),
    ),
    Trigger(
        "files-of-two-packages",
        but(files=(FileFault("nvidia/nccl/lib/libnccl.so.2", ("nccl-cu12", "nccl-cu13"), "shared"),)),
        "1 claimed by nccl-cu12 and nccl-cu13, which disagree about them: nvidia/nccl/lib/libnccl.so.2",
        fine=(SOUND, but(files=(FileFault("tests/__init__.py", ("careless", "demo"), "shared"),))),
    ),
    Trigger(
        "driver-too-old-for-torch",
        on(SOUND, driver="550.54.14", cuda="12.4"),
        "driver 550.54.14; torch 2.11.0 is for CUDA 13.0, which needs 580.65.06 or later",
        "The NVIDIA driver on your system is too old (found version 12040).",
        fine=(SOUND, on(SOUND), on(SOUND, driver="550.54.14", cuda="13.0")),  # the last: CUDA's compatibility package
    ),
    Trigger(
        "no-code-for-this-gpu",
        on(but(architectures=CARRIED), gpu="7.0"),
        "compute capability 7.0; torch 2.11.0 carries sm_75, sm_80, sm_90, sm_120",
        "CUDA error: no kernel image is available for execution on the device",
        fine=(
            on(but(architectures=CARRIED), gpu="8.9"),
            on(but(architectures=(*CARRIED, "compute_120")), gpu="13.0"),
            on(SOUND, gpu="7.0"),  # not known
            but(architectures=CARRIED),
        ),
    ),
    Trigger(
        "torch-without-cuda",
        on(but(cuda={}, sonames={}, distributions=PLAIN)),
        "torch 2.11.0 is built without CUDA; here is a Card",
        "Torch not compiled with CUDA enabled",
        fine=(but(cuda={}), on(SOUND)),
    ),
]
