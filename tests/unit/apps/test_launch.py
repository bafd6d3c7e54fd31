"""A request becomes a launch: command, variables, mounts, port, name, secrets."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from envkit.apps.launch import choose_backend
from envkit.backends.base import Mount, Recipe
from envkit.errors import BackendError, UsageError
from envkit.host.facts import Gpu
from envkit.matrix.schema import Mirror
from tests.fakes import FakeBackend, demo_lock, with_toolkit

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.backends.base import BackendName
    from envkit.matrix.load import Matrix
    from tests.unit.apps.conftest import Plan

GPUS = (Gpu(1, "NVIDIA H200", "GPU-b", 143771, "9.0"), Gpu(3, "NVIDIA H200", "GPU-d", 143771, "9.0"))


def venv() -> FakeBackend:
    return FakeBackend("venv")


# In a container and in a venv -----------------------------------------------------------------------------------------


def test_a_server_in_a_container(plan: Plan, recipe: Recipe, tmp_path: Path) -> None:
    launch = plan("page", FakeBackend(), args=("--theme", "dark"), gpus=GPUS)

    assert launch.name == "demo-page"
    assert launch.argv == ("demo-cli", "page", "--theme", "dark")
    assert launch.workdir == "/workspace"
    assert launch.env == {
        "DEMO_QUIET": "1",
        "DEMO_HUB": "/cache/hub",
        "DEMO_PORT": "7860",
        "DEMO_HOST": "0.0.0.0",
    }
    assert launch.mounts == (
        Mount(tmp_path / "work", "/workspace"),
        Mount(tmp_path / "home/envkit/cache/hub", "/cache/hub"),
    )
    assert launch.container_port == 7860
    assert launch.port not in (None, 0, 7860)
    assert launch.address == "127.0.0.1"
    assert launch.url == f"http://127.0.0.1:{launch.port}"
    assert launch.gpus == GPUS
    assert launch.secrets == {}
    assert launch.lock_sha256 == recipe.lock.sha256
    assert not launch.terminal


def test_a_server_in_a_venv(plan: Plan, tmp_path: Path) -> None:
    launch = plan("page", venv(), gpus=GPUS)

    assert launch.argv == ("demo-cli", "page")
    assert launch.workdir == str(tmp_path / "work")
    assert launch.env == {
        "DEMO_QUIET": "1",
        "DEMO_HUB": str(tmp_path / "home/envkit/cache/hub"),
        "DEMO_PORT": str(launch.port),
        "DEMO_HOST": "127.0.0.1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "1,3",
    }
    assert launch.container_port == launch.port
    assert launch.url == f"http://127.0.0.1:{launch.port}"


def test_on_the_cpu_a_venv_sees_no_gpu(plan: Plan) -> None:
    assert plan("train", venv()).env["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("backend", ["docker", "venv"])
def test_a_job_has_neither_port_nor_page(plan: Plan, backend: str) -> None:
    launch = plan("train", FakeBackend(backend), args=("config.yaml",))

    assert launch.argv == ("demo-cli", "train", "config.yaml")
    assert (launch.port, launch.container_port, launch.url, launch.terminal) == (None, None, None, False)
    assert not {"DEMO_PORT", "DEMO_HOST"} & launch.env.keys()


def test_an_interactive_app_talks_at_the_terminal(plan: Plan) -> None:
    assert plan("talk", FakeBackend()).terminal


# Variables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["docker", "venv"])
def test_variables_of_the_host_are_passed_on_and_secrets_stay_apart(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setenv("DEMO_ENDPOINT", "https://hub.example")
    monkeypatch.setenv("DEMO_TOKEN", "hunter2")
    monkeypatch.setenv("OTHER_TOKEN", "hunter3")

    launch = plan("train", FakeBackend(backend))

    assert launch.env["DEMO_ENDPOINT"] == "https://hub.example"
    assert launch.secrets == {"DEMO_TOKEN": "hunter2"}
    assert "hunter2" not in str(launch.env)
    assert "hunter3" not in str(launch)


def test_a_setting_of_the_user_wins(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_ENDPOINT", "https://hub.example")

    launch = plan("train", FakeBackend(), env={"DEMO_QUIET": "0", "DEMO_ENDPOINT": "mine", "NEW": "1"})

    assert (launch.env["DEMO_QUIET"], launch.env["DEMO_ENDPOINT"], launch.env["NEW"]) == ("0", "mine", "1")


def test_a_secret_that_the_user_sets_stays_a_secret(plan: Plan) -> None:
    launch = plan("train", FakeBackend(), env={"DEMO_TOKEN": "hunter2"})

    assert launch.secrets == {"DEMO_TOKEN": "hunter2"}
    assert "hunter2" not in str(launch.env)


def test_a_mirror_s_hub_is_used(plan: Plan, recipe: Recipe, matrix: Matrix) -> None:
    launch = plan("train", FakeBackend(), recipe=replace(recipe, mirror=matrix.mirror("near")))

    assert launch.env["HF_ENDPOINT"] == "https://hf.example"


@pytest.mark.parametrize(
    ("switch", "packages", "host", "expected"),
    [
        (True, {"modelscope": "1.40.2"}, None, "1"),
        (True, {}, None, None),  # its library is not there, and frameworks die of that
        (False, {"modelscope": "1.40.2"}, None, None),
        (True, {"modelscope": "1.40.2"}, "0", "0"),  # who set it on the machine means it
    ],
)
def test_models_come_from_modelscope_where_the_mirrors_say_so(
    plan: Plan,
    recipe: Recipe,
    monkeypatch: pytest.MonkeyPatch,
    switch: bool,
    packages: dict[str, str],
    host: str | None,
    expected: str | None,
) -> None:
    if host:
        monkeypatch.setenv("DEMO_MODELSCOPE", host)
    framework = msgspec.structs.replace(
        recipe.environment.framework, modelscope={"DEMO_MODELSCOPE": "1"}, pass_env=["DEMO_MODELSCOPE"]
    )
    lock = replace(recipe.lock, body="".join(f"{name}=={version}\n" for name, version in packages.items()))
    recipe = replace(
        recipe,
        environment=replace(recipe.environment, framework=framework),
        lock=lock,
        mirror=Mirror(about="invented", modelscope=switch),
    )

    assert plan("train", FakeBackend(), recipe=recipe).env.get("DEMO_MODELSCOPE") == expected


@pytest.mark.parametrize(("backend", "passed"), [("docker", {"http_proxy": "http://proxy.example:8080"}), ("venv", {})])
def test_a_container_gets_the_proxies_that_it_can_reach(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, backend: str, passed: dict[str, str]
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.example:8080")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:7897")

    env = plan("train", FakeBackend(backend)).env

    assert {name: value for name, value in env.items() if name.lower().endswith("_proxy")} == passed


def test_a_cache_of_the_host_is_used_where_it_is(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_HUB", str(tmp_path / "hub"))

    inside, outside = plan("train", FakeBackend()), plan("train", venv())

    assert inside.mounts[1] == Mount(tmp_path / "hub", "/cache/hub")
    assert inside.env["DEMO_HUB"] == "/cache/hub"
    assert outside.env["DEMO_HUB"] == str(tmp_path / "hub")


@pytest.mark.parametrize("backend", ["docker", "venv"])
def test_compiled_code_has_a_folder_for_its_lock_and_its_backend(
    plan: Plan, recipe: Recipe, tmp_path: Path, backend: BackendName
) -> None:
    environment = with_toolkit(recipe.environment)
    lock = demo_lock(environment)
    folder = tmp_path / "home/envkit/cache/compiled"

    launch = plan("train", FakeBackend(backend), recipe=replace(recipe, environment=environment, lock=lock))

    own = f"demo-cu130-{lock.sha256[:12]}"
    docker = backend == "docker"
    assert launch.env["DEMO_COMPILED"] == (f"/cache/compiled/{own}-image" if docker else f"{folder}/{own}-venv")
    assert launch.mounts[2] == Mount(folder, "/cache/compiled" if docker else str(folder))


@pytest.mark.parametrize(("running", "expected"), [(False, 1), (True, 0)])
def test_a_lock_that_a_killed_compilation_left_is_stale_unless_the_environment_runs(
    plan: Plan, recipe: Recipe, tmp_path: Path, running: bool, expected: int
) -> None:
    environment = with_toolkit(recipe.environment)
    lock = demo_lock(environment)
    left = tmp_path / f"home/envkit/cache/compiled/demo-cu130-{lock.sha256[:12]}-image/adam/lock"
    left.parent.mkdir(parents=True)
    left.touch()
    backend = FakeBackend(page=None)
    if running:
        backend.start(plan("page", backend))

    launch = plan("train", backend, recipe=replace(recipe, environment=environment, lock=lock))

    assert launch.stale_locks == (left,) * expected


def test_volumes_of_the_user(plan: Plan, tmp_path: Path) -> None:
    volume = (tmp_path, "/models")

    assert plan("train", FakeBackend(), volumes=(volume,)).mounts[-1] == Mount(tmp_path, "/models")
    with pytest.raises(UsageError) as caught:
        plan("train", venv(), volumes=(volume,))
    assert caught.value.message == "`--volume` is for containers: a venv sees the host's own folders"
    assert caught.value.hint == "use the paths as they are"


# Exposure -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("app", ["page", "train"])
def test_an_app_without_a_login_is_not_exposed(plan: Plan, app: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan(app, FakeBackend(), expose=True)

    assert caught.value.message == f"{app} has no login: everybody who reaches the port could use it"
    assert caught.value.hint == (
        "leave out `--expose`: `run` prints the ssh line that reaches it from your own computer"
    )


def test_an_exposed_app_gets_a_key_of_its_own(plan: Plan) -> None:
    first, second = (plan("api", FakeBackend(), expose=True) for _ in range(2))

    assert first.address == "0.0.0.0"
    assert first.secrets.keys() == {"DEMO_KEY"}
    assert len(first.secrets["DEMO_KEY"]) >= 32
    assert first.secrets["DEMO_KEY"] != second.secrets["DEMO_KEY"]
    assert first.secrets["DEMO_KEY"] not in str(first.env) + str(first.argv)


def test_an_exposed_app_keeps_the_user_s_key(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_KEY", "mine")

    assert plan("api", FakeBackend(), expose=True).secrets == {"DEMO_KEY": "mine"}


def test_an_exposed_app_keeps_the_key_that_is_set(plan: Plan) -> None:
    assert plan("api", FakeBackend(), expose=True, env={"DEMO_KEY": "mine"}).secrets == {"DEMO_KEY": "mine"}


def test_an_app_that_is_not_exposed_listens_for_this_machine_alone(plan: Plan) -> None:
    inside, outside = plan("api", FakeBackend()), plan("api", venv())

    assert (inside.address, outside.address) == ("127.0.0.1", "127.0.0.1")
    assert (inside.env["DEMO_HOST"], outside.env["DEMO_HOST"]) == ("0.0.0.0", "127.0.0.1")
    assert plan("api", venv(), expose=True).env["DEMO_HOST"] == "0.0.0.0"


# Ports and names ------------------------------------------------------------------------------------------------------


def test_the_app_s_own_port_is_the_usual_one(plan: Plan, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("envkit.apps.launch.claim_port", lambda *args, **more: asked.append((args, more)) or args[0])

    assert plan("page", FakeBackend(), port=None).url == "http://127.0.0.1:7860"
    assert plan("api", FakeBackend(), port=9000, expose=True).url == "http://127.0.0.1:9000"
    assert asked == [((7860, "127.0.0.1"), {"instances": {}}), ((9000, "0.0.0.0"), {"instances": {}})]


def test_a_port_for_an_app_without_one(plan: Plan) -> None:
    with pytest.raises(UsageError) as caught:
        plan("train", FakeBackend(), port=8000)

    assert (caught.value.message, caught.value.hint) == ("train has no port", "leave out `--port`")


def test_a_taken_port_names_the_instance_that_has_it(plan: Plan) -> None:
    backend = FakeBackend(page=None)
    first = plan("page", backend)
    backend.start(first)
    with socket.create_server(("127.0.0.1", first.port or 0)), pytest.raises(UsageError) as caught:
        plan("page", backend, port=first.port)

    assert caught.value.message == (
        f"port {first.port} is taken by the envkit instance demo-page: `envkit stop demo-page` ends it"
    )


def test_names_are_free_ones(plan: Plan) -> None:
    backend = FakeBackend(page=None)
    for _ in range(3):
        backend.start(plan("page", backend))

    assert [each.name for each in backend.instances()] == ["demo-page", "demo-page-2", "demo-page-3"]
    assert plan("api", backend).name == "demo-api"
    assert plan("page", backend, name="mine").name == "mine"


def test_a_name_that_is_taken(plan: Plan) -> None:
    backend = FakeBackend(status=0)
    backend.start(plan("train", backend, name="mine"))

    with pytest.raises(UsageError) as caught:
        plan("train", backend, name="mine")

    assert caught.value.message == "there is an instance of that name already: mine"
    assert caught.value.hint == "`envkit stop mine` removes it"


@pytest.mark.parametrize("name", ["..", ".", "../../other", "/etc", "a b", "-x", "a/b"])
def test_a_name_that_could_lead_elsewhere_is_refused(plan: Plan, name: str) -> None:
    with pytest.raises(UsageError):
        plan("train", venv(), name=name)


# The backend ----------------------------------------------------------------------------------------------------------


def both(**docker: str) -> dict[str, FakeBackend]:
    return {"docker": FakeBackend("docker", **docker), "venv": FakeBackend("venv")}


@pytest.mark.parametrize(
    ("docker", "gpu", "name", "why"),
    [
        ({}, False, "docker", "docker works here"),
        ({}, True, "docker", "docker works here"),
        ({"problem": "no Docker engine answers"}, False, "venv", "no Docker engine answers"),
        ({"gpu_problem": "it has no GPUs to give"}, False, "docker", "docker works here"),
        ({"gpu_problem": "it has no GPUs to give"}, True, "venv", "it has no GPUs to give"),
    ],
)
def test_auto_takes_the_first_backend_that_works(docker: dict[str, str], gpu: bool, name: str, why: str) -> None:
    backend, reason = choose_backend("auto", both(**docker), gpu=gpu)

    assert (backend.name, reason) == (name, why)


def test_a_backend_that_is_asked_for_is_taken() -> None:
    backend, why = choose_backend("venv", both(), gpu=True)

    assert (backend.name, why) == ("venv", "asked for")


def test_a_backend_that_is_asked_for_and_does_not_work_is_not_replaced() -> None:
    with pytest.raises(BackendError) as caught:
        choose_backend("docker", both(problem="no Docker engine answers"), gpu=False)

    assert caught.value.message == "the docker backend cannot be used: no Docker engine answers"
    assert caught.value.hint == (
        "repair it, or use `--backend venv`; `sudo systemctl start docker` starts an engine,"
        " `sudo usermod -aG docker $USER` lets you use it"
    )


def test_a_backend_that_cannot_hand_over_the_gpu_is_not_used_without_it() -> None:
    with pytest.raises(BackendError) as caught:
        choose_backend("docker", both(gpu_problem="it has no GPUs to give"), gpu=True)

    assert caught.value.message == "the docker backend cannot be used: it has no GPUs to give"
    assert caught.value.hint == (
        "repair it, or use `--backend venv`, or use `--device cpu`; `envkit doctor` says what keeps the GPU from containers"
    )


def test_where_no_backend_works_every_reason_is_given() -> None:
    known = {"docker": FakeBackend("docker", problem="no engine"), "venv": FakeBackend("venv", problem="no folder")}

    with pytest.raises(BackendError) as caught:
        choose_backend("auto", known, gpu=False)

    assert caught.value.message == "no backend can be used here"
    assert caught.value.details == "no engine\nno folder"
    assert caught.value.hint == "set ENVKIT_HOME to a folder of yours"
