"""What is judged of logs, answers and pages; everything that is not exactly right is a fault."""

from __future__ import annotations

import json
import math

import pytest

from envkit.matrix.schema import Chat, Losses, Page, Training
from envkit.smoke.browser import Sight
from envkit.smoke.chat import Answer
from envkit.smoke.judge import (
    chat_faults,
    key_faults,
    loss_faults,
    model_faults,
    page_faults,
    peak_memory,
    read_losses,
    speed,
    told,
)

TRAINING = Training(app="train", args=["x"], losses=Losses(), steps=6, falls_to=0.5)
CHAT = Chat(app="api", model="tiny")
PAGE = Page(app="webui", title="LLaMA Factory", fields=["Dataset"], choices={"Dataset": "demo"})


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def completion(tokens: object, content: object = "so") -> Answer:
    return answer({"choices": [{"message": {"content": content}}], "usage": {"completion_tokens": tokens}})


@pytest.mark.parametrize(
    "text",
    [
        '{"loss": 6.5, "step": 1}\n{"loss": 5.25}\n{"eval_loss": 1.0}\n',
        '{"log_history": [{"loss": 6.5,\n "step": 1}, {"step": 2, "loss": 5.25}, {"train_loss": 5.8}]}',
        '{"loss": "6.5"}\n{"loss":"5.25"}\n',
    ],
)
def test_losses_are_read_from_lines_and_documents(text: str) -> None:
    assert read_losses(text, Losses().pattern) == [6.5, 5.25]


def test_losses_are_read_as_they_are_printed() -> None:
    assert read_losses("{'loss': '6.5', 'lr': 1}\n{'loss': 5.25}\n", r"'loss': '?([^',}\s]+)") == [6.5, 5.25]


@pytest.mark.parametrize("word", ["NaN", "nan", "null", "oops"])
def test_what_is_no_number_does_not_pass_for_one(word: str) -> None:
    (found,) = read_losses(f'{{"loss": {word}}}', Losses().pattern)

    assert math.isnan(found)


@pytest.mark.parametrize(
    ("losses", "faults"),
    [
        ([6, 6, 6, 3, 3, 3], []),
        ([6, 6, 6, 3.1, 3, 3], ["the loss does not fall: 6.000 at first and 3.033 at last, where 0.5 of the first was expected"]),
        ([6, 6, 6, 6, 6, 6], ["the loss does not fall: 6.000 at first and 6.000 at last, where 0.5 of the first was expected"]),
        ([0, 0, 0, 0, 0, 0], ["the loss of step 1 is 0: the Trainer writes that in place of one that is no number"]),
        ([6, 6, 6, 3, 0.0, 3], ["the loss of step 5 is 0: the Trainer writes that in place of one that is no number"]),
        ([6, 6, 6, 3, 3], ["6 steps were to report a loss, and 5 did"]),
        ([6, 6, 6, 3, 3, 3, 3], ["6 steps were to report a loss, and 7 did"]),
        ([], ["6 steps were to report a loss, and 0 did"]),
        ([6, 6, math.nan, 3, 3, 3], ["the loss of step 3 is nan"]),
        ([6, math.inf, 6, 3, 3, 3], ["the loss of step 2 is inf"]),
    ],
)  # fmt: skip
def test_losses_fall(losses: list[float], faults: list[str]) -> None:
    assert loss_faults(losses, TRAINING) == faults


def test_a_program_s_finding_is_its_last_line_of_json() -> None:
    output = '{"other": 1}\n{"faults": [], "metrics": {}, "detail": "well"}\n\npeak memory: 2048 KiB\n'

    assert told(output) == {"faults": [], "metrics": {}, "detail": "well"}
    assert peak_memory(output) == {"peak_memory_mib": 2}


@pytest.mark.parametrize("output", ["", "Killed\n", '{"faults": [\n', "well\n"])
def test_a_program_that_says_nothing_found_nothing(output: str) -> None:
    assert told(output) is None
    assert peak_memory(output) == {}


def test_speed_is_tokens_by_seconds() -> None:
    assert speed('{"num_input_tokens_seen": 1000, "train_runtime": 4.0}') == {"tokens_per_second": 250.0}


@pytest.mark.parametrize("text", ['{"train_runtime": 4.0}', '{"num_input_tokens_seen": 10', "", "[]"])
def test_results_that_were_not_written_have_no_speed(text: str) -> None:
    assert speed(text) == {}


@pytest.mark.parametrize(
    ("said", "faults"),
    [
        (completion(8), []),
        (completion(8, ""), []),
        (completion(0), ["8 tokens were asked for, and 0 came"]),
        (completion(9), ["8 tokens were asked for, and 9 came"]),
        (completion("8"), ["8 tokens were asked for, and 8 came"]),
        (answer({"choices": [{"message": {"content": "x"}}]}), ["8 tokens were asked for, and None came"]),
        (completion(8, None), ["the answer has no message: "]),
        (answer({"choices": []}), ["the answer has no message: "]),
        (answer([]), ["the answer has no message: []"]),
        (Answer(200, b"<html>"), ["the answer has no message: <html>"]),
        (answer({"error": "x"}, 500), ["/v1/chat/completions answered with status 500: "]),
    ],
)
def test_a_completion_has_a_message_and_as_many_tokens(said: Answer, faults: list[str]) -> None:
    found = chat_faults(said, CHAT)

    assert len(found) == len(faults)
    assert all(one.startswith(other) for one, other in zip(found, faults, strict=True))


def test_a_server_names_its_models() -> None:
    assert model_faults(answer({"data": [{"id": "tiny"}]})) == []
    assert model_faults(answer({"data": []})) == ['/v1/models names no model: {"data": []}']
    assert model_faults(answer("no", 404)) == ['/v1/models answered with status 404: "no"']


def test_only_a_401_is_a_refusal() -> None:
    answers = {"a": answer({}, 401), "b": answer({}, 200), "c": answer({}, 500)}

    assert key_faults(answers) == ["b: status 200 instead of 401", "c: status 500 instead of 401"]


def test_a_page_is_right_or_says_everything_that_is_not() -> None:
    right = Sight(200, "LLaMA Factory (here)", ("Dataset",), {"Dataset": ("demo",)}, (), b"", 1.0)
    wrong = Sight(404, "nginx", (), {}, ("lost",), b"", 1.0)

    assert list(page_faults(right, PAGE)) == []
    assert list(page_faults(wrong, PAGE)) == [
        "the page answered with status 404",
        "it is another page: its title is 'nginx', which does not begin with 'LLaMA Factory'",
        "there is no field 'Dataset' to be seen",
        "the field 'Dataset' does not offer 'demo'",
        "the page shows an error: lost",
    ]
