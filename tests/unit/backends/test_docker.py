"""What the Docker backend makes of an engine's words; a real engine is in tests/integration."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests
from docker.errors import APIError, DockerException, ImageNotFound

from envkit.backends.base import Made, Recipe, Silent
from envkit.backends.buildkit import recipe_hash
from envkit.backends.docker import DockerBackend
from envkit.errors import BackendError, BuildError
from envkit.host.facts import Gpu, HostFacts, MigDevice, Toolkit

if TYPE_CHECKING:
    from envkit.backends.base import Launch


def engine(**answers: Any) -> DockerBackend:
    """A backend whose engine gives these answers; an exception is raised."""

    def give(answer: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    backend = DockerBackend()
    client = SimpleNamespace(**{name: lambda answer=answer: give(answer) for name, answer in answers.items()})
    backend.__dict__["_client"] = client
    return backend


# The engine -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (True, None),
        (
            DockerException("Error while fetching server API version: ('Connection aborted.', PermissionError(13, 'x'))"),
            "you may not talk to the Docker engine (permission denied on its socket)",
        ),
        (
            DockerException("Error while fetching server API version: ('Connection aborted.', FileNotFoundError(2, 'x'))"),
            "no Docker engine answers",
        ),
        (requests.exceptions.ConnectionError("[Errno 111] Connection refused"), "no Docker engine answers"),
        (DockerException("something else"), "something else"),
    ],
)  # fmt: skip
def test_why_an_engine_cannot_be_used(answer: Any, problem: str | None) -> None:
    assert engine(ping=answer).problem() == problem


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("PermissionError", "`sudo usermod -aG docker $USER`, then log in again; or use `--backend venv`"),
        ("FileNotFoundError", "start the engine (`sudo systemctl start docker`), or use `--backend venv`"),
    ],
)
def test_a_build_without_an_engine_says_how_to_get_one(recipe: Recipe, words: str, hint: str) -> None:
    with pytest.raises(BackendError, match=r"^Docker cannot be used: ") as caught:
        engine(ping=DockerException(words)).make(recipe, Silent())

    assert caught.value.hint == hint
    assert caught.value.exit_code == 7


def test_a_build_that_fails_names_image_step_and_words(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def stream(argv: list[str], feed: Any, *, env: dict[str, str]) -> int:
        for line in ("#7 [packages 2/3] RUN x", "#7 0.1 out of luck", "#7 ERROR: exit code: 1"):
            feed(line)
        assert env["DOCKER_BUILDKIT"] == "1"
        return 1

    monkeypatch.setattr("envkit.backends.docker.build_command", lambda: ["docker", "build"])
    monkeypatch.setattr("envkit.process.stream", stream)

    with pytest.raises(BuildError) as caught:
        engine(ping=True).make(recipe, Silent())

    assert caught.value.message == "building envkit/demo:2.1.0-cu130 failed at step packages 2/3"
    assert caught.value.details == "out of luck\nERROR: exit code: 1"
    assert caught.value.exit_code == 8


# GPUs -----------------------------------------------------------------------------------------------------------------

CDI = [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}, {"Source": "cdi", "ID": "vendor.com/net=0"}]


@pytest.mark.parametrize(
    ("info", "problem"),
    [
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, None),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": CDI}, None),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": CDI[1:]}, "this Docker engine has neither the nvidia runtime nor CDI devices"),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": None}, "this Docker engine has neither the nvidia runtime nor CDI devices"),
        ({}, "this Docker engine has neither the nvidia runtime nor CDI devices"),
    ],
)  # fmt: skip
def test_whether_an_engine_can_hand_over_a_gpu(info: dict[str, Any], problem: str | None) -> None:
    assert engine(info=info).gpu_problem() == problem


def test_an_engine_that_refuses_is_an_error_for_the_reader() -> None:
    refusal = APIError("500 Server Error", explanation="the disk is on fire")

    with pytest.raises(BackendError, match=r"^the Docker engine refused: the disk is on fire$"):
        engine(info=refusal).gpu_problem()


GPU = Gpu(index=1, uuid="GPU-aaaa")
SLICED = Gpu(index=0, uuid="GPU-bbbb", mig=True, mig_devices=(MigDevice(index=0, uuid="MIG-cccc"),))


@pytest.mark.parametrize(
    ("info", "toolkit", "env", "rest"),
    [
        # The runtime alone: its variables say which GPUs, and what of the driver.
        (
            {"Runtimes": {"nvidia": {}}}, Toolkit(),
            {"NVIDIA_VISIBLE_DEVICES": "GPU-aaaa,MIG-cccc", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"},
            {"runtime": "nvidia"},
        ),
        (
            {"DiscoveredDevices": [{"ID": f"nvidia.com/gpu={each}"} for each in ("0", "1", "GPU-aaaa", "MIG-cccc")]}, Toolkit(),
            {},
            {"device_requests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=GPU-aaaa", "nvidia.com/gpu=MIG-cccc"], "Capabilities": [], "Options": {}}]},
        ),
        # WSL has one name for all of them, so CUDA is told which are meant.
        (
            {"DiscoveredDevices": [{"ID": "nvidia.com/gpu=all"}]}, Toolkit(),
            {"CUDA_VISIBLE_DEVICES": "GPU-aaaa,MIG-cccc"},
            {"device_requests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"], "Capabilities": [], "Options": {}}]},
        ),
        # What `docker run --gpus` does: indices and counts never meet, a UUID is neither.
        (
            {"Runtimes": {"runc": {}}}, Toolkit(hook="/usr/bin/nvidia-container-runtime-hook"),
            {},
            {"device_requests": [{"Driver": "", "Count": 0, "DeviceIDs": ["GPU-aaaa", "MIG-cccc"], "Capabilities": [["gpu", "compute", "utility"]], "Options": {}}]},
        ),
    ],
)  # fmt: skip
def test_gpus_are_asked_for_in_the_way_of_the_engine(
    launch: Launch,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, Any],
    toolkit: Toolkit,
    env: dict[str, str],
    rest: Any,
) -> None:
    monkeypatch.setattr("envkit.backends.docker.probe_host", lambda _: HostFacts(toolkit=toolkit))

    options = engine(info=info)._gpu_options(replace(launch, gpus=(GPU, SLICED), env={"A": "1"}, secrets={"B": "2"}))

    assert options == {"environment": {"A": "1", "B": "2", **env}, **rest}


def test_an_app_for_the_cpu_gets_no_gpu(launch: Launch) -> None:
    assert engine()._gpu_options(replace(launch, gpus=())) == {"environment": {**launch.env, **launch.secrets}}


def test_an_engine_that_offers_nothing_is_an_error(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.backends.docker.probe_host", lambda _: HostFacts(toolkit=Toolkit()))

    with pytest.raises(BackendError) as caught:
        engine(info={"Runtimes": {"runc": {}}})._gpu_options(replace(launch, gpus=(GPU,)))

    assert caught.value.message == "there is a GPU, but this Docker engine cannot hand it to a container"
    assert caught.value.hint == (
        "`envkit doctor` says what is missing; or use `--backend venv`, or give the GPU up with `--device cpu`"
    )


# Images ---------------------------------------------------------------------------------------------------------------

OURS = {"io.envkit.recipe": "ab12", "io.envkit.environment": "demo-cu130"}


def holding(*images: dict[str, Any], refusal: Exception | None = None) -> tuple[DockerBackend, list[str]]:
    """A backend whose engine has these images, and what was removed from it."""
    removed: list[str] = []

    def get(url: str, *, params: dict[str, str], timeout: int) -> Any:
        assert (url, params) == ("http+docker://localhost/v1.45/images/json", {"shared-size": "1"})
        return SimpleNamespace(json=lambda: list(images), raise_for_status=lambda: None)

    def remove(image: str) -> None:
        if refusal:
            raise refusal
        removed.append(image)

    backend = DockerBackend()
    api = SimpleNamespace(
        base_url="http+docker://localhost",
        api_version="1.45",
        timeout=120,
        get=get,
        containers=lambda **_: [{"ImageID": "sha256:aaaa", "Names": ["/envkit-demo-page"]}],
    )
    backend.__dict__["_client"] = SimpleNamespace(api=api, images=SimpleNamespace(remove=remove))
    return backend, removed


def image(identity: str, *tags: str, labels: dict[str, str] | None = OURS, shared: int | None = 40) -> dict[str, Any]:
    described = {"Id": f"sha256:{identity}", "RepoTags": list(tags), "Labels": labels, "Size": 100}
    return described if shared is None else {**described, "SharedSize": shared}


def test_our_images_are_listed_by_their_tags_and_nobody_else_s() -> None:
    backend, _ = holding(
        image("aaaa", "envkit/demo:2.1.0-cu130"),
        image("b" * 64),
        image("cccc", "<none>:<none>", shared=-1),
        image("dddd", "envkit/demo:1.0-cpu", "registry.example/me/demo:mine"),
        image("eeee", "mine:latest"),
        image("ffff", "envkit/by-hand:1", labels={"io.envkit.environment": "demo-cu130"}),
        image("9999", "debian:bookworm-slim", labels=None),
        image("8888", "envkit/demo:old-engine", shared=None),
    )

    assert backend.environments() == [
        Made("bbbbbbbbbbbb", "demo-cu130", "ab12", size=100, frees=60),
        Made("cccc", "demo-cu130", "ab12", size=100),
        Made("envkit/demo:1.0-cpu", "demo-cu130", "ab12", size=100),
        Made(
            "envkit/demo:2.1.0-cu130",
            "demo-cu130",
            "ab12",
            ("container envkit-demo-page",),
            size=100,
            frees=60,
        ),
        Made("envkit/demo:old-engine", "demo-cu130", "ab12", size=100),
    ]


def test_the_key_of_an_image_is_that_of_its_recipe(recipe: Recipe) -> None:
    key = recipe_hash(recipe)

    assert DockerBackend().key(recipe) == key
    assert DockerBackend().key(replace(recipe, base_image="other")) == key
    assert DockerBackend().key(replace(recipe, lock=replace(recipe.lock, body="six==1.17.0\n"))) != key


def test_an_image_is_removed_by_its_tag_and_one_that_is_gone_is_no_error() -> None:
    made = Made("envkit/demo:1.0-cpu", "demo-cpu", "")
    backend, removed = holding()
    backend.discard(made)
    assert removed == ["envkit/demo:1.0-cpu"]

    holding(refusal=ImageNotFound("no such image"))[0].discard(made)

    used = APIError("409", explanation="conflict: container 61e5 is using it")
    with pytest.raises(BackendError, match=r"^the Docker engine refused: conflict: container 61e5 is using it$"):
        holding(refusal=used)[0].discard(made)
