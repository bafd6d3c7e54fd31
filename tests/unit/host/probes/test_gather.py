"""Probes run at once, each with a limit of its own; whatever one of them does, the machine is described."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from envkit.host import probes
from envkit.host.facts import Disk, Engine, Gpu, HostFacts, Settings, System
from envkit.host.home import providers
from envkit.host.probes import EVERYTHING, gather, printable, probe_host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FOREVER = 30
"""Seconds; no test waits for them."""


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Ends the probes that hang, after the test."""
    event = threading.Event()
    yield event
    event.set()


# gather ---------------------------------------------------------------------------------------------------------------


def test_probes_tell_what_they_know() -> None:
    assert gather({"a": (lambda: {"x": 1}, 1), "b": (dict, 1)}) == ({"a": {"x": 1}, "b": {}}, {})


def test_a_probe_that_fails_takes_no_other_with_it() -> None:
    def fail() -> dict[str, Any]:
        raise ValueError("no such thing as http://me:secret@proxy\udcff")

    answers, unknown = gather({"a": (fail, 1), "b": (lambda: {"x": 1}, 1)})

    assert answers == {"b": {"x": 1}}
    assert unknown == {"a": "ValueError: no such thing as http://***@proxy?"}


def test_a_probe_that_hangs_is_left_behind(release: threading.Event) -> None:
    def hang() -> dict[str, Any]:
        release.wait(FOREVER)
        return {}

    began = time.monotonic()
    answers, unknown = gather({"a": (hang, 0.01), "b": (lambda: {"x": 1}, FOREVER), "c": (hang, 0.05)})

    assert time.monotonic() - began < FOREVER / 2
    assert answers == {"b": {"x": 1}}
    assert unknown == {"a": "no answer within 0.01 s", "c": "no answer within 0.05 s"}


def test_all_of_them_run_at_once() -> None:
    together = threading.Barrier(8, timeout=FOREVER)

    def meet() -> dict[str, Any]:
        together.wait()  # one after the other would never come through
        return {}

    answers, unknown = gather({str(number): (meet, FOREVER) for number in range(8)})

    assert (len(answers), unknown) == (8, {})


def test_who_comes_late_is_not_heard(release: threading.Event) -> None:
    ended = threading.Event()

    def late() -> dict[str, Any]:
        release.wait(FOREVER)
        threading.Timer(0.01, ended.set).start()
        return {"x": 1}

    answers, unknown = gather({"late": (late, 0)})
    release.set()
    assert ended.wait(FOREVER)

    assert (answers, unknown) == ({}, {"late": "no answer within 0 s"})


def test_a_machine_that_starts_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "second":
            raise RuntimeError("can't start new thread")
        start(thread)

    names = iter(["first", "second"])
    make = threading.Thread.__init__
    monkeypatch.setattr(threading.Thread, "__init__", lambda self, **given: make(self, name=next(names), **given))
    monkeypatch.setattr(threading.Thread, "start", refuse)

    answers, unknown = gather({"a": (lambda: {"x": 1}, 1), "b": (lambda: {"x": 2}, 1)})

    assert answers == {"a": {"x": 1}}
    assert unknown == {"b": "RuntimeError: can't start new thread"}


# probe_host -----------------------------------------------------------------------------------------------------------

TOLD: dict[str, dict[str, Any]] = {
    "nvml": {"nvml": "LIBRARY_NOT_FOUND", "gpu_problem": "its driver does not answer: NVML Shared Library Not Found"},
    "pci": {"hardware": (), "nvswitches": 0, "fabric_manager": None},
    "docker": {"engine": Engine("usable"), "disks": (Disk("engine", "/var/lib/docker"),)},
    "podman": {"podman": Engine("usable"), "disks": (Disk("podman", "/var/lib/containers"),)},
    "disks": {"disks": (Disk("home", "/home"),)},
    "system": {"system": System(os="ubuntu")},
    "settings": {"settings": Settings(proxies={"HTTP_PROXY": "http://proxy"})},
    "provider": {"provider": ""},
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], dict[str, Any]]]:
    """The probes by their names; each tells what it does on a machine without GPU, and a test may put its own there."""
    found: dict[str, Callable[[], dict[str, Any]]] = {
        name: (lambda name=name: dict(TOLD.get(name, {}))) for name in EVERYTHING
    }
    table = {name: ((lambda name=name: found[name]()), FOREVER) for name in EVERYTHING}
    monkeypatch.setattr(probes, "_PROBES", table)
    return found


Told = dict[str, "Callable[[], dict[str, Any]]"]


def test_the_probes_make_a_machine(told: Told) -> None:
    assert probe_host(EVERYTHING) == HostFacts(
        gpus=(),
        nvml="LIBRARY_NOT_FOUND",
        hardware=(),
        nvswitches=0,
        engine=Engine("usable"),
        podman=Engine("usable"),
        disks=(Disk("engine", "/var/lib/docker"), Disk("podman", "/var/lib/containers"), Disk("home", "/home")),
        system=System(os="ubuntu"),
        provider="",
        settings=Settings(proxies={"HTTP_PROXY": "http://proxy"}),
    )


