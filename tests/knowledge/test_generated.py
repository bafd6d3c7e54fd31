"""The generated files that are committed: what the matrix says today, and fit for old engines and other people."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import yaml

from envkit.render.templates import outputs
from tests.conftest import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.matrix.load import Matrix, MatrixEnvironment


@pytest.fixture
def dockerfile(environment: MatrixEnvironment) -> str:
    return (environment.folder / "Dockerfile").read_text()


def test_committed_files_are_what_the_matrix_says(shipped: Matrix) -> None:
    stale = [path for path, text in outputs(shipped).items() if not path.is_file() or path.read_text() != text]

    assert stale == [], "run `envkit render`"


def test_no_generated_file_is_left_over(shipped: Matrix) -> None:
    folders = [each.folder for each in shipped.environments()]
    generated = {
        *(file for each in (REPOSITORY / "images").glob("*/*/Dockerfile") for file in each.parent.iterdir()),
        *(REPOSITORY / "compose").iterdir(),
    }

    assert generated - {folder / "evidence.json" for folder in folders} == set(outputs(shipped))


def test_nothing_is_newer_than_docker_20_10(dockerfile: str) -> None:
    """Its front end is Dockerfile 1.2, and a `# syntax=` line would fetch another from Docker Hub."""
    assert not re.search(r"(?im)^#\s*syntax\s*=", dockerfile)
    assert "<<" not in dockerfile  # here-documents: 1.4
    assert not re.search(r"(?m)^(COPY|ADD) .*--(link|chmod|parents|exclude|checksum)", dockerfile)
    assert set(re.findall(r"--mount=type=(\w+)", dockerfile)) <= {"bind", "cache", "secret"}
    assert not re.search(r"--mount=type=secret[^ ]*,env=", dockerfile)


def test_nothing_of_the_build_stays_in_the_image(dockerfile: str, environment: MatrixEnvironment) -> None:
    variables = [name for line in re.findall(r"(?m)^ENV (.*)$", dockerfile) for name in re.findall(r"(\w+)=", line)]

    assert set(variables) == {"PATH", "HOME", "USER", *environment.toolkit_env("/opt/venv")}
    assert not re.search(r"://[\w$]", dockerfile.replace("#https?://[^/ ]+/debian#", ""))


def test_the_image_is_run_by_somebody_who_is_not_root(dockerfile: str) -> None:
    assert re.findall(r"(?m)^USER (.*)$", dockerfile) == ["1000:1000"]


def test_every_package_is_installed_with_its_hash(dockerfile: str) -> None:
    commands = dockerfile.replace("\\\n", " ")
    installs = re.findall(r"(?:pip|uv) (?:pip )?(?:install|sync) [^&\n]*", commands)

    compiled = re.findall(r"(?m)^FROM torch AS compiled-(.*)$", dockerfile)
    own = [each for each in installs if re.search(r" /run/[a-z0-9-]+/compiled/\*\.whl$", each)]
    assert len(installs) == 3 + 3 * len(compiled)
    assert len(own) == len(compiled)  # what this very build compiled, from a source with its hash
    assert all("--require-hashes" in each for each in installs if each not in own)


@pytest.fixture(params=sorted((REPOSITORY / "compose").glob("*.yaml")), ids=lambda path: path.stem)
def compose(request: pytest.FixtureRequest) -> dict[str, dict[str, dict[str, object]]]:
    path: Path = request.param
    return yaml.safe_load(path.read_text())


def test_compose_publishes_on_this_machine_alone(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    ports = [port for service in compose["services"].values() for port in service["ports"]]

    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_compose_gives_no_privileges(compose: dict[str, dict[str, dict[str, object]]]) -> None:
    for service in compose["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "network_mode", "pid"} & service.keys()
