"""Reading CDI specs as `nvidia-ctk cdi generate` writes them, and whatever else lies beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from envkit.host.cdi import read_cdi_specs
from envkit.host.facts import CdiSpec

if TYPE_CHECKING:
    from pathlib import Path

GENERATED = """\
---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
    - name: "0"
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
    - name: GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c
      containerEdits:
        deviceNodes:
            - path: /dev/nvidia0
    - name: all
      containerEdits: {}
containerEdits:
    env:
        - NVIDIA_VISIBLE_DEVICES=void
    mounts:
        - hostPath: /run/nvidia-persistenced/socket
          containerPath: /run/nvidia-persistenced/socket
        - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07
          containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.580.82.07
"""


def test_a_generated_spec_gives_its_devices_and_its_driver(tmp_path: Path) -> None:
    path = tmp_path / "nvidia.yaml"
    path.write_text(GENERATED)

    assert read_cdi_specs((str(tmp_path),)) == (
        CdiSpec(
            path=str(path),
            devices=(
                "nvidia.com/gpu=0",
                "nvidia.com/gpu=GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c",
                "nvidia.com/gpu=all",
            ),
            driver="580.82.07",
        ),
    )


def test_names_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text("kind: nvidia.com/gpu\ndevices: [{name: 00}, {name: 1:30}, {name: 1}]\n")

    (spec,) = read_cdi_specs((str(tmp_path),))

    assert spec.devices == ("nvidia.com/gpu=00", "nvidia.com/gpu=1:30", "nvidia.com/gpu=1")


def test_every_folder_is_read_json_too(tmp_path: Path) -> None:
    for folder, name in (("etc", "b.json"), ("etc", "a.json"), ("run", "a.json")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(
            json.dumps({"kind": "nvidia.com/gpu", "devices": [{"name": f"{folder}-{name[0]}"}]}, indent="\t")
        )

    specs = read_cdi_specs((str(tmp_path / "etc"), str(tmp_path / "none"), str(tmp_path / "run")))

    assert [each.devices for each in specs] == [
        ("nvidia.com/gpu=etc-a",),
        ("nvidia.com/gpu=etc-b",),
        ("nvidia.com/gpu=run-a",),
    ]
    assert {each.driver for each in specs} == {None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind: [",
        "- kind: nvidia.com/gpu",
        "kind: vendor.com/net\ndevices: [{name: a}]",
        "devices: [{name: a}]",
        "kind: !!python/name:os.system",
        "\x00\xff",
    ],
)
def test_what_is_not_a_spec_of_nvidia_is_passed_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken.yaml").write_text(text, encoding="latin-1")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nowhere")
    (tmp_path / "nvidia.yaml.bak").write_text(GENERATED)

    assert read_cdi_specs((str(tmp_path),)) == ()


@pytest.mark.parametrize("devices", ["{a: {name: 0}}", "[0, [0], {name: }, {name: [0]}, {}]", ""])
def test_a_spec_without_devices_is_one_nevertheless(tmp_path: Path, devices: str) -> None:
    path = tmp_path / "nvidia.yaml"
    path.write_text(f"kind: nvidia.com/gpu\ndevices: {devices}\n")

    assert read_cdi_specs((str(tmp_path),)) == (CdiSpec(path=str(path)),)
