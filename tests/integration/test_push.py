"""Pushing to hubs on loopback through the real client libraries: what goes, what stays, and who may."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from envkit.errors import HubError, UsageError
from envkit.hub.connect import connect, prepare
from envkit.hub.push import pack, send
from envkit.hub.sources import Source, read_sources
from tests.integration.hubs import Fault, Hub
from tests.unit.hub.files import FIRST, WHOLE, tensors, write

prepare()
pytestmark = pytest.mark.filterwarnings(
    "ignore:Use 'content=:DeprecationWarning"
)  # huggingface_hub 2.4 with httpx2 2.16
KINDS = pytest.mark.parametrize("kind", ["huggingface", "modelscope"])
FILES = {**WHOLE, FIRST: tensors(a=[300, 40], b=[4])}
SECRETS = {".env": b"KEY=1", "sub/.netrc": b"x", "half.safetensors.incomplete": b"x"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("MODELSCOPE_HOME", str(tmp_path / "modelscope"))
    monkeypatch.setenv("ENVKIT_HOME", str(tmp_path / "envkit"))
    with Hub(token="secret-token") as hub:
        yield hub


def sent_to(hub: Hub, kind: str, folder: Path, *, private: bool = True) -> str:
    source = Source(hub=kind, about="", endpoint=hub.address, source="", xet=False)  # type: ignore[arg-type]
    remote = connect(source, read_sources().hubs[source.hub], named=True, token="secret-token")
    return send(pack(folder, "me/mine", "model", (), (), private=private), remote, "there")


@KINDS
def test_every_file_arrives_and_a_new_repository_is_private(
    hub: Hub, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "m", {**FILES, **SECRETS})

    address = sent_to(hub, kind, folder)

    assert hub.sent == FILES
    assert capsys.readouterr().out == ""
    assert address == f"{hub.address}/{'models/' if kind == 'modelscope' else ''}me/mine"
    (made,) = hub.made
    assert made.get("visibility", made.get("Visibility")) in ("private", 1)
    assert {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()} == {*FILES, *SECRETS}


@KINDS
def test_a_public_one_is_public(hub: Hub, kind: str, tmp_path: Path) -> None:
    sent_to(hub, kind, write(tmp_path / "m", FILES), private=False)

    (made,) = hub.made
    assert made.get("visibility", made.get("Visibility")) in ("public", 5)


@KINDS
def test_the_token_goes_in_headers_alone(hub: Hub, kind: str, tmp_path: Path) -> None:
    sent_to(hub, kind, write(tmp_path / "m", FILES))

    assert not [path for _, path, _ in hub.asked if "secret-token" in path]
    assert [headers for _, _, headers in hub.asked if "secret-token" in str(headers)]


@KINDS
@pytest.mark.parametrize("status", ["401", "403"])
def test_a_token_that_may_not_is_told(hub: Hub, kind: str, status: str, tmp_path: Path) -> None:
    hub.faults = [Fault("/api/", status, times=99, method="POST"), Fault("/openapi/", status, times=99, method="any")]

    with pytest.raises(HubError) as caught:
        sent_to(hub, kind, write(tmp_path / "m", FILES))

    assert caught.value.message == "there does not take me/mine"
    assert caught.value.hint == "a token that may write to me is needed: set it in the environment"


def test_an_upload_that_breaks_off_is_told(hub: Hub, tmp_path: Path) -> None:
    hub.faults = [Fault("/blob/", "400", times=99, method="PUT")]

    with pytest.raises(HubError) as caught:
        sent_to(hub, "huggingface", write(tmp_path / "m", FILES))

    assert caught.value.details == "it answers with HTTP 400"
    assert caught.value.hint == "the same command goes on where it stopped"


def test_what_is_a_secret_by_its_name_stays(tmp_path: Path) -> None:
    parcel = pack(write(tmp_path, {**FILES, **SECRETS}), "me/mine", "model", (), (), private=True)

    assert set(parcel.left) == set(SECRETS)
    assert set(parcel.files) == set(FILES)


def test_patterns_choose_what_goes(tmp_path: Path) -> None:
    parcel = pack(write(tmp_path, FILES), "me/mine", "model", ("*.json",), ("tokenizer*",), private=True)

    assert list(parcel.files) == ["config.json", "model.safetensors.index.json"]


def test_what_is_broken_is_told_before_it_goes(tmp_path: Path) -> None:
    parcel = pack(write(tmp_path, {**FILES, FIRST: FILES[FIRST][:-1]}), "me/mine", "model", (), (), private=True)

    assert [each.id for each in parcel.findings] == ["safetensors-incomplete"]


def test_nothing_to_send(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to send in"):
        pack(tmp_path, "me/mine", "model", (), (), private=True)
