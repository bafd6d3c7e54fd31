"""What podman is asked for, and what its words and its log files mean; a real podman is in tests/integration."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from envkit.backends.base import Instance, Launch, Made, Mount, NameTakenError, Recipe, Silent
from envkit.backends.podman import PodmanBackend, create_options
from envkit.backends.podman_log import read_log
from envkit.errors import BackendError, BuildError
from envkit.host.facts import CdiSpec, Gpu, MigDevice
from envkit.process import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

NO_INIT = "Error: container-init binary not found on the host: stat /usr/libexec/podman/catatonit: no such file\n"
NAME_TAKEN = (
    'Error: creating container storage: the container name "envkit-demo-train" is already in use by 61e5f1d43239. You have'
    " to remove that container to be able to reuse that name: that name is already in use\n"
)


class Podman:
    """Stands where `process.run` does: answers the first of its words that a call begins with, and remembers calls."""

    def __init__(self, **answers: Completed | Sequence[Completed]) -> None:
        self._answers = {name: [each] if isinstance(each, Completed) else list(each) for name, each in answers.items()}
        self.calls: list[list[str]] = []
        self.environs: list[Mapping[str, str] | None] = []

    def __call__(
        self, argv: Sequence[str], *, whole: bool, timeout: float | None, env: Mapping[str, str] | None = None
    ) -> Completed:
        assert argv[0] == "podman"
        assert whole
        self.calls.append(list(argv[1:]))
        self.environs.append(env)
        answers = self._answers.get(argv[1], [Completed(0, "", "")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def called(self, *words: str) -> list[list[str]]:
        """The calls that begin so."""
        return [each for each in self.calls if each[: len(words)] == list(words)]


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Podman]:
    """Makes a podman with these answers."""

    def make(**answers: Completed | Sequence[Completed]) -> Podman:
        made = Podman(**{"version": Completed(0, "4.3.1\n", ""), **answers})
        monkeypatch.setattr("envkit.process.run", made)
        monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
        return made

    return make


@pytest.fixture
def launch(recipe: Recipe, tmp_path: Path) -> Launch:
    return Launch(
        name="demo-train",
        app="train",
        environment=recipe.environment,
        lock_sha256="ab12",
        argv=("demo-cli", "train"),
        workdir="/workspace",
        env={"PLAIN": "1", "HTTPS_PROXY": "http://me:hunter2@proxy.example"},
        secrets={"DEMO_TOKEN": "hush"},
        mounts=(Mount(tmp_path, "/workspace"),),
    )


def options(launch: Launch, **changed: Any) -> list[str]:
    given: dict[str, Any] = {"limits": {}, "devices": [], "init": True, "rootless": False, **changed}
    return create_options(launch, given.pop("limits"), **given)


# Whether it works -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ({}, None),
        ({"version": Completed(0, "5.0.0-rc1\n", "")}, None),
        ({"version": Completed(0, "3.4.4\n", "")}, "podman 3.4.4 is too old: 4.1 is needed"),
        (
            {"ps": Completed(125, "", 'time="T" level=warning msg="x"\nError: cannot re-exec process\n')},
            "podman refused: cannot re-exec process",
        ),
        ({"ps": Completed(1, "", 'time="T" level=error msg="no such file"\n')}, "podman refused: no such file"),
        ({"ps": Completed(137, "", "")}, "podman refused: podman ended with status 137"),
    ],
)
def test_why_podman_cannot_be_used(
    podman: Callable[..., Podman], answers: dict[str, Completed], problem: str | None
) -> None:
    podman(**answers)

    assert PodmanBackend().problem() == problem


def test_no_podman_is_a_problem_with_a_way_out(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _: None)

    with pytest.raises(BackendError, match=r"^podman cannot be used: podman is not installed$") as caught:
        PodmanBackend().make(recipe, Silent())

    assert caught.value.hint == "install podman 4.1 or newer, or use `--backend venv`"


# Images ---------------------------------------------------------------------------------------------------------------


def test_a_build_that_fails_names_image_step_and_words(
    recipe: Recipe, podman: Callable[..., Podman], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(argv: list[str], feed: Any) -> int:
        assert argv[:2] == ["podman", "build"]
        for line in ("STEP 2/3: RUN x", "out of luck", 'Error: building at STEP "RUN x": while running runtime: no'):
            feed(line)
        return 1

    podman()
    monkeypatch.setattr("envkit.process.stream", stream)

    with pytest.raises(BuildError) as caught:
        PodmanBackend().make(recipe, Silent())

    assert caught.value.message == "building envkit/demo:2.1.0-cu130 failed at step step 2/3"
    assert caught.value.details == "out of luck\nERROR: while running runtime: no"


def test_a_build_that_ended_well_and_too_early_failed(
    recipe: Recipe, podman: Callable[..., Podman], monkeypatch: pytest.MonkeyPatch
) -> None:
    """podman 4.3 ends with status 0 when something else ends it."""
    podman()
    monkeypatch.setattr("envkit.process.stream", lambda _, feed: feed("[1/5] STEP 3/3: RUN x") or 0)

    with pytest.raises(BuildError):
        PodmanBackend().make(recipe, Silent())


def test_an_interrupted_build_removes_what_it_left_and_nothing_else(
    recipe: Recipe, podman: Callable[..., Podman], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(argv: list[str], feed: Any) -> int:
        feed("--> dc2cc050593")
        raise KeyboardInterrupt

    monkeypatch.setattr("envkit.process.stream", stream)
    monkeypatch.setattr("time.time", lambda: 1000.5)
    listed = [
        {"Id": "ours", "ImageID": "dc2cc050593fba6e", "Created": 1000},
        {"Id": "older", "ImageID": "dc2cc050593fba6e", "Created": 999},
        {"Id": "theirs", "ImageID": "ffffffffffff", "Created": 1001},
    ]
    made = podman(ps=[Completed(0, "", ""), Completed(0, json.dumps(listed), "")])

    with pytest.raises(KeyboardInterrupt):
        PodmanBackend().make(recipe, Silent())

    assert made.called("rm") == [["rm", "--force", "ours"]]


@pytest.mark.parametrize(
    ("answer", "there"), [(Completed(125, "[]", "Error: image not known"), False), (Completed(0, '[{"Labels": null}]', ""), False)]
)  # fmt: skip
def test_an_image_that_is_missing_or_somebody_else_s(
    recipe: Recipe, podman: Callable[..., Podman], answer: Completed, there: bool
) -> None:
    podman(image=answer)

    assert PodmanBackend().has(recipe) is there


OURS = {"io.envkit.recipe": "ab12", "io.envkit.environment": "demo-cu130"}
IMAGES = [
    {"Id": "a" * 64, "Names": ["localhost/envkit/demo:2.1.0-cu130"], "Labels": OURS, "Size": 100},
    {"Id": "b" * 64, "Labels": OURS, "Size": 90},
    {"Id": "c" * 64, "Names": ["localhost/mine:latest", "registry.example/x:1"], "Labels": OURS, "Size": 80},
]
CONTAINERS = [
    {"Id": "c0ffee", "ImageID": "a" * 64, "Created": 1, "Names": ["envkit-demo-page"]},
    {"Id": "d0d0d0d0d0d0d0d0", "ImageID": "b" * 64, "Created": 1, "Names": None},
]


def test_our_images_are_listed_by_their_tags(podman: Callable[..., Podman]) -> None:
    made = podman(images=Completed(0, json.dumps(IMAGES), ""), ps=Completed(0, json.dumps(CONTAINERS), ""))

    assert PodmanBackend().environments() == [
        Made("bbbbbbbbbbbb", "demo-cu130", "ab12", ("container d0d0d0d0d0d0",), size=90),
        Made(
            "envkit/demo:2.1.0-cu130",
            "demo-cu130",
            "ab12",
            ("container envkit-demo-page",),
            size=100,
        ),
    ]
    assert "--filter" in made.called("images")[0]
    assert "label=io.envkit.recipe" in made.called("images")[0]


def test_an_image_is_removed_by_its_tag_and_a_refusal_is_an_error(podman: Callable[..., Podman]) -> None:
    one = Made("envkit/demo:2.1.0-cu130", "demo-cu130", "")
    made = podman()
    PodmanBackend().discard(one)
    assert made.calls == [["image", "rm", "envkit/demo:2.1.0-cu130"]]

    refused = Completed(2, "", "Error: image used by c0ffee: image is in use by a container\n")
    podman(image=[refused, Completed(0, "", "")])
    with pytest.raises(BackendError, match=r"^podman refused: image used by c0ffee: image is in use by a container$"):
        PodmanBackend().discard(one)

    podman(image=[Completed(1, "", "Error: image not known\n"), Completed(1, "", "")])
    PodmanBackend().discard(one)


# Containers -----------------------------------------------------------------------------------------------------------


def test_what_a_container_is_made_with(launch: Launch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example")

    made = options(launch, limits={"memlock": -1, "nofile": 1024})

    assert made == [
        "--pull=never",
        "--name=envkit-demo-train",
        "--label=io.envkit.instance=demo-train",
        "--label=io.envkit.app=train",
        "--label=io.envkit.framework=demo",
        "--label=io.envkit.environment=demo-cu130",
        "--label=io.envkit.lock=ab12",
        "--label=io.envkit.url=",
        "--env=PLAIN=1",
        "--env=HTTPS_PROXY",
        "--env=DEMO_TOKEN",
        "--http-proxy=false",
        "--workdir=/workspace",
        f"--user={os.getuid()}:{tmp_path.stat().st_gid}",
        f'--mount=type=bind,"source={tmp_path}","target=/workspace"',
        "--init",
        "--shm-size=16gb",
        "--ulimit=memlock=-1:-1",
        "--ulimit=nofile=1024:1024",
        "--log-driver=k8s-file",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--security-opt=label=disable",
        "envkit/demo:2.1.0-cu130",
        "demo-cli",
        "train",
    ]


def test_a_port_a_rootless_user_and_a_machine_without_an_init(launch: Launch) -> None:
    usual = options(launch)

    server = options(replace(launch, port=8901, container_port=8000), init=False, rootless=True)

    assert set(server) - set(usual) == {"--userns=keep-id", "--publish=127.0.0.1:8901:8000/tcp"}
    assert set(usual) - set(server) == {"--init"}


def test_secrets_reach_podman_by_its_environment_alone(launch: Launch, podman: Callable[..., Podman]) -> None:
    made = podman(create=Completed(0, "c0ffee\n", ""))

    PodmanBackend().start(launch)

    environ = made.environs[made.calls.index(made.called("create")[0])]
    assert environ is not None
    assert environ["DEMO_TOKEN"] == "hush"
    assert not any("hush" in word for call in made.calls for word in call)
    assert made.called("start") == [["start", "c0ffee"]]


def test_a_name_that_is_taken_is_told_apart(launch: Launch, podman: Callable[..., Podman]) -> None:
    podman(create=Completed(125, "", NAME_TAKEN))

    with pytest.raises(NameTakenError):
        PodmanBackend().start(launch)


def test_where_there_is_no_init_the_app_starts_without_one(launch: Launch, podman: Callable[..., Podman]) -> None:
    made = podman(create=[Completed(125, "", NO_INIT), Completed(0, "c0ffee\n", "")])
    backend = PodmanBackend()

    backend.start(launch)
    backend.start(launch)

    assert ["--init" in call for call in made.called("create")] == [True, False, False]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (
            "listen tcp4 127.0.0.1:8901: bind: address already in use",
            "another program took the port: choose one with `--port`",
        ),
        (
            "setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=0",
            "`sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml` describes the GPUs; or use `--device cpu`",
        ),
        ("the disk is on fire", "podman's own words are above; `podman info` tells more about it"),
    ],
)
def test_a_container_that_does_not_start_is_removed(
    launch: Launch, podman: Callable[..., Podman], words: str, hint: str
) -> None:
    made = podman(create=Completed(0, "c0ffee\n", ""), start=Completed(125, "", f"Error: {words}\n"))

    with pytest.raises(BackendError) as caught:
        PodmanBackend().start(launch)

    assert (caught.value.message, caught.value.hint) == (f"the container did not start: {words}", hint)
    assert made.called("rm") == [["rm", "--force", "--ignore", "--volumes", "--time=0", "c0ffee"]]


def test_limits_that_may_not_be_raised_are_asked_for_as_they_are(
    launch: Launch, podman: Callable[..., Podman], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Completed(126, "", "Error: runc: error setting rlimit type 7: operation not permitted\n")
    made = podman(create=Completed(0, "c0ffee\n", ""), start=[refused, Completed(0, "", "")])
    monkeypatch.setattr("resource.getrlimit", lambda number: (1024, {8: 65536, 3: -1, 7: 20000, 6: 96365}[number]))

    PodmanBackend().start(launch)

    asked = [[word for word in call if word.startswith("--ulimit=")] for call in made.called("create")]
    assert asked == [
        ["--ulimit=memlock=-1:-1", "--ulimit=stack=67108864:67108864", "--ulimit=nofile=1048576:1048576"],
        [
            "--ulimit=memlock=65536:65536",
            "--ulimit=stack=67108864:67108864",
            "--ulimit=nofile=20000:20000",
            "--ulimit=nproc=32768:32768",
        ],
    ]


def test_instances_are_read_from_labels_and_times_are_made_utc(podman: Callable[..., Podman]) -> None:
    labels = {"instance": "demo-webui", "framework": "demo", "app": "webui", "environment": "demo-cpu", "url": ""}
    inspected = {
        "Id": "c0ffee",
        "Created": "2026-11-21T16:57:07.123956789+08:00",
        "Config": {"Labels": {f"io.envkit.{name}": value for name, value in labels.items()}},
        "State": {"Running": False, "ExitCode": 3},
        "HostConfig": {"LogConfig": {"Path": "/nowhere"}},
    }
    podman(ps=Completed(0, "c0ffee\n", ""), container=Completed(125, json.dumps([inspected]), "Error: one is gone\n"))

    assert PodmanBackend().instances() == [
        Instance(
            name="demo-webui",
            framework="demo",
            app="webui",
            environment="demo-cpu",
            backend="podman",
            status="exited",
            started="2026-11-21T08:57:07.123Z",
            exit_status=3,
        )
    ]


# GPUs -----------------------------------------------------------------------------------------------------------------

GPU = Gpu(index=1, uuid="GPU-bbbb")
SLICED = Gpu(index=0, uuid="GPU-aaaa", mig=True, mig_devices=(MigDevice(uuid="MIG-cccc"),))


@pytest.mark.parametrize(
    ("devices", "gpus", "asked"),
    [
        (("nvidia.com/gpu=0", "nvidia.com/gpu=1"), (GPU,), ["--device=nvidia.com/gpu=1"]),
        (("nvidia.com/gpu=0:0", "nvidia.com/gpu=1"), (SLICED, GPU), ["--device=nvidia.com/gpu=0:0", "--device=nvidia.com/gpu=1"]),
        (("nvidia.com/gpu=all",), (SLICED, GPU), ["--device=nvidia.com/gpu=all", "--env=CUDA_VISIBLE_DEVICES=MIG-cccc,GPU-bbbb"]),
    ],
)  # fmt: skip
def test_gpus_are_asked_for_by_the_names_in_the_spec(
    launch: Launch,
    podman: Callable[..., Podman],
    monkeypatch: pytest.MonkeyPatch,
    devices: tuple[str, ...],
    gpus: tuple[Gpu, ...],
    asked: list[str],
) -> None:
    monkeypatch.setattr("envkit.backends.podman.read_cdi_specs", lambda: (CdiSpec(path="x", devices=devices),))
    made = podman(create=Completed(0, "c0ffee\n", ""))
    backend = PodmanBackend()
    assert backend.gpu_problem() is None

    backend.start(replace(launch, gpus=gpus))

    (create,) = made.called("create")
    assert [word for word in create if word.startswith("--device") or "CUDA" in word] == asked


def test_a_gpu_without_a_name_in_any_spec_is_an_error_before_anything_is_made(
    launch: Launch, podman: Callable[..., Podman], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envkit.backends.podman.read_cdi_specs", lambda: ())
    made = podman()
    backend = PodmanBackend()
    assert backend.gpu_problem() == "podman finds no CDI description of the GPUs"

    with pytest.raises(BackendError) as caught:
        backend.start(replace(launch, gpus=(GPU,)))

    assert caught.value.message == "there is a GPU, but podman cannot hand it to a container: no CDI spec names it"
    assert made.called("create") == []


# Logs -----------------------------------------------------------------------------------------------------------------

LOG = (
    "2026-11-21T09:00:00.000000001+00:00 stdout F first\n"
    "2026-11-21T09:00:00.000000002+00:00 stdout P line \n"
    "2026-11-21T09:00:00.000000003+00:00 stderr F to stderr\n"
    "2026-11-21T09:00:00.000000004+00:00 stdout F 922\n"
    "2026-11-21T09:00:00.000000005+00:00 stdout F \n"
    "2026-11-21T09:00:00.000000006+00:00 stdout F  two  spaces \n"
    "2026-11-21T09:00:00.000000007+00:00 stderr P 50%\n"
)


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        (None, b"first\nto stderr\nline 922\n\n two  spaces \n50%"),
        (2, b"\n two  spaces \n50%"),
    ],
)
def test_lines_in_pieces_are_put_together(tmp_path: Path, tail: int | None, expected: bytes) -> None:
    path = tmp_path / "ctr.log"
    path.write_text(LOG)

    assert b"".join(read_log(path, lambda: False, tail)) == expected


def test_a_log_is_followed_as_long_as_the_app_is_alive(tmp_path: Path) -> None:
    path = tmp_path / "ctr.log"
    path.write_text("T stdout F one\nT stdo")
    more = iter(["ut P tw", "o\nT stdout F !\n", ""])

    def is_alive() -> bool:
        text = next(more)
        with path.open("a") as log:
            log.write(text)
        return bool(text)

    assert b"".join(read_log(path, is_alive)) == b"one\ntwo!\n"


def test_a_log_that_is_gone_is_empty(tmp_path: Path) -> None:
    assert list(read_log(tmp_path / "none", lambda: True)) == []
