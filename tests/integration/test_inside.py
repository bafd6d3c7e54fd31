"""`envkit url`, `exec` and `shell` as users type them, with every backend."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.integration.command import processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.command import Cli

pytestmark = pytest.mark.index

SEEN = "import json, os, sys; print(json.dumps([sys.prefix, os.getcwd(), os.getuid(), os.environ.get('TINY_TOKEN')]))"


ASK = """\
import json, os, urllib.request
print(json.load(urllib.request.urlopen(f"http://127.0.0.1:{os.environ['TINY_PORT']}"))["pid"])
"""
"""The server's own process number, asked beside it."""


@contextmanager
def sleeping(cli: Cli, backend: str) -> Iterator[str]:
    """The name of an instance that runs; it was started with a secret."""
    replace(cli, env={**cli.env, "TINY_TOKEN": "hush"})("run", "tiny", "sleep", "--backend", backend, "-d")
    until((cli.cwd / "workspace/tiny/saves/pid").exists)
    yield "tiny-sleep"
    cli("stop", "-t", "1", "tiny-sleep")


def test_the_address_of_a_server_and_of_nothing_else(cli: Cli, backend: str) -> None:
    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json").json["url"]

    assert cli("url", "tiny-serve").stdout == f"{url}\n"
    assert cli("url", "tiny-serve", "--json").json == {"name": "tiny-serve", "url": url}

    cli("stop", "tiny-serve")
    assert "there is no instance named tiny-serve" in cli("url", "tiny-serve", status=2).stderr
    with sleeping(cli, backend) as name:
        assert "tiny-sleep has no address: sleep does not listen" in cli("url", name, status=2).stderr


def test_a_server_that_has_ended_has_no_address(cli: Cli, backend: str) -> None:
    url = cli("run", "tiny", "serve", "--backend", backend, "--port", "0", "-d", "--json").json["url"]
    pid = cli("exec", "tiny-serve", "--", "python", "-c", ASK).stdout.strip()
    cli("exec", "tiny-serve", "--", "python", "-c", f"import os; os.kill({pid}, 9)", status=None)
    until(lambda: (cli.instance("tiny-serve") or {}).get("status") == "exited")

    done = cli("url", "tiny-serve", status=2)

    assert f"error: tiny-serve has ended, and nothing answers at {url}\n" in done.stderr
    cli("stop", "tiny-serve")


def test_a_program_sees_what_the_app_sees(cli: Cli, backend: str) -> None:
    with sleeping(cli, backend) as name:
        done = cli("exec", name, "--", "python", "-c", SEEN)
        folder = next((cli.home / "environments").glob("tiny-cpu-*"), None)
        workspace = cli.cwd / "workspace/tiny"
        places = [str(folder), str(workspace)] if backend == "venv" else ["/opt/venv", "/workspace"]
        assert json.loads(done.stdout) == [*places, workspace.stat().st_uid, "hush"]
        assert done.stderr == ""
        # A secret is nowhere on the disk, and nobody else's to see.
        assert not [each for each in cli.home.rglob("instances/*/*") if each.is_file() and "hush" in each.read_text()]

        assert cli("exec", name, "sh", "-c", "echo to stderr >&2; exit 42", status=42).stderr == "to stderr\n"
        assert cli("exec", name, "--", "cat", stdin="typed\n").stdout == "typed\n"
        assert cli("exec", name, "--", "python", "-c", "import docopt; print(docopt.__version__)").stdout == "0.6.2\n"
        assert cli("exec", name, "tiny-nothing", status=None).status in (126, 127)
        assert cli("exec", name, "sh", "-c", "kill -TERM $$", status=None).status in (143, -signal.SIGTERM)
    assert "there is no instance named tiny-sleep" in cli("exec", name, "true", status=2).stderr


def test_much_output_arrives_whole_and_a_closed_pipe_ends_it(cli: Cli, backend: str) -> None:
    with sleeping(cli, backend) as name:
        assert len(cli("exec", name, "--", "python", "-c", "print('x' * 3_000_000)").stdout) == 3_000_001

        head = subprocess.run(
            ["sh", "-c", '"$@" | head -n 1', "sh", *cli.argv("exec", name, "--", "yes")],
            env=cli.environ(),
            cwd=cli.cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (head.stdout, head.returncode) == ("y\n", 0)


def test_a_program_at_a_terminal_has_it(cli: Cli, backend: str) -> None:
    with sleeping(cli, backend) as name:
        with cli.running(
            "exec", name, "--", "python", "-c", "import sys; print(sys.stdin.isatty(), input('? '))", terminal=True
        ) as talk:
            talk.wait_for("? ")
            talk.type("Ada\n")
            assert talk.end() == 0
        assert "True Ada" in talk.stdout

        with cli.running("exec", name, "sleep", "60", terminal=True) as sleeper:
            until(lambda: backend != "venv" or any(each.name() == "sleep" for each in processes(cli.home)))
            if backend != "venv":
                until(lambda: "sleep" in cli("exec", name, "sh", "-c", "cat /proc/*/comm").stdout.split("\n"))
            sleeper.type("\x03")
            assert sleeper.end() == 130


def test_a_shell_at_a_terminal_is_inside(cli: Cli, backend: str) -> None:
    done = cli("shell", "tiny-sleep", status=2)
    assert done.stderr == (
        "error: a shell needs a terminal\n\nhint: `envkit exec tiny-sleep -- COMMAND` runs one program without\n"
    )
    with sleeping(cli, backend) as name, cli.running("shell", name, terminal=True) as shell:
        shell.wait_for("(tiny-sleep) ")
        shell.type('python -c "import sys; print(sys.prefix)"; pwd; echo "<$TINY_TOKEN>"\n')
        shell.wait_for("<hush>")
        shell.type("exit 5\n")

        assert shell.end() == 5
        assert ("/opt/venv" if backend != "venv" else f"{cli.home}/environments/tiny-cpu-") in shell.stdout
        assert ("/workspace" if backend != "venv" else f"{cli.cwd}/workspace/tiny") in shell.stdout.splitlines()


def test_an_app_whose_home_was_deleted_is_ended(cli: Cli) -> None:
    """`rm -rf ~/.local/share/envkit` is what the README says removes everything."""
    cli = replace(cli, home=cli.cwd / "home")
    cli("run", "tiny", "sleep", "--backend", "venv", "-d")
    pid = cli.cwd / "workspace/tiny/saves/pid"
    until(pid.exists)
    assert processes(cli.home)

    subprocess.run(["rm", "-rf", str(cli.home)], check=True)

    until(lambda: not processes(cli.home))
    assert processes(cli.home) == []
    assert cli.instance("tiny-sleep") is None
