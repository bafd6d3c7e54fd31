"""The program that looks at an environment, on real libraries that are whole or broken, without importing any of them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import msgspec
import pytest

from envkit.audit.ask import program
from envkit.audit.seen import Seen
from tests.integration.conftest import skip

MODULE = """\
#include <Python.h>
extern int lent(void);
static struct PyModuleDef def = {PyModuleDef_HEAD_INIT, "%(name)s", 0, -1, 0};
PyMODINIT_FUNC PyInit_%(name)s(void) { return lent() ? PyModule_Create(&def) : 0; }
"""
LENDER = "int lent(void) { return 1; }\nint spare(void) { return 2; }\n"


class Environment:
    """A venv without anything, and what a test installs into it."""

    def __init__(self, folder: Path) -> None:
        """Makes it."""
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.folder = folder
        self.site = Path(next((folder / "lib").glob("python*"))) / "site-packages"

    def install(
        self, name: str, *paths: str, requires: tuple[str, ...] = (), claims: dict[str, str] | None = None
    ) -> None:
        """Metadata for these files, which are there; `claims` are files with hashes that may be wrong."""
        info = self.site / f"{name}-1.0.dist-info"
        info.mkdir()
        needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}\n")
        rows = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
        for path in paths:
            content = (self.site / path).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            rows.append(f"{path},sha256={digest},{len(content)}")
        rows += [f"{path},sha256={digest},1" for path, digest in (claims or {}).items()]
        (info / "RECORD").write_text("\n".join(rows) + "\n")

    def describe(self, name: str, version: str, more: str = "") -> Path:
        """Metadata alone."""
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}\n")
        return info

    def compile(self, path: str, source: str, *options: str) -> Path:
        """A shared library, by the system's compiler."""
        target = self.site / path
        target.parent.mkdir(parents=True, exist_ok=True)
        include = f"-I{sysconfig.get_paths()['include']}"
        argv = ["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", include, "-o", target, *options]
        done = subprocess.run(argv, input=source, capture_output=True, text=True, errors="replace", check=False)
        assert done.returncode == 0, done.stderr
        return target

    def module(self, name: str, *options: str, package: str = "demo") -> None:
        """An extension module that borrows a function from liblender.so."""
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        self.compile(f"{package}/{name}{suffix}", MODULE % {"name": name}, *options)

    def files(self) -> list[str]:
        """All that is there but metadata."""
        every = [str(each.relative_to(self.site)) for each in self.site.rglob("*") if each.is_file()]
        return sorted(each for each in every if ".dist-info" not in each)

    def seen(self, **questions: Any) -> Seen:
        """What the program says."""
        silent = dict.fromkeys(("torch_loads", "cuda_of", "families", "programs", "variables"), ()) | {
            "stated": {},
            "deep": False,
            "installers": (),
            "folders": (),
        }
        asked = {"driver_libraries": ["libcuda.so.1"], **silent}
        argv = [self.folder / "bin/python", "-I", "-S", "-c", program("probe"), json.dumps({**asked, **questions})]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return msgspec.json.decode(done.stdout, type=Seen)

    def linking(self) -> list[tuple[str, str, str]]:
        """What would not load: library, kind, and what is the matter."""
        return [(Path(each.library).name.split(".")[0], each.kind, each.what) for each in self.seen().linking]

    def imports(self, module: str) -> str:
        """What Python itself says of importing it: its last line, empty if it works."""
        done = subprocess.run(
            [self.folder / "bin/python", "-I", "-c", f"import {module}"], capture_output=True, text=True, check=False
        )
        return done.stderr.strip().splitlines()[-1] if done.returncode else ""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    if not shutil.which("gcc") or not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        skip("needs gcc and Python.h")
    return Environment(tmp_path / "venv")


def lend(environment: Environment, *options: str, source: str = LENDER, path: str = "demo.libs/liblender.so") -> str:
    """The lender and the options that link with it."""
    library = environment.compile(path, source, f"-Wl,-soname,{Path(path).name}", *options)
    return f"-L{library.parent}"


