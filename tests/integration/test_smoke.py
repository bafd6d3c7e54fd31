"""`envkit smoke` on a small real framework in every backend: all well, and each check with something broken on purpose."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from envkit.smoke.browser import find_browser
from tests.integration.command import Cli, engine, processes
from tests.integration.conftest import engines, leftovers, skip

if TYPE_CHECKING:
    from collections.abc import Iterator

PROOF = Path(__file__).parent / "smoke"
CHECKS = ["import", "cli", "sft-full", "chat-completion", "webui"]
pytestmark = pytest.mark.index


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    root = tmp_path_factory.mktemp("proof")
    shutil.copytree(PROOF, root / "matrix")
    cli = Cli(home=root / "home", matrix=root / "matrix" / "envmatrix.yaml", cwd=root)
    cli("lock", "proof-cpu")
    yield cli
    for program in engines():
        if images := engine(program, "images", "--quiet", "envkit/proof").split():
            engine(program, "image", "rm", "--force", *set(images))


@pytest.fixture
def cli(module: Cli, tmp_path: Path) -> Iterator[Cli]:
    """With a matrix that the test may change; afterwards nothing of it may run or exist."""
    assert module.matrix
    shutil.copytree(module.matrix.parent, tmp_path / "matrix")
    yield replace(module, cwd=tmp_path, matrix=tmp_path / "matrix/envmatrix.yaml")
    assert not leftovers(module.home, "proof")


@pytest.fixture
def browser() -> None:
    if not find_browser():
        skip("needs a browser: chromium is not installed")


def change(cli: Cli, file: str, old: str, new: str) -> None:
    """Breaks something in the framework."""
    assert cli.matrix
    path = cli.matrix.parent / "images/proof" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def smoke(cli: Cli, *args: str, status: int) -> dict[str, Any]:
    """Every check's result, by name, and the report's own under ``."""
    done = cli("smoke", "proof-cpu", "--backend", "venv", "--json", *args, status=status)
    return {"": done.json, **{each["name"]: each for each in done.json["checks"]}}


def test_all_is_well_wherever_it_runs(cli: Cli, backend: str, browser: None) -> None:
    done = cli(
        "smoke", "proof", "--backend", backend, "--json", "--report", "report.html", "--record",
        "--workspace", "kept", status=None, timeout=600,
    )  # fmt: skip

    report = done.json
    assert {each["name"]: (each["result"], each["faults"]) for each in report["checks"]} == dict.fromkeys(
        CHECKS, ("pass", [])
    )
    assert (done.status, report["result"], report["backend"], report["device"]) == (0, "pass", backend, "cpu")
    found = {each["name"]: each for each in report["checks"]}
    assert len(found["sft-full"]["losses"]) == 10
    assert found["sft-full"]["metrics"]["peak_memory_mib"] > 1
    assert found["chat-completion"]["detail"] == "8 tokens, and a call without the key gets 401"
    assert found["webui"]["detail"] == "'Proof of a page' shows Model name, Dataset"

    page = (cli.cwd / "report.html").read_text()
    assert 'src="data:image/png;base64,' in page
    assert "<polyline points=" in page
    assert cli.matrix
    evidence = json.loads((cli.matrix.parent / "images/proof/cpu/evidence.json").read_text())
    assert [(each["level"], each["job"], each["backend"], each["result"]) for each in evidence["seen"]] == [
        ("cpu", job, backend, "pass") for job in ("chat-completion", "sft-full", "webui")
    ]
    assert not (cli.cwd / "kept/smoke/__pycache__").exists()
    assert json.loads((cli.cwd / "kept/saves/weights.json").read_text()) == pytest.approx(3, abs=0.4)


# What is broken turns the right check red --------------------------------------------------------------------------------


def test_a_learning_rate_of_0(cli: Cli) -> None:
    change(cli, "framework.yaml", '"0.1"', '"0"')

    found = smoke(cli, "--only", "sft-full", status=1)

    assert found["sft-full"]["result"] == "fail"
    assert found["sft-full"]["detail"] == (
        "the loss does not fall: 9.000 at first and 9.000 at last, where 0.5 of the first was expected"
    )


def test_a_training_that_diverges(cli: Cli) -> None:
    change(cli, "smoke/proof.py", "(weight - 3) ** 2)", "float('nan'))")

    assert smoke(cli, "--only", "sft-full", status=1)["sft-full"]["faults"] == ["the loss of step 1 is nan"]


def test_a_training_that_fails_shows_its_last_lines_and_the_cause(cli: Cli) -> None:
    words = "RuntimeError: No CUDA GPUs are available"
    change(cli, "smoke/proof.py", "    weight, losses", f"    sys.exit({words!r})\n    weight, losses")

    found = smoke(cli, "--only", "sft-full", status=1)["sft-full"]

    assert found["result"] == "fail"
    assert found["detail"] == "`python smoke/proof.py train --rate 0.1` ended with status 1"
    assert words in found["log"]
    assert found["diagnosis"]["title"]


def test_a_training_that_says_it_went_well_and_wrote_nothing(cli: Cli) -> None:
    change(cli, "smoke/proof.py", 'Path("saves/weights.json")', 'Path("saves/nothing.json")')

    assert smoke(cli, "--only", "sft-full", status=1)["sft-full"]["faults"] == ["it did not write saves/weights.json"]


def test_a_training_without_end(cli: Cli) -> None:
    change(cli, "smoke/proof.py", "    weight, losses", "    __import__('time').sleep(600)\n    weight, losses")
    change(cli, "framework.yaml", "within_seconds: 60\n  chat", "within_seconds: 2\n  chat")

    found = smoke(cli, "--only", "sft-full", status=1)["sft-full"]

    assert found["detail"].startswith("`python smoke/proof.py train --rate 0.1` did not end within ")
    assert not processes(cli.home)


def test_data_that_cannot_be_made(cli: Cli) -> None:
    change(cli, "framework.yaml", "make_data.py, sets", "make_data.py, /proc/none")

    found = smoke(cli, "--only", "sft-full", status=1)["sft-full"]

    assert found["result"] == "error"
    assert found["detail"] == "`python smoke/make_data.py /proc/none` ended with status 1"


def test_a_server_that_returns_no_tokens(cli: Cli) -> None:
    change(cli, "smoke/proof.py", '"completion_tokens": tokens', '"completion_tokens": 0')

    found = smoke(cli, "--only", "chat-completion", status=1)["chat-completion"]

    assert (found["result"], found["detail"]) == ("fail", "8 tokens were asked for, and 0 came")


def test_a_server_that_forgets_its_key(cli: Cli) -> None:
    change(cli, "smoke/proof.py", "        guard()\n        tokens", "        tokens")

    found = smoke(cli, "--only", "chat-completion", status=1)["chat-completion"]

    assert found["faults"] == [
        "/v1/chat/completions with no key: status 200 instead of 401",
        "/v1/chat/completions with another key: status 200 instead of 401",
    ]


def test_a_server_that_dies_at_once(cli: Cli) -> None:
    change(cli, "smoke/proof.py", "    serve(bottle)\n\n\nPAGE", "    sys.exit('no model')\n\n\nPAGE")

    found = smoke(cli, "--only", "chat-completion", status=1)["chat-completion"]

    assert found["result"] == "fail"
    assert found["detail"] == "chat-completion did not start: it ended before it answered"
    assert found["log"] == ["no model"]


def test_another_page(cli: Cli, browser: None) -> None:
    change(cli, "smoke/proof.py", "<title>Proof of a page", "<title>Welcome to nginx!")
    change(cli, "smoke/proof.py", "<label>Model name", "<label hidden>Model name")
    change(cli, "smoke/proof.py", "<li>messages", "<li>something else")

    found = smoke(cli, "--only", "webui", status=1)["webui"]

    assert found["result"] == "fail"
    assert found["faults"] == [
        "it is another page: its title is 'Welcome to nginx!', which does not begin with 'Proof of a page'",
        "there is no field 'Model name' to be seen",
        "the field 'Dataset' does not offer 'messages'",
    ]


def test_a_page_that_shows_errors(cli: Cli, browser: None) -> None:
    bad = "<script>throw new Error('lost')</script><p class='toast-body error'>Out of memory</p><ul"
    change(cli, "smoke/proof.py", "<ul", bad)

    found = smoke(cli, "--only", "webui", status=1)["webui"]

    assert found["result"] == "fail"
    assert found["faults"] == ["the page shows an error: Error: lost", "the page shows an error: Out of memory"]


def test_a_package_that_does_not_import(cli: Cli, tmp_path: Path) -> None:
    broken = replace(cli, home=tmp_path / "home")
    smoke(broken, "--only", "cli", status=0)
    module = next(broken.home.glob("environments/proof-cpu-*/lib/python*/site-packages/bottle.py"))
    module.unlink()  # not in place: it is a link into the cache
    module.write_text("raise RuntimeError('compiled with different CUDA versions')\n")

    found = smoke(broken, "--only", "import", status=1)["import"]

    assert found["result"] == "fail"
    assert "bottle: RuntimeError: compiled with different CUDA versions" in found["faults"]


# What is asked for -------------------------------------------------------------------------------------------------------


def test_without_a_browser_the_page_is_skipped_and_that_fails_where_it_was_asked_for(cli: Cli) -> None:
    smoke(cli, "--only", "cli", status=0)  # makes the environment
    blind = replace(cli, env={"PATH": "/nowhere"})

    found = smoke(blind, "--only", "webui", status=1)

    assert (found[""]["result"], found["webui"]["result"]) == ("fail", "skip")
    assert found["webui"]["detail"] == "there is no browser to look with: `sudo apt-get install chromium` installs one"


def test_a_check_that_there_is_not(cli: Cli) -> None:
    done = cli("smoke", "proof", "--only", "sft-lora", status=2)

    assert done.stderr == "error: unknown check of proof-cpu: sft-lora\n\nhint: did you mean `sft-full`?\n"


def test_a_folder_that_is_not_empty_is_left_alone(cli: Cli) -> None:
    done = cli("smoke", "proof", "--workspace", "matrix", status=2)

    assert "error: the folder is not empty: matrix\n" in done.stderr


def test_an_interruption_leaves_nothing(cli: Cli) -> None:
    change(
        cli,
        "smoke/proof.py",
        "    weight, losses",
        "    print('asleep')\n    __import__('time').sleep(600)\n    weight, losses",
    )
    with cli.running("smoke", "proof", "--backend", "venv", "--only", "sft-full,chat-completion") as running:
        running.wait_for("chat-completion: pass")
        running.send(2)

        assert running.end() == 130
