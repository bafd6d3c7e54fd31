"""`envkit doctor` on an environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from envkit.host.facts import Gpu
from tests.unit.audit.made import with_versions
from tests.unit.audit.triggers import SOUND, XFORMERS, with_seen
from tests.unit.doctor.triggers import with_

if TYPE_CHECKING:
    from pathlib import Path

    from envkit.audit.seen import Seen
    from tests.unit.cli.conftest import Envkit, Machine

BROKEN = with_seen(with_versions(xformers="0.0.32.post2", nvidia_nccl_cu12="2.27.3"), linking=(XFORMERS,)).seen


class Place:
    """What was asked for, and what is there."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.asked: list[tuple[Any, ...]] = []
        self.deep: bool | None = None
        self.there: Seen = SOUND.seen

    def named(self, kind: str) -> Any:
        """In place of the function that finds such an environment."""

        def find(*what: Any) -> str:
            self.asked.append((kind, *map(str, what)))
            return f"{what[0]}/bin/python" if kind == "venv" else kind

        return find

    def look(self, _inside: object, _known: object, *, deep: bool) -> Seen:
        """In place of looking."""
        self.deep = deep
        return self.there


@pytest.fixture
def place(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place()
    for kind, name in {
        "python": "in_python",
        "image": "in_image",
        "container": "in_container",
        "venv": "python_of",
    }.items():
        monkeypatch.setattr(f"envkit.cli.environment.{name}", found.named(kind))
    monkeypatch.setattr("envkit.cli.environment.ask_probe", found.look)
    monkeypatch.setattr("envkit.cli.environment.time.monotonic", lambda: 1.0)
    return found


def test_a_sound_environment(envkit: Envkit, place: Place) -> None:
    result = envkit("doctor", "--python", "/venv/bin/python")

    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "/venv/bin/python: Python 3.11.2, torch 2.11.0 (CUDA 13.0), 7 packages, 90 libraries, looked at in 0.0 s\n"
        "\n"
        "nothing is wrong with this environment\n"
    )
    assert (place.asked, place.deep) == ([("python", "/venv/bin/python")], False)


def test_a_broken_environment(envkit: Envkit, place: Place) -> None:
    place.there = BROKEN

    result = envkit("doctor", "--image", "team/train:3")

    assert (result.status, result.err) == (1, "")
    assert result.out == (
        "team/train:3: Python 3.11.2, torch 2.11.0 (CUDA 13.0), 9 packages, 90 libraries, looked at in 0.0 s\n"
        "\n"
        "✗ xformers is built for CUDA 12, and torch is for CUDA 13.0  built-for-another-cuda\n"
        "    seen       xformers/_C.so needs libcudart.so.12, which is not there\n"
        "    otherwise  libcudart.so.12: cannot open shared object file: No such file or directory\n"
        "    do         install the xformers that was built for torch 2.11.0, from the same index as torch\n"
        "               or move torch to the CUDA that xformers has; a second CUDA beside torch's is no cure\n"
        "\n"
        "! packages of CUDA 12 are there beside a torch for CUDA 13  packages-of-another-cuda\n"
        "    seen       nvidia-nccl-cu12 2.27.3 is for CUDA 12, torch for CUDA 13\n"
        "    do         `pip uninstall` them, unless something that is no part of torch needs them: `pip show` says what does\n"
        "\n"
        "1 error, 1 warning\n"
    )


def test_json(envkit: Envkit, place: Place) -> None:
    place.there = BROKEN

    result = envkit("doctor", "--venv", "/venv", "--json", "--deep")

    assert result.status == 1
    assert [(each["id"], each["severity"]) for each in result.data["findings"]] == [
        ("built-for-another-cuda", "error"),
        ("packages-of-another-cuda", "warning"),
    ]
    assert set(result.data["findings"][0]) == {"id", "severity", "title", "evidence", "otherwise", "fix", "source"}
    assert {key: value for key, value in result.data.items() if key != "findings"} == {
        "ok": False,
        "skipped": [],
        "repairs": [],
        "environment": {
            "name": "/venv",
            "python": "3.11.2",
            "folders": ["/venv/lib/python3.11/site-packages"],
            "torch": "2.11.0",
            "cuda": "13.0",
            "packages": 9,
            "files": 700,
            "libraries": 90,
            "seconds": 0.0,
        },
    }
    assert (place.asked, place.deep) == ([("venv", "/venv"), ("python", "/venv/bin/python")], True)


def test_an_environment_without_torch(envkit: Envkit, place: Place) -> None:
    place.there = with_seen(with_versions(torch=None, torchvision=None), cuda={}, requires={}, sonames={}).seen

    assert envkit("doctor", "--python", "p").out.startswith("p: Python 3.11.2, no torch, 5 packages, ")


def test_an_interpreter_inside_a_container_may_be_named(envkit: Envkit, place: Place) -> None:
    assert envkit("doctor", "--container", "job", "--python", "/opt/venv/bin/python").status == 0
    assert envkit("doctor", "--image", "team/train:3").status == 0
    assert place.asked == [("container", "job", "/opt/venv/bin/python"), ("image", "team/train:3", "None")]


def test_the_machine_s_driver_is_held_against_its_torch(
    envkit: Envkit, place: Place, machine: Machine, tmp_path: Path
) -> None:
    old = with_(gpus=(Gpu(name="Card"),), driver="470.82.01", cuda_driver="11.4")
    machine.facts = old

    assert [each["id"] for each in envkit("doctor", "--python", "p", "--json").data["findings"]] == [
        "driver-too-old-for-torch"
    ]

    machine.facts = with_(gpus=())
    assert envkit("doctor", "--python", "p", "--json").data["findings"] == []
    (tmp_path / "facts.json").write_bytes(msgspec.json.encode(old))
    there = envkit("doctor", "--python", "p", "--json", "--facts", str(tmp_path / "facts.json"))
    assert [each["id"] for each in there.data["findings"]] == ["driver-too-old-for-torch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--python", "p"], "a framework is about the machine"),
        (["--python", "p", "--fix"], "--fix is about the machine"),
        (["--python", "p", "--offline"], "--offline is about the machine"),
        (["--python", "p", "--record", "f"], "--record is about the machine"),
        (["--deep"], "--deep is about an environment"),
        (["--image", "i", "--container", "c"], "one environment at a time: --image and --container"),
        (["--venv", "/v", "--python", "p"], "one environment at a time: --venv and --python"),
    ],
)
def test_what_does_not_go_together(envkit: Envkit, place: Place, arguments: list[str], message: str) -> None:
    result = envkit("doctor", *arguments)

    assert result.status == 2
    assert result.err.splitlines()[0] == f"error: {message}"
