"""Makes small data sets that a model learns in a few steps, each in a folder of its own: python make_data.py FOLDER

It runs in the environment that is under test, with the standard library alone.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

NUMBERS = [number % 8 for number in range(64)]


def question(number: int) -> str:
    """What is asked."""
    return f"say {number}"


def answer(number: int) -> str:
    """What is learnt."""
    return f"the number is {number}, as you asked"


def messages(number: int, said: str = "") -> list[dict[str, str]]:
    """Both, as a conversation; `said` in place of the answer."""
    return [{"role": "user", "content": question(number)}, {"role": "assistant", "content": said or answer(number)}]


REJECTED = "no, and please do not ask me again"
SETS: dict[str, Callable[[int], dict[str, object]]] = {
    "messages": lambda number: {"messages": messages(number)},
    "prompts": lambda number: {"prompt": question(number), "completion": f" {answer(number)}"},
    "preferences": lambda number: {"prompt": question(number), "chosen": answer(number), "rejected": REJECTED},
    "rejected": lambda number: {"messages": messages(number), "rejected_response": REJECTED},
    "pairs": lambda number: {"chosen": messages(number), "rejected": messages(number, REJECTED)},
    "text": lambda number: {"text": f"{answer(number)}. " * 4},
    "answers": lambda number: {"messages": [{"role": "assistant", "content": f"{answer(number)}. " * 4}]},
}


def main() -> None:
    """Writes every set as lines of JSON."""
    for name, row in SETS.items():
        folder = Path(sys.argv[1], name)
        folder.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(row(number)) + "\n" for number in NUMBERS)
        (folder / "train.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
