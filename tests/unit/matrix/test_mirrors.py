"""Which mirrors are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.errors import MatrixError
from envkit.matrix.mirrors import addresses, compose_mirror, read_mirror
from envkit.matrix.schema import Mirror

if TYPE_CHECKING:
    from pathlib import Path

NEAR = Mirror(about="near", index="https://near.example/simple", apt="http://near.example/debian")
FAR = Mirror(about="far", index="https://far.example/simple", huggingface="https://hf.example")


def test_each_address_is_named_once() -> None:
    assert addresses([NEAR, FAR, NEAR], "index") == ["https://near.example/simple", "https://far.example/simple"]
    assert addresses([NEAR, FAR], "docker_hub") == []


def test_usual_addresses_that_do_need_no_mirror() -> None:
    assert compose_mirror({}, [NEAR, FAR], modelscope=False) is None


def test_packages_of_debian_come_from_where_the_index_is() -> None:
    chosen = {"index": "https://near.example/simple", "huggingface": "https://hf.example"}

    assert compose_mirror(chosen, [NEAR, FAR], modelscope=False) == Mirror(
        about="chosen by measurement",
        index="https://near.example/simple",
        apt="http://near.example/debian",
        huggingface="https://hf.example",
    )
    assert compose_mirror({"huggingface": "https://hf.example"}, [NEAR], modelscope=False) == Mirror(
        about="chosen by measurement", huggingface="https://hf.example"
    )


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("about: ours\nindex: https://ours.example/simple\nmodelscope: true\n")

    assert read_mirror(file) == Mirror(about="ours", index="https://ours.example/simple", modelscope=True)


def test_faults_of_a_file_are_told_with_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("about: ours\nindexes: https://ours.example/simple\nhuggingface: here\n")

    with pytest.raises(MatrixError) as caught:
        read_mirror(file)

    assert caught.value.message == "the mirrors have 2 faults"
    assert caught.value.faults == (
        f"{file}:2: indexes: unknown key, did you mean `index`?",
        f"{file}:3: huggingface: expected an address, such as `https://example.com/simple`, got 'here'",
    )
