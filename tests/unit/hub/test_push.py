"""What of a folder would be sent to a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.hub.push import pack
from tests.unit.hub.files import write

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("folder", ["", "deep/er/"])
@pytest.mark.parametrize("name", [".env", ".env.local", "key.pem", "id_rsa", "id_ed25519.pub", ".netrc", "token"])
def test_a_secret_stays_in_whatever_folder_it_lies(tmp_path: Path, folder: str, name: str) -> None:
    parcel = pack(
        write(tmp_path, {"config.json": b"{}", f"{folder}{name}": b"x"}), "me/mine", "model", (), (), private=True
    )

    assert parcel.files == {"config.json": 2}
    assert parcel.left == (f"{folder}{name}",)


def test_a_folder_is_meant_as_it_is_for_a_pull(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a/x": b"1", "a/b/x": b"1", "ax": b"1"})

    assert [*pack(folder, "me/mine", "model", ("a/",), ("a/b/",), private=True).files] == ["a/x"]
