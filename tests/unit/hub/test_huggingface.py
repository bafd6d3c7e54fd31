"""What is done beside huggingface_hub, without a hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from envkit.hub.huggingface import HuggingFace
from envkit.hub.known import Known
from envkit.hub.remote import Into, Listing, StoppedError
from envkit.hub.sources import Source
from tests.unit.hub.files import sha256

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"x" * 1000


def test_ctrl_c_ends_the_reading_of_a_file_that_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of fifty gigabytes that took minutes, in which nothing could be seen."""
    hub = HuggingFace(Source(hub="huggingface", about="", endpoint="http://127.0.0.1:9", source=""), token=False)
    listing = Listing("a/b", "model", "", "c0ffee", {"x": Known(len(CONTENT), sha256(CONTENT))})

    def bring(listing: Listing, name: str, partial: Path, advance: Callable[[int], None]) -> None:
        partial.write_bytes(CONTENT)

    def interrupted(number: int) -> None:
        raise StoppedError

    monkeypatch.setattr(hub, "_download", bring)
    with pytest.raises(StoppedError):
        hub.fetch(listing, "x", Into(tmp_path, tmp_path / "mine"), interrupted)

    assert hub.partial(listing, "x", Into(tmp_path, tmp_path / "mine")).read_bytes() == CONTENT
