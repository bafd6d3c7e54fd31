"""`envkit verify` on a small real framework in every backend: whole, and broken by hand."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uv

from tests.integration.command import Cli, engine
from tests.integration.conftest import ENGINES, engines, leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

FLASK = Path(__file__).parent / "flask"
pytestmark = pytest.mark.index


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    root = tmp_path_factory.mktemp("flask")
    shutil.copytree(FLASK, root / "matrix")
    cli = Cli(home=root / "home", matrix=root / "matrix" / "envmatrix.yaml", cwd=root)
    cli("lock", "flask-cpu")
    yield cli
    for program in engines():
        if images := engine(program, "images", "--quiet", "envkit/flask").split():
            engine(program, "image", "rm", "--force", *set(images))


@pytest.fixture
def cli(module: Cli, tmp_path: Path) -> Iterator[Cli]:
    """Afterwards nothing of it may run or exist."""
    yield replace(module, cwd=tmp_path)
    assert not leftovers(module.home, "flask")
    assert list(tmp_path.iterdir()) == []


def results(report: Any) -> dict[str, str]:
    return {each["name"]: each["result"] for each in report["checks"]}


def faults(report: Any) -> list[str]:
    return [fault for each in report["checks"] for fault in each["faults"]]


def test_a_whole_environment_passes_wherever_it_lives(cli: Cli, backend: str) -> None:
    done = cli("verify", "flask-cpu", "--backend", backend, "--json", "--device", "cpu", status=None, timeout=600)

    report = done.json
    assert faults(report) == []
    assert (report["environment"], report["backend"], report["device"]) == ("flask-cpu", backend, "cpu")
    assert (report["result"], done.status) == ("pass", 0)
    names = ["installed", "companions", "linked", "imports", "cli", "variables"]
    assert results(report) == dict.fromkeys(names, "pass")
    details = {each["name"]: each["detail"] for each in report["checks"]}
    assert details["cli"] == "2 apps, 1 of them without a help to ask for"
    assert details["variables"] == "2 variables are read"
    assert report["checks"][2]["metrics"]["libraries"] >= 1


def test_a_broken_environment_fails_and_names_every_break(cli: Cli, tmp_path: Path) -> None:
    broken = replace(cli, home=tmp_path.parent / "broken-home")
    broken("verify", "flask-cpu", "--backend", "venv")
    site = next(broken.home.glob("environments/flask-cpu-*/lib/python*/site-packages"))
    speedups = next(site.glob("markupsafe/_speedups.cpython-*.so"))
    content = speedups.read_bytes()
    speedups.unlink()  # not in place: it is a link into the cache
    speedups.write_bytes(content.replace(b"PyUnicode_New\0", b"PyUnicode_Nix\0"))
    shutil.rmtree(site / "itsdangerous")
    shutil.rmtree(next(site.glob("itsdangerous-*.dist-info")))
    next(site.glob("blinker-*.dist-info")).joinpath("METADATA").unlink()

    done = broken("verify", "flask-cpu", "--backend", "venv", "--json", status=1)

    report = done.json
    assert results(report) == {
        "installed": "fail",
        "companions": "pass",
        "linked": "fail",
        "imports": "fail",
        "cli": "fail",
        "variables": "pass",
    }
    found = faults(report)
    assert any(each.startswith("itsdangerous ") and each.endswith(" is not installed") for each in found)
    assert f"markupsafe/{speedups.name}: undefined symbol PyUnicode_Nix" in found
    assert "flask: ModuleNotFoundError: No module named 'itsdangerous'" in found
    assert any(each.startswith("markupsafe._speedups: ImportError: ") for each in found)
    assert any(each.startswith("serve: `flask run --help` ended with status 1: ModuleNotFoundError") for each in found)
    assert list(site.parents[2].glob("**/*.log")) == []
    shutil.rmtree(broken.home)


def test_an_interrupted_look_leaves_nothing_behind(cli: Cli, backend: str) -> None:
    cli("verify", "flask-cpu", "--backend", backend, timeout=600)

    with cli.running("verify", "flask-cpu", "--backend", backend) as running:
        running.wait_for("imports")
        running.send(2)

        assert running.end() == 130


def test_what_was_seen_becomes_evidence(cli: Cli) -> None:
    cli("verify", "flask-cpu", "--backend", "venv", "--record")

    listed = cli("list", "flask", "--json").json[0]["environments"][0]
    path = cli.matrix.parent / "images/flask/cpu/evidence.json" if cli.matrix else Path()
    assert '"level":"imports"' in path.read_text().replace(" ", "")
    assert listed["name"] == "flask-cpu"
    path.unlink()


# `envkit doctor` on environments, with the same eyes -------------------------------------------------------------------


@pytest.mark.parametrize("program", ENGINES)
def test_doctor_looks_into_an_image_and_a_running_container(cli: Cli, program: str) -> None:
    cli("verify", "flask-cpu", "--backend", program, "--device", "cpu", status=None, timeout=600)
    tags = engine(program, "images", "--format", "{{.Repository}}:{{.Tag}}", "envkit/flask").split()
    image = next(tag for tag in tags if "none" not in tag)
    name = f"audit-test-{os.getpid()}"

    seen = cli("doctor", "--image", image, "--json").json
    assert (seen["findings"], seen["ok"]) == ([], True)
    assert (seen["environment"]["name"], seen["environment"]["torch"]) == (image, None)
    assert seen["environment"]["libraries"] >= 1

    spoil = "rm -r $(python -c 'import itsdangerous; print(itsdangerous.__path__[0])')"
    own = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [f"--ulimit=nofile={own}:{own}", "--ulimit=nproc=1000:1000"] if program == "podman" else []
    engine(program, "run", "--detach", *limits, "--name", name, "--user", "0", "--entrypoint", "sleep", image, "600")
    try:
        assert cli("doctor", "--container", name).stdout.endswith("\n\nnothing is wrong with this environment\n")
        engine(program, "exec", name, "sh", "-c", spoil)
        broken = cli("doctor", "--container", name, "--json", status=1).json
        engine(program, "stop", "--time", "0", name)
        stopped = cli("doctor", "--container", name, status=2)
    finally:
        engine(program, "rm", "--force", name)

    assert [each["id"] for each in broken["findings"]] == ["package-hollow"]
    assert stopped.stderr.startswith(f"error: the container does not run: {name}\n")
    none = cli("doctor", "--image", image, "--python", "/nowhere/python", status=2)
    assert none.stderr.startswith(f"error: no Python that can be run in {image}\n")
    assert engine(program, "ps", "--all", "--quiet", "--filter", "name=envkit-audit").split() == []


def test_doctor_says_which_image_or_container_is_not_there(cli: Cli) -> None:
    if not engines():
        pytest.skip("needs a Docker engine or podman")

    image = cli("doctor", "--image", "nobody/nothing:1", status=2)
    container = cli("doctor", "--container", "nobody-s", status=2)

    assert image.stderr == (
        "error: no such image here: nobody/nothing:1\n\n"
        "hint: `docker pull nobody/nothing:1` brings it; envkit pulls nothing unasked\n"
    )
    assert container.stderr.startswith("error: no such container: nobody-s\n")


def test_doctor_looks_into_a_venv_that_somebody_made_and_broke(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    subprocess.run([uv.find_uv_bin(), "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv.find_uv_bin(), "pip", "install", "--quiet", "--python", folder / "bin/python"]
    subprocess.run([*install, "flask==3.1.2"], check=True)
    assert cli("doctor", "--venv", folder).stdout.endswith("\n\nnothing is wrong with this environment\n")

    subprocess.run([*install, "--no-deps", "werkzeug==2.3.8"], check=True)
    seen = cli("doctor", "--venv", folder, "--json").json
    assert [(each["id"], each["evidence"]) for each in seen["findings"]] == [
        ("requirement-contradicted", "flask 3.1.2 asks for werkzeug>=3.1.0, and 2.3.8 is installed")
    ]

    (folder / "bin/python").unlink()
    (folder / "bin/python").symlink_to("/nowhere/python3.11")
    gone = cli("doctor", "--venv", folder, status=7)
    assert gone.stderr.startswith(
        f"error: the interpreter of the environment is gone: {folder}/bin/python leads to /nowhere/python3.11\n"
    )
    shutil.rmtree(folder)
    none = cli("doctor", "--venv", tmp_path, status=2)
    assert none.stderr.startswith(f"error: neither a venv nor a conda environment: {tmp_path}\n")
    no_python = cli("doctor", "--python", tmp_path / "python", status=2)
    assert no_python.stderr.startswith(f"error: not a Python that can be run: {tmp_path}/python\n")
