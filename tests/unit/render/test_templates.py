"""Matrix and locks become files: the same ones every time, and none from a stale lock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
import yaml
from jinja2 import UndefinedError

from envkit.errors import StaleLockError
from envkit.lock.lockfile import lock_path
from envkit.lock.resolver import write_lock
from envkit.matrix.load import Matrix, load_matrix
from envkit.render.templates import build_context, outputs, render_compose, render_dockerfile
from tests.fakes import demo_lock

if TYPE_CHECKING:
    from pathlib import Path
import shlex
from typing import Any


def test_every_generated_file_is_listed(share: Path, matrix: Matrix) -> None:
    environments = ["demo/cpu", "demo/cu124", "demo/cu130", "solo/cu130"]
    files = ["Dockerfile", "requirements.lock", "torch.lock", "build.lock"]

    assert set(outputs(matrix)) == {
        share / "compose/demo.yaml",  # and none for solo, which serves nothing
        *(share / "images" / each / file for each in environments for file in files),
    }


def test_rendering_twice_gives_the_same_bytes(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    first = outputs(matrix)
    monkeypatch.setattr("time.time", lambda: 0.0)
    monkeypatch.setenv("HOSTNAME", "elsewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example")
    monkeypatch.setenv("DEMO_TOKEN", "secret")

    assert outputs(load_matrix()) == first


def test_locks_are_rendered_as_they_stand(matrix: Matrix) -> None:
    environment = matrix.environment("demo-cu130")
    context = build_context(environment, demo_lock(environment))

    assert sorted(context) == ["Dockerfile", "build.lock", "requirements.lock", "torch.lock"]
    for name in ("build.lock", "requirements.lock", "torch.lock"):
        assert context[name] == (environment.folder / name).read_text()


def test_nothing_is_rendered_from_a_missing_lock(matrix: Matrix) -> None:
    lock_path(matrix.environment("demo-cu124")).unlink()

    with pytest.raises(StaleLockError, match=r"^demo-cu124 has no lock: "):
        outputs(matrix)


def test_a_value_that_a_template_misses_is_an_error(share: Path, matrix: Matrix) -> None:
    (share / "images/demo/Dockerfile.j2").write_text("FROM {{ base_imgae }}\n")
    environment = matrix.environment("demo-cu130")

    with pytest.raises(UndefinedError, match=r"^'base_imgae' is undefined$"):
        render_dockerfile(environment, demo_lock(environment))


def test_a_framework_fills_the_block_that_is_its_own(share: Path, matrix: Matrix) -> None:
    text = '{% extends "base.Dockerfile.j2" %}{% block framework %}\nRUN demo-cli prepare\n{% endblock %}\n'
    (share / "images/demo/Dockerfile.j2").write_text(text)
    demo, solo = matrix.environment("demo-cu130"), matrix.environment("solo-cu130")

    own, other = (render_dockerfile(each, demo_lock(each)) for each in (demo, solo))

    before, after = own.split("RUN demo-cli prepare\n")
    assert "uv pip sync" in before
    assert "FROM packages AS final" in after
    assert "demo-cli" not in other


def test_the_same_torch_layer_is_the_same_text_for_every_framework_on_the_stack(matrix: Matrix) -> None:
    files = outputs(matrix)
    demo, solo = (matrix.environment(name).folder for name in ("demo-cu130", "solo-cu130"))

    def upto_torch(folder: Path) -> str:
        text = files[folder / "Dockerfile"]
        return text[text.index("ARG BASE_IMAGE") : text.index("# Everything else in the lock")]

    assert upto_torch(demo) == upto_torch(solo)


def test_how_a_source_distribution_is_built_is_one_word_of_the_shell(matrix: Matrix) -> None:
    environment = matrix.environment("demo-cu130")
    lock = demo_lock(environment)
    entry = msgspec.structs.replace(environment.entry, build_settings={"six": ["path=$ORIGIN/../lib"]})

    text = render_dockerfile(replace(environment, entry=entry), lock)

    assert "        '--config-settings-package=six:path=$ORIGIN/../lib' \\\n" in text
    assert text.replace("        '--config-settings-package=six:path=$ORIGIN/../lib' \\\n", "") == render_dockerfile(
        environment, lock
    )


def test_compose_names_the_newest_environment(share: Path, matrix: Matrix) -> None:
    assert "envkit/demo:2.1.0-cu130" in outputs(matrix)[share / "compose/demo.yaml"]


def compose_service(share: Path, old: str, new: str) -> dict[str, Any]:
    """The page's service, after a change of how the demo framework runs."""
    described = share / "images/demo/framework.yaml"
    assert old in described.read_text()
    described.write_text(described.read_text().replace(old, new))
    environment = load_matrix().environment("demo-cu130")
    services = yaml.safe_load(render_compose(environment, demo_lock(environment)))["services"]
    return services["page-cpu"]


def test_a_value_of_a_variable_is_whole_in_the_compose_file(share: Path, matrix: Matrix) -> None:
    service = compose_service(share, 'DEMO_QUIET: "1"', """DEMO_QUIET: 'say "no": {1} # 中'""")

    assert service["environment"]["DEMO_QUIET"] == 'say "no": {1} # 中'


def test_a_dollar_is_no_variable_of_compose(share: Path, matrix: Matrix) -> None:
    service = compose_service(share, 'DEMO_QUIET: "1"', 'DEMO_QUIET: "1 $HOME"')

    assert service["environment"]["DEMO_QUIET"] == "1 $$HOME"


def test_a_command_keeps_its_words_in_the_compose_file(share: Path, matrix: Matrix) -> None:
    service = compose_service(share, "argv: [demo-cli, page]", 'argv: [demo-cli, "a page", "it\'s"]')

    assert shlex.split(service["command"].replace("${ENVKIT_ARGS:-}", "")) == ["demo-cli", "a page", "it's"]


def test_files_of_an_overlay_are_made_beside_it_with_envkit_s_templates(
    share: Path, tmp_path: Path, matrix: Matrix
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    text = "environments: {demo-cu124: {framework: demo, stack: old, python: '3.12', require: [iniconfig==1.9.0]}}"
    (mine / "envmatrix.yaml").write_text(text)
    with_overlay = load_matrix(mine / "envmatrix.yaml")
    environment = with_overlay.environment("demo-cu124")
    write_lock(environment, demo_lock(environment))

    files = outputs(with_overlay)

    assert "uv venv --python 3.12" in files[mine / "images/demo/cu124/Dockerfile"]
    assert share / "images/demo/cu124/Dockerfile" not in files
    assert share / "compose/demo.yaml" in files
