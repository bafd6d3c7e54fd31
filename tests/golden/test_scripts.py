"""The scripts that `envkit bootstrap --script` writes for distributions that no test here can run on."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from envkit.bootstrap.choose import Outline, Sources, Wishes, official_sources, outline
from envkit.bootstrap.knowledge import knowledge
from envkit.bootstrap.script import commands, render_script
from tests.unit.bootstrap.machines import fresh, system, undriven
from tests.unit.bootstrap.test_choose import AUTODL

FOLDER = Path(__file__).parent / "scripts"
MIRRORS = Sources("https://near.example/docker-ce", "https://near.example/toolkit", ("https://hub.example",))
EVERYTHING = Wishes(driver=True, data_root="/data/docker", user="me")
CASES = {
    "ubuntu-24.04": outline(undriven("ubuntu-24.04"), EVERYTHING, official_sources()),
    "debian-13": outline(undriven("debian-13", "1db4"), EVERYTHING, MIRRORS),
    "rocky-9": outline(undriven("rocky-9"), EVERYTHING, official_sources()),
    "debian-12-own-engine": outline(fresh("debian-12"), Wishes(), Sources(None, None)),
    "autodl": outline(fresh(**AUTODL), Wishes(), official_sources()),
}


@pytest.mark.parametrize("name", CASES)
def test_the_script_is_what_was_reviewed(name: str, pytestconfig: pytest.Config) -> None:
    text, file = render_script(CASES[name]), FOLDER / f"{name}.sh"
    if pytestconfig.getoption("--update-golden"):
        file.write_text(text, encoding="utf-8")

    assert file.read_text(encoding="utf-8") == text


def test_nothing_else_is_there() -> None:
    assert sorted(each.stem for each in FOLDER.iterdir()) == sorted(CASES)


@pytest.mark.parametrize(
    ("name", "like", "words"),
    [
        ("ubuntu-22.04", "ubuntu-24.04", {"24.04": "22.04", "noble": "jammy"}),
        ("ubuntu-26.04", "ubuntu-24.04", {"24.04": "26.04", "noble": "resolute"}),
        ("debian-12", "debian-13", {"Debian 13": "Debian 12", "trixie": "bookworm", "debian13": "debian12"}),
        ("rhel-9", "rocky-9", {"Rocky Linux 9": "RHEL 9"}),
    ],
)
def test_its_sisters_differ_in_names_alone(name: str, like: str, words: dict[str, str]) -> None:
    expected = render_script(outline(undriven(like), EVERYTHING, official_sources()))
    for old, new in words.items():
        expected = expected.replace(old, new)

    assert render_script(outline(undriven(name), EVERYTHING, official_sources())) == expected


def every_outline() -> list[Outline]:
    """Every step, on every family of distributions."""
    venv = [outline(fresh(name), Wishes(backend="venv"), official_sources()) for name in ("debian-13", "rocky-9")]
    memlock = outline(fresh(system=system(infiniband=True)), Wishes(backend="venv"), official_sources())
    return [*CASES.values(), *venv, memlock]


def test_shellcheck_has_nothing_to_say(processes: None, tmp_path: Path) -> None:
    files = []
    for number, each in enumerate(every_outline()):
        files.append(tmp_path / f"{number}.sh")
        files[-1].write_text(render_script(each))
    parts = sorted((Path(commands.__code__.co_filename).parent).glob("*.sh"))

    done = subprocess.run(["shellcheck", *files, *parts], capture_output=True, text=True, check=False)

    assert done.stdout + done.stderr == ""
    assert len(parts) == 3


@pytest.mark.parametrize("number", range(len(every_outline())))
def test_a_script_defines_what_it_uses_and_no_more(number: int) -> None:
    """shellcheck knows no variable that is never set; `set -u` would, on somebody's server."""
    planned = every_outline()[number]
    text = render_script(planned)
    for name in planned.values:
        used = text.count(f"${name}") + text.count(f"${{{name}")
        assert (f"\n{name}=" in text) == (used > 0), name


def test_a_step_follows_those_that_come_before_it() -> None:
    steps = knowledge().steps
    for number, step in enumerate(steps):
        assert {*step.follows} <= {each.id for each in steps[:number]}, step.id


def test_every_step_is_in_some_script() -> None:
    reached = {step.id for each in every_outline() for step in each.steps}

    assert reached == {step.id for step in knowledge().steps}