def test_a_module_that_finds_its_library_by_rpath_or_runpath_is_sound(environment: Environment) -> None:
    where = lend(environment)
    for name, tags in {"old": "--disable-new-dtags", "new": "--enable-new-dtags"}.items():
        environment.module(name, where, "-llender", f"-Wl,{tags},-rpath,$ORIGIN/../demo.libs")
    environment.install("demo", *environment.files())

    assert (environment.imports("demo.old"), environment.imports("demo.new")) == ("", "")
    assert environment.linking() == []
    assert environment.seen().libraries == 3


def test_rpath_reaches_the_libraries_below_and_runpath_does_not(environment: Environment) -> None:
    where = lend(environment)
    middle = "extern int lent(void); int between(void) { return lent(); }"
    environment.compile("demo.libs/libmiddle.so", middle, "-Wl,-soname,libmiddle.so", where, "-llender")
    borrow = ["-Wl,--no-as-needed", where, "-lmiddle", "-Wl,--allow-shlib-undefined", "-Wl,-z,lazy"]
    environment.module("old", *borrow, "-Wl,--disable-new-dtags,-rpath,$ORIGIN/../demo.libs")
    environment.install("lent", *environment.files())
    assert environment.imports("demo.old") == ""
    assert environment.linking() == []

    environment.module("new", *borrow, "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../demo.libs", package="other")
    owned = [each for each in environment.files() if each.startswith("other/")]
    environment.install("other", *owned)
    assert "liblender.so: cannot open shared object file" in environment.imports("other.new")
    assert environment.linking() == [("libmiddle", "missing", "liblender.so")]


def test_a_library_that_is_gone_is_missing_and_hides_its_symbols(environment: Environment) -> None:
    where = lend(environment)
    environment.module("fast", where, "-llender", "-Wl,-rpath,$ORIGIN/../demo.libs")
    (environment.site / "demo.libs/liblender.so").unlink()
    environment.install("demo", *environment.files())

    assert "liblender.so: cannot open shared object file" in environment.imports("demo.fast")
    assert environment.linking() == [("fast", "missing", "liblender.so")]


def test_a_symbol_that_an_older_library_lacks_is_undefined(environment: Environment) -> None:
    where = lend(environment)
    environment.module("fast", where, "-llender", "-Wl,-rpath,$ORIGIN/../demo.libs")
    lend(environment, source="int spare(void) { return 2; }")
    environment.install("demo", *environment.files())

    assert environment.imports("demo.fast").endswith("undefined symbol: lent")
    assert environment.linking() == [("fast", "undefined", "lent")]


def test_a_weak_symbol_may_be_undefined(environment: Environment) -> None:
    source = (MODULE % {"name": "weak"}).replace(
        "extern int lent(void);", "extern int lent(void) __attribute__((weak));"
    )
    environment.compile(f"demo/weak{sysconfig.get_config_var('EXT_SUFFIX')}", source.replace("lent() ?", "!lent ?"))
    environment.install("demo", *environment.files())

    assert environment.imports("demo.weak") == ""
    assert environment.linking() == []


def test_a_version_that_a_library_does_not_have_is_noticed(environment: Environment, tmp_path: Path) -> None:
    nodes = {name: tmp_path / name for name in ("old", "new")}
    nodes["new"].write_text("LEND_2.0 { global: lent; };\n")
    nodes["old"].write_text("LEND_1.0 { global: lent; };\n")
    where = lend(environment, f"-Wl,--version-script={nodes['new']}")
    environment.module("fast", where, "-llender", "-Wl,-rpath,$ORIGIN/../demo.libs")
    lend(environment, f"-Wl,--version-script={nodes['old']}")
    environment.install("demo", *environment.files())

    assert "version `LEND_2.0' not found" in environment.imports("demo.fast")
    assert ("fast", "version", "liblender.so LEND_2.0") in environment.linking()


def test_what_a_package_that_is_asked_for_brings_counts_as_loaded(environment: Environment) -> None:
    """Python code of packages loads libraries first, as `apache-tvm-ffi` does for xgrammar."""
    where = lend(environment, path="lender/liblender.so")
    environment.module("fast", where, "-llender")
    lender, module = sorted(environment.files(), key=lambda each: "demo" in each)
    environment.install("lender", lender)
    environment.install("demo", module, requires=("lender>=1",))
    assert environment.linking() == []

    environment.install("stranger")
    (environment.site / "demo-1.0.dist-info/METADATA").write_text("Name: demo\nVersion: 1.0\nRequires-Dist: stranger\n")
    assert environment.linking() == [("fast", "missing", "liblender.so")]


