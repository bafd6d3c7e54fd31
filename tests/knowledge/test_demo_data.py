"""The demo data of LLaMA-Factory's workspace: what its list names is there, in the format that it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.conftest import REPOSITORY

WORKSPACE = REPOSITORY / "images/llamafactory/workspace"
DATA = WORKSPACE / "data"
INFO: dict[str, dict[str, Any]] = json.loads((DATA / "dataset_info.json").read_text(encoding="utf-8"))


def entries(name: str) -> list[dict[str, Any]]:
    return json.loads((DATA / INFO[name]["file_name"]).read_text(encoding="utf-8"))


@pytest.fixture(params=INFO)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_list_names_every_file_and_no_other() -> None:
    files = {each.name for each in DATA.iterdir()} - {"dataset_info.json", "README.md"}

    assert sorted(each["file_name"] for each in INFO.values()) == sorted(files)
    assert {each["formatting"] for each in INFO.values()} == {"alpaca", "sharegpt"}


def test_every_kind_of_data_is_there_in_both_languages() -> None:
    kinds = ("alpaca", "sharegpt", "pretrain", "preference")

    assert set(INFO) == {f"demo_{kind}_{language}" for kind in kinds for language in ("en", "zh")}


def test_every_entry_has_exactly_the_columns_that_the_list_names(name: str) -> None:
    columns = set(INFO[name]["columns"].values())

    assert len(entries(name)) >= 12
    for entry in entries(name):
        assert set(entry) == columns
        for column, value in entry.items():
            assert isinstance(value, list if column == "messages" else str)
            assert value or column == "input"


def test_no_entry_is_there_twice(name: str) -> None:
    found = [json.dumps(each, sort_keys=True) for each in entries(name)]

    assert len(set(found)) == len(found)
    questions = [
        (each.get("instruction") or each.get("text"), each.get("input"))
        for each in entries(name)
        if "messages" not in each
    ]
    assert len(set(questions)) == len(questions)


def test_nothing_is_left_of_editing(name: str) -> None:
    for text in (part for each in entries(name) for part in texts(each)):
        assert text == text.strip()
        assert "\N{REPLACEMENT CHARACTER}" not in text
        assert "TODO" not in text


def test_a_text_is_in_the_language_of_its_name(name: str) -> None:
    for entry in entries(name):
        text = "".join(texts(entry))
        chinese = sum("\u4e00" <= character <= "\u9fff" for character in text) / len(text)
        assert chinese > 0.1 if name.endswith("_zh") else chinese == 0, text


def texts(entry: dict[str, Any]) -> list[str]:
    return [each["content"] for each in entry["messages"]] if "messages" in entry else list(entry.values())


@pytest.mark.parametrize("name", [each for each in INFO if INFO[each]["formatting"] == "sharegpt"])
def test_roles_take_turns_from_user_to_assistant(name: str) -> None:
    tags = INFO[name]["tags"]
    assert tags == {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    for entry in entries(name):
        messages = entry["messages"]
        assert all(set(each) == {"role", "content"} and each["content"].strip() for each in messages)
        roles = [each["role"] for each in messages]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert turns


@pytest.mark.parametrize("name", [each for each in INFO if "preference" in each])
def test_a_preference_prefers_one_answer_to_another(name: str) -> None:
    assert INFO[name]["ranking"] is True
    assert all(each["chosen"] != each["rejected"] for each in entries(name))


@pytest.mark.parametrize("name", [each for each in INFO if "preference" not in each])
def test_what_is_no_preference_is_not_offered_as_one(name: str) -> None:
    assert "ranking" not in INFO[name]


def test_the_readme_tells_how_many_entries_there_are(name: str) -> None:
    rows = [line.split("|") for line in (DATA / "README.md").read_text(encoding="utf-8").splitlines()]
    counts = [row[3].strip() for row in rows if len(row) > 4 and row[1].strip() == f"`{name}`"]

    assert counts == [str(len(entries(name)))] * 2  # in English and in Chinese


@pytest.mark.parametrize("path", sorted((WORKSPACE / "config").glob("*.yaml")), ids=lambda path: path.name)
def test_a_demo_configuration_names_data_that_is_there(path: Any) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))

    assert set(settings["dataset"].split(",")) <= set(INFO)
    assert settings["output_dir"].startswith("saves/")
    assert settings["report_to"] == "none"
