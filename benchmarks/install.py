"""`install`: requirements to a venv that holds them, by envkit and by the newest pip.

Run as a program, it is envkit's side: `install.py FOLDER` resolves the environment and installs it below FOLDER.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from measure import Comparison, Outcome, Sample, interleave, timed

from envkit.backends.base import Recipe, Silent
from envkit.backends.venv import VenvBackend
from envkit.host.index import ca_bundle, package_index, uv_command
from envkit.lock.lockfile import constraints, requirements
from envkit.lock.resolver import resolve
from envkit.matrix.load import load_matrix

ENVIRONMENT = "llamafactory-cu130"
ROUNDS = 3
DISK_GB = 30
TITLE = "Resolving and installing an environment"
NOTE = """
From the exact requirements of `llamafactory-cu130` (its `require` and its torch stack) to a fresh venv, both resolving
anew against today's index. envkit: one uv pass to a lock with hashes, then the install from that lock with
`--require-hashes`, through envkit's own code. pip: the newest one, `pip install` of the same lines into a venv made with
`python -m venv --without-pip`; it checks no hashes, since nobody wrote any down. Cold: the package cache is empty,
everything is downloaded. Warm: the second install on the same machine; uv links files where pip copies them, which is
part of the difference, and meant. pip compiles byte code while it installs; envkit's venv leaves that to the first
start. So pip is measured with `--no-compile` too, and that is the comparison of like with like. uv downloads and
unpacks on all cores, pip on one: fewer or busier cores bring the two closer by the clock.
"""


def measure(rounds: int, scratch: Path) -> Outcome:
    """Resolve and install, caches cold and warm."""
    environment = load_matrix().environment(ENVIRONMENT)
    wanted = scratch / "requirements.in"
    wanted.write_text(requirements(environment), encoding="utf-8")
    bounds = scratch / "constraints.txt"
    bounds.write_text(constraints(environment), encoding="utf-8")
    find = [*uv_command(), "python", "find", "--no-project", environment.entry.python]
    python = Path(subprocess.run(find, capture_output=True, check=True, text=True).stdout.strip())
    timed([python, "-m", "venv", scratch / "pip"])
    pip = scratch / "pip" / "bin" / "pip"
    timed([pip, "install", "--upgrade", "pip"], env=_pip_environ(scratch))

    def with_envkit(cache: str) -> Sample:
        home = scratch / "home"
        shutil.rmtree(home, ignore_errors=True)
        environ = {**os.environ, "ENVKIT_HOME": str(home), "UV_CACHE_DIR": str(scratch / "uv-cache")}
        if cache == "cold":
            shutil.rmtree(scratch / "uv-cache", ignore_errors=True)
        sample = timed([sys.executable, __file__, home], env=environ)
        sites["envkit"] = next(home.glob("environments/*/lib/python*/site-packages"))
        return sample

    def with_pip(cache: str, *options: str) -> Sample:
        venv = scratch / "pip-venv"
        shutil.rmtree(venv, ignore_errors=True)
        if cache == "cold":
            shutil.rmtree(scratch / "pip-cache", ignore_errors=True)
        made = timed([python, "-m", "venv", "--without-pip", venv])
        install = [pip, "--python", venv, "install", *options, "--requirement", wanted, "--constraint", bounds]
        sample = made + timed(install, env=_pip_environ(scratch))
        sites["pip"] = next(venv.glob("lib/python*/site-packages"))
        return sample

    sites: dict[str, Path] = {}
    found = interleave(
        rounds,
        {
            "envkit, cold": lambda: with_envkit("cold"),
            "pip, cold": lambda: with_pip("cold"),
            "envkit, warm": lambda: with_envkit("warm"),
            "pip, warm": lambda: with_pip("warm"),
            "pip --no-compile, cold": lambda: with_pip("cold", "--no-compile"),
            "pip --no-compile, warm": lambda: with_pip("warm", "--no-compile"),
        },
    )
    versions = [_version([*uv_command(), "--version"]), _version([pip, "--version"]), _version([python, "--version"])]
    counts = {name: len(list(site.glob("*.dist-info"))) for name, site in sites.items()}
    return Outcome(
        [
            Comparison(f"install, caches {cache}", other, found[f"envkit, {cache}"], found[f"{other}, {cache}"], "speed-up", expected)
            for cache in ("cold", "warm")
            for other, expected in (("pip", ">= 4x"), ("pip --no-compile", ""))
        ],
        [
            f"{', '.join(versions)}; {counts['envkit']} packages by envkit, {counts['pip']} by pip.",
        ],
    )  # fmt: skip


def _pip_environ(scratch: Path) -> dict[str, str]:
    """For pip: the index and certificates that envkit uses, and no other setting of this machine's pip."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environ |= {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_CACHE_DIR": str(scratch / "pip-cache"),
        "PIP_DEFAULT_TIMEOUT": "120",
    }
    if index := package_index():
        environ["PIP_INDEX_URL"] = index
    if bundle := ca_bundle():
        environ["PIP_CERT"] = str(bundle)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return environ


def _version(argv: list[str | Path]) -> str:
    words = subprocess.run(argv, capture_output=True, check=True, text=True).stdout
    found = re.match(r"\S+ [\d.]+", words)
    return found[0] if found else words.strip()


def _install_with_envkit(home: Path) -> None:
    environment = load_matrix().environment(ENVIRONMENT)
    VenvBackend(home).make(Recipe(environment, resolve(environment, upgrade=True)), Silent())


if __name__ == "__main__":
    _install_with_envkit(Path(sys.argv[1]))
