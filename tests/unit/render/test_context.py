"""The values that templates get."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from envkit.matrix.schema import App, AppBind, AppPort
from envkit.render.context import cache_target, compose_context, dockerfile_context, listen_env, listen_options
from tests.fakes import demo_lock, with_toolkit

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix, MatrixEnvironment


@pytest.fixture
def environment(matrix: Matrix) -> MatrixEnvironment:
    return matrix.environment("demo-cu130")


def test_the_values_of_a_dockerfile(environment: MatrixEnvironment) -> None:
    lock = demo_lock(environment)

    assert dockerfile_context(environment, lock) == {
        "environment": "demo-cu130",
        "framework": "demo",
        "version": "2.1.0",
        "image": "envkit/demo:2.1.0-cu130",
        "stack": "new",
        "python": "3.11",
        "base_image": "debian:bookworm-slim",
        "system_packages": ["ca-certificates", "python3"],
        "framework_packages": ["git", "zstd"],
        "ports": [7860, 8000],
        "command": ["demo-cli", "page"],
        "cache_folders": ["/cache/hub"],
        "lock_sha256": lock.sha256,
        "site_packages": "/opt/venv/lib/python3.11/site-packages",
        "links": {},
        "toolkit_env": {},
        "compiled": {},
        "build_options": [],
    }


def test_the_values_of_a_dockerfile_with_a_toolkit(environment: MatrixEnvironment) -> None:
    environment = with_toolkit(environment)

    context = dockerfile_context(environment, demo_lock(environment))

    assert context["links"] == {"nvidia/lib64": "lib", "nvidia/lib/libdemo.so": "libdemo.so.13"}
    assert context["toolkit_env"] == {"CUDA_HOME": "/opt/venv/lib/python3.11/site-packages/nvidia"}
    assert context["compiled"] == {"six": {"SIX_FAST": "1", "TORCH_CUDA_ARCH_LIST": "7.5;8.0;8.6;9.0;10.0;12.0"}}
    assert context["cache_folders"] == ["/cache/hub", "/cache/compiled"]


def test_what_the_lock_does_not_have_is_not_compiled(environment: MatrixEnvironment) -> None:
    environment = with_toolkit(environment)
    lock = demo_lock(environment)

    context = dockerfile_context(environment, replace(lock, body=lock.body.replace("six==", "seven==")))

    assert context["compiled"] == {}


def test_a_base_image_with_a_digest_is_named_with_it(environment: MatrixEnvironment) -> None:
    pinned = replace(environment, base=msgspec.structs.replace(environment.base, digest="sha256:abc"))

    context = dockerfile_context(pinned, demo_lock(pinned))

    assert context["base_image"] == "debian:bookworm-slim@sha256:abc"


def test_the_values_of_a_compose_file(environment: MatrixEnvironment) -> None:
    context = compose_context(environment, demo_lock(environment))

    assert context["env"] == {"DEMO_QUIET": "1", "DEMO_HUB": "/cache/hub"}
    assert context["pass_env"] == ["DEMO_ENDPOINT", "DEMO_KEY", "DEMO_TOKEN"]
    assert context["caches"] == [{"name": "hub", "target": "/cache/hub"}]
    assert [each["name"] for each in context["servers"]] == ["page", "api"]
    assert context["servers"][1] == {
        "name": "api",
        "argv": ["demo-cli", "api"],
        "options": [],
        "port": 8000,
        "env": {"DEMO_PORT": "8000", "DEMO_HOST": "0.0.0.0"},
        "health": {
            "probe": (
                'import http.client as h; c = h.HTTPConnection("127.0.0.1", 8000, timeout=5); '
                'c.request("GET", "/v1/models"); raise SystemExit(c.getresponse().status >= 500)'
            ),
            "within_seconds": 60,
        },
    }


def test_compiled_code_of_another_lock_is_out_of_reach(environment: MatrixEnvironment) -> None:
    environment = with_toolkit(environment)
    lock = demo_lock(environment)

    context = compose_context(environment, lock)

    assert context["env"]["DEMO_COMPILED"] == f"/cache/compiled/demo-cu130-{lock.sha256[:12]}-image"
    assert context["caches"][1] == {"name": "compiled", "target": "/cache/compiled"}


@pytest.mark.parametrize(
    ("port", "bind", "env", "options"),
    [
        (AppPort(default=8000, env="P"), AppBind("H"), {"P": "1234", "H": "127.0.0.1"}, ()),
        (AppPort(default=8000, env="P"), None, {"P": "1234"}, ()),
        (
            AppPort(default=8000, option="--port"),
            AppBind(option="--host"),
            {},
            ("--port", "1234", "--host", "127.0.0.1"),
        ),
        (AppPort(default=8000, env="P"), AppBind(option="-b"), {"P": "1234"}, ("-b", "127.0.0.1")),
        (None, None, {}, ()),
    ],
)
def test_how_an_app_is_told_where_to_listen(
    port: AppPort | None, bind: AppBind | None, env: dict[str, str], options: tuple[str, ...]
) -> None:
    app = App(about="x", argv=["x"], port=port, bind=bind)

    assert listen_env(app, 1234, "127.0.0.1") == env
    assert listen_options(app, 1234, "127.0.0.1") == options


def test_where_a_container_sees_a_cache() -> None:
    assert cache_target("hub") == "/cache/hub"