def test_what_torch_loads_at_its_import_is_there_for_those_who_need_torch(environment: Environment) -> None:
    lender = environment.compile("nvidia/liblender.so.13", LENDER, "-Wl,-soname,liblender.so.13")
    environment.compile("torch/libtorch.so", "int tensor(void) { return 3; }", "-Wl,-soname,libtorch.so")
    environment.module("fast", str(lender))
    environment.install("nvidia", "nvidia/liblender.so.13")
    environment.install("torch", "torch/libtorch.so")
    environment.install("demo", next(each for each in environment.files() if "demo" in each), requires=("torch",))
    assert environment.linking() == [("fast", "missing", "liblender.so.13")]

    assert environment.seen(torch_loads=["liblender.so.*"]).linking == ()

    (environment.site / "demo-1.0.dist-info/METADATA").write_text("Name: demo\nVersion: 1.0\n\n")
    assert len(environment.seen(torch_loads=["liblender.so.*"]).linking) == 1


def test_the_driver_s_libraries_and_plugins_that_nobody_needs_are_no_fault(environment: Environment) -> None:
    stub = environment.compile("libcuda.so.1", "int cuInit(int flags) { return flags; }", "-Wl,-soname,libcuda.so.1")
    source = (MODULE % {"name": "gpu"}).replace("lent", "cuInit").replace("(void);", "(int);", 1)
    source = source.replace("cuInit()", "cuInit(1)")
    environment.compile(f"demo/gpu{sysconfig.get_config_var('EXT_SUFFIX')}", source, str(stub))
    environment.compile("demo/libplugin.so", "extern int nobody(void); int plug(void) { return nobody(); }")
    stub.unlink()
    environment.install("demo", *environment.files())

    if shutil.which("nvidia-smi"):
        skip("needs a machine without a driver")
    assert environment.linking() == []


def test_a_module_for_another_python_is_not_looked_at(environment: Environment) -> None:
    environment.compile("demo/fast.cpython-27-x86_64-linux-gnu.so", MODULE % {"name": "fast"})
    environment.install("demo", *environment.files(), requires=("torch",))
    environment.install("torch")

    assert environment.linking() == []


def test_a_library_for_another_python_is_not_looked_at_where_its_package_needs_torch(environment: Environment) -> None:
    environment.compile("torch/libtorch.so", "int tensor(void) { return 3; }", "-Wl,-soname,libtorch.so")
    environment.install("torch", "torch/libtorch.so")
    other = "kernels/_C.cpython-399-x86_64-linux-gnu.so"
    environment.compile(other, "extern int PyFuture(void); int run(void) { return PyFuture(); }")
    environment.install("kernels", other, requires=("torch",))
    assert environment.linking() == []

    (environment.site / other).rename(environment.site / "kernels/libkernels.so")
    environment.install("more-kernels", "kernels/libkernels.so", requires=("torch",))
    assert environment.linking() == [("libkernels", "undefined", "PyFuture")]


def test_a_library_that_ends_too_early_is_told_as_what_it_is(environment: Environment) -> None:
    where = lend(environment, source=LENDER + "char space[1 << 20] = {1};")
    environment.module("fast", where, "-llender", "-Wl,-rpath,$ORIGIN/../demo.libs")
    environment.install("demo", *environment.files())
    library = environment.site / "demo.libs/liblender.so"
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])

    seen = environment.seen()

    assert seen.cut == {"demo.libs/liblender.so": "content"}
    assert [each.fault for each in seen.files] == ["size"]
    crashed = subprocess.run([environment.folder / "bin/python", "-c", "import demo.fast"], check=False).returncode
    assert crashed == -signal.SIGBUS

    library.write_bytes(whole[:50])
    assert environment.seen().cut == {"demo.libs/liblender.so": "header"}
    assert "file too short" in environment.imports("demo.fast")


