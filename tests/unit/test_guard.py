"""The guard and the skips of tests/conftest.py bite."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from envkit.host.home import envkit_home
from envkit.share import overlay_file
from tests.conftest import pytest_runtest_setup


@pytest.mark.parametrize("address", [("192.0.2.1", 80), "/var/run/docker.sock"])
def test_a_connection_is_refused(address: tuple[str, int] | str) -> None:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(pytest.fail.Exception, match="a connection to"):
        client.connect(address)


def test_loopback_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


def test_a_process_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="asks for the fixture `processes`"):
        subprocess.run([sys.executable, "-V"], check=False)


def test_a_process_is_started_where_a_test_asks_for_it(processes: None) -> None:
    assert subprocess.run([sys.executable, "-V"], check=False, capture_output=True).returncode == 0


def test_the_real_home_is_refused() -> None:
    with pytest.raises(pytest.fail.Exception, match="a file in the real home"):
        (Path(pwd.getpwuid(os.getuid()).pw_dir) / "no-such-file").open()


def test_the_home_folders_are_of_this_test_alone(tmp_path: Path) -> None:
    assert Path.home() == tmp_path / "home"
    assert envkit_home() == tmp_path / "home" / "envkit"
    assert overlay_file() == tmp_path / "home" / ".config" / "envkit" / "envmatrix.yaml"


# Skips ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marked", "problem", "no_skip", "outcome"),
    [
        (True, None, None, None),
        (False, "no engine", "1", None),
        (True, "no engine", None, pytest.skip.Exception),
        (True, "no engine", "0", pytest.skip.Exception),
        (True, "no engine", "1", pytest.fail.Exception),
    ],
)
def test_what_needs_an_engine_is_skipped_by_name_and_where_that_is_no_excuse_fails(
    monkeypatch: pytest.MonkeyPatch,
    marked: bool,
    problem: str | None,
    no_skip: str | None,
    outcome: type[BaseException] | None,
) -> None:
    monkeypatch.setattr("tests.conftest.docker_problem", lambda: problem)
    if no_skip:
        monkeypatch.setenv("ENVKIT_TESTS_NO_SKIP", no_skip)
    item = SimpleNamespace(get_closest_marker=lambda name: marked and name == "docker")

    if outcome is None:
        pytest_runtest_setup(item)
    else:
        with pytest.raises(outcome, match=r"^needs a Docker engine: no engine$"):
            pytest_runtest_setup(item)
