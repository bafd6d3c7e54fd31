"""What a record keeps of a machine, and what it must not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from msgspec.structs import replace

from envkit.doctor.checks import Machine
from envkit.doctor.record import anonymise
from envkit.doctor.report import examine
from envkit.host.facts import Disk, Endpoint, Engine, Gpu, HostFacts, MigDevice, Settings, System
from tests.unit.doctor.triggers import ENGINE, GOOD, TRIGGERS, Trigger, with_

if TYPE_CHECKING:
    from envkit.matrix.load import Matrix

PUBLIC = {"pypi.mirror.example", "huggingface.co"}
UUIDS = ("GPU-4cf8db2d-06c0-7d70-1a51-e59b25b2c16c", "GPU-ffffffff-06c0-7d70-1a51-e59b25b2c16c")
SLICE = "MIG-3eb87630-93d5-b2b6-b8ff-9b359caf4ee2"


def clean(facts: HostFacts) -> HostFacts:
    return anonymise(
        facts, users={"alice", "al", ""}, host="gpu07.corp.example", home="/data/people/alice", public=PUBLIC
    )


def text(words: str) -> str:
    """What becomes of words that a probe wrote."""
    return clean(HostFacts(unknown={"docker": words})).unknown["docker"]


@pytest.mark.parametrize(
    ("said", "recorded"),
    [
        # people, machines and folders
        ("alice may not", "user may not"),
        ("/data/people/alice/.config", "/home/user/.config"),
        ("/home/bob/x and /mnt/c/Users/Carol/y", "/home/user/x and /mnt/c/Users/user/y"),
        ("unix:///home/bob/.docker/desktop/docker.sock", "unix:///home/user/.docker/desktop/docker.sock"),
        ("gpu07 and GPU07.corp.example", "host and host"),
        ("alice@corp.example wrote", "somebody@host.invalid wrote"),
        ("malice, alice-x, also", "malice, alice-x, also"),
        # addresses
        ("dial tcp 10.1.2.3:2375: refused", "dial tcp 192.0.2.1:2375: refused"),
        ("from 8.8.8.8.", "from 192.0.2.1."),
        ("dial tcp [fd00::5]:2375", "dial tcp [2001:db8::1]:2375"),
        ("2001:470:1:2:3:4:5:6 and fe80::1", "2001:db8::1 and 2001:db8::1"),
        ("127.0.0.1:53, 0.0.0.0:80, [::1]:53", "127.0.0.1:53, 0.0.0.0:80, [::1]:53"),
        ("ssh://alice@build.corp.example:22/x", "ssh://host.invalid:22"),
        ("https://index.corp.example/s3cret/simple/?token=abc#f", "https://host.invalid"),
        ("lookup index.corp.example failed, https://index.corp.example/simple", "lookup host.invalid failed, https://host.invalid"),
        ("https://pypi.mirror.example/simple?token=abc", "https://pypi.mirror.example/simple"),
        ("https://alice:pw@pypi.mirror.example/simple", "https://pypi.mirror.example/simple"),
        ("http://bob:pw@127.0.0.1:7890/x?y", "http://***@127.0.0.1:7890/x"),
        ("https://[broken/", "https://host.invalid"),
        ("https://h.example:port/", "https://host.invalid"),
        # secrets
        ("bad hf_abcDEF123456", "bad ***"),
        ("bad sk-proj-abc_DEF123456.", "bad ***"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("token=abc&password=x y", "token=***&password=*** y"),
        # serial numbers
        (f"{UUIDS[0]} {UUIDS[1]} {UUIDS[0]}", "GPU-00000000-0000-0000-0000-000000000000 GPU-00000000-0000-0000-0000-000000000001 GPU-00000000-0000-0000-0000-000000000000"),
        # what only looks like one of these
        ("0000:4f:00.0", "0000:4f:00.0"),
        ("libcublas.so.12.4.5.8, driver 535.183.01, 1.2.3.4.5, 999.1.1.1", "libcublas.so.12.4.5.8, driver 535.183.01, 1.2.3.4.5, 999.1.1.1"),
        ("10:20:30 torch::cuda", "10:20:30 torch::cuda"),
    ],
)  # fmt: skip
def test_what_a_probe_said(said: str, recorded: str) -> None:
    assert text(said) == recorded


def test_every_place_where_an_owner_shows() -> None:
    facts = HostFacts(
        gpus=(Gpu(0, uuid=UUIDS[0], mig_devices=(MigDevice(0, uuid=SLICE),)), Gpu(1, uuid=UUIDS[1])),
        hardware=("0000:4f:00.0",),
        engine=replace(
            ENGINE,
            endpoint="tcp://10.1.2.3:2375",
            version="28.1.1",
            cdi_devices=(f"nvidia.com/gpu={UUIDS[1]}", "nvidia.com/gpu=all"),
            mirrors=("https://hub.corp.example", "https://pypi.mirror.example"),
        ),
        disks=(Disk("home", "/data/people/alice/.local/share/envkit", 1, 1, "0:1"),),
        system=System(kernel="6.18.44-corp-v7", os="ubuntu"),
        settings=Settings(
            proxies={
                "HTTPS_PROXY": "http://***@proxy.corp.example:3128",
                "http_proxy": "other.corp.example:3128",
                "NO_PROXY": "localhost,127.0.0.1,.corp.example,10.0.0.0/8",
                "no_proxy": "corp.example",
                "ALL_PROXY": "socks5://127.0.0.1:1080",
            },
            index="https://index.corp.example/simple",
            huggingface="https://huggingface.co",
        ),
        endpoints=(
            Endpoint("index", "https://index.corp.example/simple", "no such host: index.corp.example"),
            Endpoint(
                "registry", "registry.corp.example:5000/team/debian:12", "lookup registry.corp.example: no such host"
            ),
        ),
        unknown={"podman": "OSError: other.corp.example", "provider": "index.corp.example"},
    )

    assert clean(facts) == replace(
        facts,
        gpus=(
            Gpu(
                0,
                uuid="GPU-00000000-0000-0000-0000-000000000000",
                mig_devices=(MigDevice(0, uuid="MIG-00000000-0000-0000-0000-000000000001"),),
            ),
            Gpu(1, uuid="GPU-00000000-0000-0000-0000-000000000002"),
        ),
        engine=replace(
            ENGINE,
            endpoint="tcp://host.invalid:2375",
            version="28.1.1",
            cdi_devices=("nvidia.com/gpu=GPU-00000000-0000-0000-0000-000000000002", "nvidia.com/gpu=all"),
            mirrors=("https://host.invalid", "https://pypi.mirror.example"),
        ),
        disks=(Disk("home", "/home/user/.local/share/envkit", 1, 1, "0:1"),),
        system=System(kernel="6.18.44-custom", os="ubuntu"),
        settings=Settings(
            proxies={
                "HTTPS_PROXY": "http://host.invalid:3128",
                "http_proxy": "host.invalid:3128",
                "NO_PROXY": "localhost,127.0.0.1",
                "no_proxy": "host.invalid",
                "ALL_PROXY": "socks5://127.0.0.1:1080",
            },
            index="https://host.invalid",
            huggingface="https://huggingface.co",
        ),
        endpoints=(
            Endpoint("index", "https://host.invalid", "no such host: host.invalid"),
            Endpoint("registry", "host.invalid:5000/team/debian:12", "lookup host.invalid: no such host"),
        ),
        unknown={"podman": "OSError: host.invalid", "provider": "host.invalid"},
    )


@pytest.mark.parametrize(
    ("kernel", "recorded"),
    [
        ("6.8.0-45-generic", None),
        ("5.15.167.4-microsoft-standard-WSL2", None),
        ("6.1.0-27-cloud-amd64", None),
        ("5.14.0-427.el9.x86_64", None),
        ("4.18.0-553.22.1.el8_10.x86_64", None),
        ("6.6.56+", None),
        ("6.8.0-1028-nvidia-64k", None),
        ("6.18.44-corp-v7", "6.18.44-custom"),
        ("5.15.0-genericcorp", "5.15.0-custom"),
        ("corp", "custom"),
    ],
)
def test_a_kernel_of_ones_own_tells_its_release_alone(kernel: str, recorded: str | None) -> None:
    system = clean(HostFacts(system=System(kernel=kernel))).system

    assert system
    assert system.kernel == (recorded or kernel)


@pytest.mark.parametrize("name", ["nvidia", "home", "docker", "ubuntu", "usable", "var", "dev", "engine", "run"])
def test_a_user_whose_name_is_a_word_of_the_facts_breaks_none(matrix: Matrix, name: str) -> None:
    recorded = anonymise(GOOD, users={name}, host=name, home=f"/home/{name}")
    report = examine(Machine(recorded, matrix, ("demo",)))

    assert report.findings == ()
    assert recorded.engine == GOOD.engine


def test_a_home_at_the_root_of_the_disk_is_not_cut_out_of_every_path() -> None:
    facts = HostFacts(disks=(Disk("home", "/root/.local/share/envkit"), Disk("engine", "/var/lib/docker")))

    assert anonymise(facts, users={"root"}, host="", home="/root") == facts
    assert anonymise(facts, users=set(), host="localhost", home="/") == facts


def test_a_record_of_a_record_is_the_same() -> None:
    facts = with_(
        gpus=tuple(Gpu(index, uuid=uuid) for index, uuid in enumerate(UUIDS)),
        settings=Settings(proxies={"HTTP_PROXY": "http://proxy.corp.example:3128", "NO_PROXY": "corp.example"}),
        engine=Engine(state="failing", endpoint="ssh://alice@gpu07", problem="alice at 10.1.2.3 and fd00::5"),
    )

    assert clean(clean(facts)) == clean(facts)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.id)
def test_a_record_gives_the_same_findings(matrix: Matrix, trigger: Trigger) -> None:
    for facts in (trigger.facts, *trigger.neighbours):
        recorded = msgspec.json.decode(msgspec.json.encode(clean(facts)), type=HostFacts)
        told = [
            [each.id for each in examine(Machine(one, matrix, trigger.frameworks)).findings]
            for one in (facts, recorded)
        ]
        assert told[0] == told[1]