def test_a_library_that_lacks_nothing_but_its_sections_is_whole(environment: Environment) -> None:
    """The loader reads segments; what a `strip` gone wrong takes away behind them is no one's loss."""
    where = lend(environment)
    environment.module("fast", where, "-llender", "-Wl,-rpath,$ORIGIN/../demo.libs")
    environment.install("demo", *environment.files())
    library = environment.site / "demo.libs/liblender.so"
    whole = library.read_bytes()
    library.write_bytes(whole[:-200])

    assert environment.seen().cut == {}
    assert environment.imports("demo.fast") == ""


def test_modules_of_numpy_1_are_named_where_numpy_2_is(environment: Environment) -> None:
    words = {"old": ["numpy.core.multiarray failed to import"], "both": ["numpy.core._multiarray_umath", "numpy._core"]}
    for name, each in words.items():
        text = "".join(f'const char *word{number} = "{word}";' for number, word in enumerate(each))
        source = f"{MODULE % {'name': name}}\nint lent(void) {{ return 1; }}\n{text}"
        environment.compile(f"demo/{name}{sysconfig.get_config_var('EXT_SUFFIX')}", source)
    environment.install("demo", *environment.files())
    assert environment.seen().numpy == {}

    environment.describe("numpy", "2.4.6")
    assert [(Path(path).name.split(".")[0], what) for path, what in environment.seen().numpy.items()] == [("old", "C")]