def test_nothing_is_decoded_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads that make msgspec's decoder of one type at once crash the interpreter: `envkit run` ended with -11."""
    threads = []

    def watched(*args: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return convert(*args, **options)

    convert = msgspec.convert
    monkeypatch.setattr(msgspec, "convert", watched)
    monkeypatch.setattr("envkit.host.home.convert", watched)
    providers.cache_clear()

    assert probe_host(("pci", "disks", "provider", "settings", "system")).unknown == {}
    assert set(threads) == {threading.main_thread()}


def test_a_plan_asks_no_more_than_it_needs(told: Told) -> None:
    assert probe_host() == HostFacts(
        gpus=(),
        nvml="LIBRARY_NOT_FOUND",
        hardware=(),
        nvswitches=0,
        engine=Engine("usable"),
        disks=(Disk("engine", "/var/lib/docker"), Disk("home", "/home")),
        system=System(os="ubuntu"),
    )


@pytest.mark.parametrize("kind", [OSError, ValueError, RuntimeError])
@pytest.mark.parametrize("name", EVERYTHING)
def test_no_probe_can_keep_the_machine_from_being_described(told: Told, name: str, kind: type[Exception]) -> None:
    whole = msgspec.structs.asdict(probe_host(EVERYTHING))

    def fail() -> dict[str, Any]:
        raise kind("it broke")

    told[name] = fail
    found = probe_host(EVERYTHING)

    assert found.unknown == {name: f"{kind.__name__}: it broke"}
    lost = {field for field, value in msgspec.structs.asdict(found).items() if value != whole[field]} - {"unknown"}
    # Without the bus, or without NVML, whether there is a GPU is not known.
    gpus = {"gpus"} if name in ("nvml", "pci") else set()
    assert lost <= {*TOLD.get(name, {}), *gpus}
    assert gpus <= lost


def test_no_probe_at_all(told: Told) -> None:
    def fail() -> dict[str, Any]:
        raise OSError("it broke")

    told.update(dict.fromkeys(EVERYTHING, fail))

    assert probe_host(EVERYTHING) == HostFacts(unknown=dict.fromkeys(EVERYTHING, "OSError: it broke"))


def test_a_silent_driver_is_a_problem_where_there_is_a_gpu(told: Told) -> None:
    def fail() -> dict[str, Any]:
        raise OSError("it broke")

    told.update(nvml=fail, pci=lambda: {"hardware": ("0000:01:00.0",)})

    assert probe_host(("nvml", "pci")) == HostFacts(
        hardware=("0000:01:00.0",),
        gpu_problem="its driver does not answer: OSError: it broke",
        unknown={"nvml": "OSError: it broke"},
    )


def test_a_gpu(told: Told) -> None:
    gpu = Gpu(0, "NVIDIA H200", "GPU-0", 143771, "9.0")
    told.update(nvml=lambda: {"nvml": "ok", "gpus": (gpu,), "driver": "580.82.07", "cuda_driver": "13.0"})

    assert probe_host(("nvml", "pci")) == HostFacts(
        gpus=(gpu,), driver="580.82.07", cuda_driver="13.0", nvml="ok", hardware=(), nvswitches=0
    )


# What is told can be read again ---------------------------------------------------------------------------------------


def test_bytes_that_are_no_text_do_not_keep_facts_from_being_printed(told: Told) -> None:
    told["settings"] = lambda: {"settings": Settings(proxies={"HTTP_PROXY": "http://\udcff"}, index="\ud800")}

    facts = probe_host(EVERYTHING)

    assert facts.settings == Settings(proxies={"HTTP_PROXY": "http://?"}, index="?")
    assert msgspec.json.decode(msgspec.json.encode(facts), type=HostFacts) == facts


@pytest.mark.parametrize(
    ("name", "answer", "reason"),
    [
        (
            "docker",
            {"engine": Engine("usable", version=29)},
            "Expected `str | null`, got `int` - at `$.engine.version`",
        ),  # type: ignore[arg-type]
        ("podman", {"podman": Engine("odd")}, "Invalid enum value 'odd' - at `$.podman.state`"),  # type: ignore[arg-type]
        (
            "nvml",
            {"nvml": "ok", "gpus": (), "driver": "unknown"},
            r"Expected `str` matching regex '^[0-9]+(\\.[0-9]+)*$' - at `$.driver`",
        ),
    ],
)
def test_an_answer_of_the_wrong_kind_is_not_passed_on(
    told: Told, name: str, answer: dict[str, Any], reason: str
) -> None:
    told[name] = lambda: answer

    assert probe_host(EVERYTHING).unknown == {name: f"ValidationError: {reason}"}


def test_what_can_be_printed_stays_as_it_is() -> None:
    value = {"ключ": ["恒源云", 1, None, True, {"a": "😀"}]}

    assert printable(value) == value
