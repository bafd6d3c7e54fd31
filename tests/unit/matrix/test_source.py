"""YAML becomes typed values, and every fault names file, line, key and value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from msgspec import Meta, Struct, field

from envkit.matrix.source import Source

if TYPE_CHECKING:
    from pathlib import Path

Colour = Annotated[str, Meta(pattern="^[a-z]+$", description="a colour, such as `red`")]


class Part(Struct, frozen=True):
    size: int
    colour: Colour = "grey"


class Shape(Struct, frozen=True):
    name: str
    parts: dict[str, Part] = field(default_factory=dict)
    tags: Annotated[list[Colour], Meta(min_length=1)] = field(default_factory=list)
    base: Part | None = None
    on: bool = False


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "shape.yaml"


def read(file: Path, text: str) -> tuple[Shape | None, list[str]]:
    file.write_text(text, encoding="utf-8")
    source = Source()
    return source.read(file, Shape), [each.removeprefix(str(file)) for each in source.faults]


def test_a_good_file_becomes_its_value(file: Path) -> None:
    text = "name: 3.10\nparts: {a: {size: 3}}\ntags: [red]\nbase: {size: 1, colour: blue}\non: true\n"

    assert read(file, text) == (Shape("3.10", {"a": Part(3)}, ["red"], Part(1, "blue"), True), [])


@pytest.mark.parametrize("scalar", ["3.10", "1e3", "0o17", "yes", "2026-11-20", "0x1F", "1_000"])
def test_scalars_stay_text(file: Path, scalar: str) -> None:
    assert read(file, f"name: {scalar}\n") == (Shape(scalar), [])


def test_anchors_are_followed(file: Path) -> None:
    value, faults = read(file, "name: x\nparts: {a: &a {size: 1}, b: *a}\n")

    assert faults == []
    assert value == Shape("x", {"a": Part(1), "b": Part(1)})


def test_faults_come_together_and_each_names_its_place(file: Path) -> None:
    text = """\
parts:
  a: {size: big}
  b:
    size: 1
    color: red
    colour: RED
  b: {size: 2}
tags: [red, Blue]
base: [1]
on: maybe
"""

    assert read(file, text) == (
        None,
        [
            ":7: parts.b: the key stands here a second time",
            ":1: the key `name` is missing",
            ":2: parts.a.size: expected `int`, got `str`, got 'big'",
            ":8: tags.1: expected a colour, such as `red`, got 'Blue'",
            ":9: base: expected `object`, got `array`, got ['1']",
            ":10: on: expected `bool`, got `str`, got 'maybe'",
        ],
    )


def test_an_unknown_key_gets_the_nearest_one(file: Path) -> None:
    text = "name: x\nparts: {a: {size: 1, color: red, weight: 3}}\nnama: y\n"

    assert read(file, text)[1] == [
        ":3: nama: unknown key, did you mean `name`?",
        ":2: parts.a.color: unknown key, did you mean `colour`?",
        ":2: parts.a.weight: unknown key",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", ":1: the key `name` is missing"),
        ("name: [x\n", ":2: not YAML: did not find expected ',' or ']'"),
        ("name: x\n---\nname: y\n", ":2: not YAML: but found another document"),
        ("name: {a: b\n", ":2: not YAML: did not find expected ',' or '}'"),
        ("name:\n", ":1: name: expected `str`, got `null`, got None"),
        ("- name\n", ":1: expected `object`, got `array`, got ['name']"),
        ("name: x\ntags: []\n", ":2: tags: expected `array` of length >= 1, got []"),
    ],
)
def test_a_bad_file_is_one_fault(file: Path, text: str, fault: str) -> None:
    assert read(file, text) == (None, [fault])


def test_a_file_that_is_not_there(file: Path) -> None:
    source = Source()

    assert source.read(file, Shape) is None
    assert source.faults == [f"{file}: there is no such file"]


def test_a_file_that_is_not_utf_8(file: Path) -> None:
    file.write_bytes(b"name: \xff\n")
    source = Source()

    assert source.read(file, Shape) is None
    assert source.faults == [
        f"{file}: cannot be read: 'utf-8' codec can't decode byte 0xff in position 6: invalid start byte"
    ]


def test_a_file_with_a_control_character(file: Path) -> None:
    assert read(file, "name: a\x00b\n") == (None, [": not YAML: control characters are not allowed"])


def test_an_anchor_that_contains_itself(file: Path) -> None:
    value, faults = read(file, "name: x\nparts: &a {a: *a}\n")

    assert value is None
    assert len(faults) == 1


def test_a_later_fault_is_blamed_on_the_file_that_said_it_last(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    file.write_text("name: x\nparts: {a: {size: 1}}\n")
    other.write_text("parts:\n  a: {size: 1}\nname: y\n")
    source = Source()
    source.read(file, Shape)
    source.read(other, Shape)

    source.fault(("parts", "a", "size"), "too small")
    source.fault(("parts", "a", "weight"), "missing")
    source.fault(("parts", "c"), "unheard of")
    source.fault(("name",), "too short", file)

    assert source.faults == [
        f"{other}:2: parts.a.size: too small",
        f"{other}:2: parts.a.weight: missing",
        f"{other}:1: parts.c: unheard of",
        f"{file}:1: name: too short",
    ]