def test_what_packages_say_of_themselves_is_read(environment: Environment) -> None:
    info = environment.describe(
        "Flash_Attn", "2.8.3", "Requires-Dist: torch>=2.2\nRequires-Dist: pytest; extra == 'test'\n"
    )
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: cp311-cp311-linux_x86_64\n")
    wheel = "flash_attn-2.8.3%2Bcu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"
    (info / "direct_url.json").write_text(f'{{"archive_info": {{}}, "url": "https://files.example/v2.8.3/{wheel}"}}')
    (environment.site / "xformers").mkdir()
    (environment.site / "xformers/cpp_lib.json").write_text('{"version": {"cuda": 1208, "torch": "2.10.0+cu128"}}')
    (environment.site / "old.egg-info").write_text("Metadata-Version: 1.1\nName: old\nVersion: 0.9\n")

    stated = {"xformers": {"file": "xformers/cpp_lib.json", "patterns": {"torch": '"torch": "([^"]+)'}}}
    seen = environment.seen(stated=stated)

    assert seen.distributions == (("flash-attn", "2.8.3"), ("old", "0.9"))
    assert seen.requires == {"flash-attn": ("torch>=2.2", "pytest; extra == 'test'")}
    assert seen.tags == {"flash-attn": ("cp311-cp311-linux_x86_64",)}
    assert seen.wheels == {"flash-attn": "flash_attn-2.8.3+cu12torch2.8cxx11abiTRUE-cp311-cp311-linux_x86_64.whl"}
    assert seen.stated == {"xformers": {"torch": "2.10.0+cu128"}}
    assert seen.markers["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert seen.sites == (str(environment.site),)


def test_the_gpus_that_torch_is_compiled_for_are_read(environment: Environment) -> None:
    """The flags stand among other words, and of some releases without a NUL before them."""
    words = 'const char *words = "abc ipc_hsm_70 sm_75 sm_90 sm_100a compute_120";'
    environment.compile("torch/lib/libtorch_python.so", words)

    assert environment.seen().architectures == ("compute_120", "sm_100a", "sm_70", "sm_75", "sm_90")


def test_a_venv_that_sees_the_system_s_packages_is_looked_at_with_them(environment: Environment) -> None:
    settings = environment.folder / "pyvenv.cfg"
    settings.write_text(settings.read_text().replace("= false", "= true"))
    environment.describe("demo", "1.0")

    seen = environment.seen()

    assert seen.sites[0] == str(environment.site)
    assert len(seen.sites) > 1
    assert seen.versions["demo"] == "1.0"


def test_a_changed_byte_is_found_where_files_are_read(environment: Environment) -> None:
    (environment.site / "demo.py").write_text("whole = 1\n")
    environment.install("demo", "demo.py")
    (environment.site / "demo.py").write_text("whole = 2\n")

    assert environment.seen().files == ()
    assert [(each.path, each.fault) for each in environment.seen(deep=True).files] == [("demo.py", "hash")]
    assert environment.seen(deep=True, folders=[str(environment.folder)]).files == ()  # as the system's own packages


def test_libraries_that_are_no_libraries_do_no_harm(environment: Environment) -> None:
    for name, content in {
        "script.so": b"INPUT(libc.so.6)\n",
        "empty.so": b"",
        "cut.so": b"\x7fELF\x02\x01" + b"\0" * 90,
    }.items():
        (environment.site / name).write_bytes(content)

    assert environment.seen().libraries == 0


def test_a_file_that_two_packages_claim_or_that_was_changed_is_named(environment: Environment) -> None:
    for name in ("libnccl.so.2", "cli.py", "gone.py", "same.py", "old.pyc"):
        (environment.site / name).write_text("whole")
    environment.install("nccl-cu13", *environment.files())
    environment.install("nccl-cu12", "same.py", claims={"libnccl.so.2": "sha256=another"})
    (environment.site / "cli.py").write_text("changed")
    for name in ("gone.py", "old.pyc"):
        (environment.site / name).unlink()

    seen = environment.seen()

    assert [(each.path, each.fault, each.distributions) for each in seen.files] == [
        ("cli.py", "size", ("nccl-cu13",)),
        ("gone.py", "missing", ("nccl-cu13",)),
        ("libnccl.so.2", "shared", ("nccl-cu12", "nccl-cu13")),
    ]
    assert seen.distributions == (("nccl-cu12", "1.0"), ("nccl-cu13", "1.0"))


def test_the_cuda_of_packages_is_read_and_nothing_is_imported(environment: Environment) -> None:
    texts = {
        "torch": "cuda: Optional[str] = '13.0'\nraise SystemExit('imported')\n",
        "torchvision": "__version__ = '0.29.2+cu132'\nfrom x import y\nif y() > 0:\n    cuda = y()\n",
        "torchaudio": "__version__ = '2.6.0+cpu'\n",
        "plain": "__version__ = '1.0'\n",
    }
    for name, text in texts.items():
        (environment.site / name).mkdir()
        (environment.site / name / "version.py").write_text(text)
    (environment.site / "evil.pth").write_text("import os; os._exit(3)\n")

    assert environment.seen(cuda_of=[*texts, "absent"]).cuda == {"torch": "13.0", "torchvision": "13.2"}


def test_names_are_found_as_words_in_sources_and_libraries(environment: Environment) -> None:
    (environment.site / "demo.py").write_text("os.environ['DEMO_PORT'], MY_DEMO_HOST, DEMO_KEYS\n")
    environment.compile("libdemo.so", 'const char *name = "DEMO_NATIVE";')
    asked = ["DEMO_PORT", "DEMO_HOST", "DEMO_KEY", "DEMO_NATIVE", "PYTHONUNBUFFERED"]

    assert environment.seen(variables=asked).words == ("DEMO_NATIVE", "DEMO_PORT", "PYTHONUNBUFFERED")


def test_a_short_name_is_found_where_the_compiler_put_it_into_instructions(environment: Environment) -> None:
    if platform.machine() != "x86_64":
        skip("needs a processor whose instructions hold eight characters")
    source = """
    #include <stdlib.h>
    #include <string.h>
    char *endpoint(void) { char name[16]; memcpy(name, "DEMO_ENDPOINT", 14); return getenv(name); }
    """
    library = environment.compile("libdemo.so", source, "-O2")
    assert b"DEMO_ENDPOINT" not in library.read_bytes()

    assert environment.seen(variables=["DEMO_ENDPOINT", "DEMO_ENDSPURT"]).words == ("DEMO_ENDPOINT",)


def test_programs_are_those_of_the_environment_and_of_the_path(environment: Environment) -> None:
    own = environment.folder / "bin/demo-cli"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    (environment.folder / "bin/not-to-run").write_text("")

    seen = environment.seen(programs=["demo-cli", "not-to-run", "sh", "absent"])

    assert seen.programs == ("demo-cli", "sh")
    assert os.path.realpath(environment.folder / "bin/python") == os.path.realpath(sys.executable)
