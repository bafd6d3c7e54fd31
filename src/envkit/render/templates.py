"""The Jinja environment, and the list of files that envkit generates."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from envkit.lock.lockfile import read_lock
from envkit.render.context import compose_context, dockerfile_context
from envkit.share import share_root

if TYPE_CHECKING:
    from collections.abc import Mapping

    from envkit.lock.lockfile import Lock
    from envkit.matrix.load import Matrix, MatrixEnvironment


def _jinja(home: Path) -> Environment:
    """Templates from the tree that a framework belongs to, then envkit's own."""
    jinja = Environment(
        loader=FileSystemLoader([home / "images", share_root() / "images"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # Dockerfiles and YAML, not HTML
    )
    jinja.filters["json"] = _json
    jinja.filters["compose"] = lambda value: _json(value).replace("$", "$$")  # a `$` of compose's own begins a variable
    jinja.filters["command_line"] = _command_line
    jinja.filters["shell"] = shlex.quote
    return jinja


def render_page(name: str, **values: object) -> str:
    """A page for a browser; what stands in the values is text, whatever it looks like."""
    jinja = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,
    )
    return jinja.get_template(name).render(values)


def render_text(template: Path, values: Mapping[str, Any]) -> str:
    """The text of a template that belongs to no framework."""
    return _jinja(template.parent).from_string(template.read_text(encoding="utf-8")).render(values)


def _command_line(server: Mapping[str, Any]) -> str:
    """The app's command with the user's arguments, and after them where to listen: swift takes a file in first place."""
    before, after = (shlex.join(server[part]).replace("$", "$$") for part in ("argv", "options"))
    return f"{before} ${{ENVKIT_ARGS:-}} {after}".rstrip()


def _json(value: object) -> str:
    """JSON, which is YAML and Dockerfile syntax too."""
    return json.dumps(value, ensure_ascii=False)


def render_dockerfile(environment: MatrixEnvironment, lock: Lock) -> str:
    """The environment's Dockerfile, by the framework's own template where it has one."""
    names = [f"{environment.framework.name}/Dockerfile.j2", "base.Dockerfile.j2"]
    return _jinja(environment.framework_home).select_template(names).render(dockerfile_context(environment, lock))


def render_compose(environment: MatrixEnvironment, lock: Lock) -> str:
    """The compose file of the environment's framework."""
    return _jinja(environment.framework_home).get_template("compose.yaml.j2").render(compose_context(environment, lock))


def build_context(environment: MatrixEnvironment, lock: Lock) -> dict[str, str]:
    """Every file that building the image needs, by name."""
    return {
        "Dockerfile": render_dockerfile(environment, lock),
        "requirements.lock": lock.text(),
        "torch.lock": lock.subset(environment.torch_layer),
        "build.lock": lock.build,
        **lock.compiled(environment),
    }


def outputs(matrix: Matrix) -> dict[Path, str]:
    """Every generated file with its content; raises `StaleLockError` where a lock is not fresh."""
    files: dict[Path, str] = {}
    for framework in matrix.frameworks:
        environments = matrix.environments(framework)
        for environment in environments:
            for name, text in build_context(environment, read_lock(environment)).items():
                files[environment.folder / name] = text
        if any(app.port for app in matrix.frameworks[framework].apps.values()) and environments:
            files[environments[0].home / "compose" / f"{framework}.yaml"] = render_compose(
                environments[0], read_lock(environments[0])
            )
    return files
