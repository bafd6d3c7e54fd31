"""Keys of package repositories, fetched and checked by bash, curl and gpg; the keys are invented."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from envkit.bootstrap.knowledge import functions

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.usefixtures("processes"),
    *(
        pytest.mark.skipif(not shutil.which(each), reason=f"needs {each}: it is not installed")
        for each in ("curl", "gpg")
    ),
]

FINGERPRINT = "CFA7D80B0951A2613E3A46D9398B8BA82B85D088"
RIGHT = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawImhBYJKwYBBAHaRw8BAQdAIq8R1EUefFZzSNOvS6kt5DWkR3w3V5qt+KMa
5Jh3LrS0EGdvb2RAZXhhbXBsZS5jb22IkAQTFggAOBYhBM+n2AsJUaJhPjpG2TmL
i6grhdCIBQJrAiaEAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEDmLi6gr
hdCIHfQBAMa1OMuDoiN3lV3QhO91Fr5ubOBlRC1DtOM83DhIW/a4AP4yw01KmJqO
z/c2FXLKTsL17TdSXGBQKOxtzlpJyBzlAw==
=qRBv
-----END PGP PUBLIC KEY BLOCK-----
"""
WITH_ANOTHER = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawImhBYJKwYBBAHaRw8BAQdAIq8R1EUefFZzSNOvS6kt5DWkR3w3V5qt+KMa
5Jh3LrS0EGdvb2RAZXhhbXBsZS5jb22IkAQTFggAOBYhBM+n2AsJUaJhPjpG2TmL
i6grhdCIBQJrAiaEAhsDBQsJCAcCBhUKCQgLAgQWAgMBAh4BAheAAAoJEDmLi6gr
hdCIHfQBAMa1OMuDoiN3lV3QhO91Fr5ubOBlRC1DtOM83DhIW/a4AP4yw01KmJqO
z/c2FXLKTsL17TdSXGBQKOxtzlpJyBzlA5gzBGsCJoQWCSsGAQQB2kcPAQEHQDiD
qhyhkVPfv7fQxyBYZ2MmWt7gbhLtZfsyuR+RWOFKtBBldmlsQGV4YW1wbGUuY29t
iJAEExYIADgWIQRUyULDI9fzLyuajmOKoZUSftySHwUCawImhAIbAwULCQgHAgYV
CgkICwIEFgIDAQIeAQIXgAAKCRCKoZUSftySH1hyAP9ewi1ELiXrhrCgo5E4EMbb
2DJZcj2KTNvQUeb22kOc8QEAwfGWl4BXKyuuu27RJykl3yyBpPZI9KGxBZtCJWlj
3wQ=
=pkrB
-----END PGP PUBLIC KEY BLOCK-----
"""
ANOTHER = "54C942C323D7F32F2B9A8E638AA195127EDC921F"


def fetched(tmp_path: Path, served: str, fingerprint: str = FINGERPRINT) -> tuple[int, str, Path]:
    """Status, errors and the place of the key."""
    (tmp_path / "gpg").write_text(served)
    target = tmp_path / "key rings" / "docker.asc"
    script = f'set -euo pipefail\n{functions("debian")["fetch_key"]}\nfetch_key "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", f"file://{tmp_path}/gpg", fingerprint, target],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [each for each in done.stderr.splitlines() if not each.startswith("gpg: ")]
    return done.returncode, "\n".join(said), target


def test_the_key_with_the_fingerprint_is_taken(tmp_path: Path) -> None:
    status, said, target = fetched(tmp_path, RIGHT)

    assert (status, said, target.read_text()) == (0, "", RIGHT)


def test_the_address_is_in_no_argument(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may hold a password."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "curl").write_text(f'#!/bin/sh\necho "$*" >"$0.log"; exec {shutil.which("curl")} "$@"\n')
    (tools / "curl").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")

    assert fetched(tmp_path, RIGHT)[0] == 0
    assert "file://" not in (tools / "curl.log").read_text()


@pytest.mark.parametrize(
    ("served", "fingerprint"),
    [
        pytest.param(RIGHT, ANOTHER, id="another key"),
        pytest.param(WITH_ANOTHER, FINGERPRINT, id="another key after it, which would be trusted too"),
        pytest.param(WITH_ANOTHER, ANOTHER, id="another key before it"),
        pytest.param("<html>log in first</html>", FINGERPRINT, id="no key"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, served: str, fingerprint: str) -> None:
    status, said, target = fetched(tmp_path, served, fingerprint)

    assert status == 1
    assert said == f"error: what is at file://{tmp_path}/gpg is not the key with the fingerprint {fingerprint} alone"
    assert [*target.parent.iterdir()] == []
