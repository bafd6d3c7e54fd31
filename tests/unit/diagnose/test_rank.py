"""Of all that a log shows, the cause is told, and nothing where nothing is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.diagnose.facts import judge_by
from envkit.diagnose.report import Line, Root
from envkit.host.facts import Disk, Gpu, HostFacts, System
from tests.unit.diagnose.logs import caused_by, entry, ids, interleaved, prefixed, report_on, traceback

MEMORY = entry("memory", "CUDA out of memory")
TIMEOUT = entry("timeout", "Watchdog caught collective operation timeout")
WRAPPER = entry("wrapper", "Engine core initialization failed", severity="wrapper")
NOISE = entry("noise", "libaio was not found", severity="warning")
OOM = traceback("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
HUNG = "[Rank 1] Watchdog caught collective operation timeout\n"
FAILED = traceback("RuntimeError: Engine core initialization failed. See root cause above.")


def test_a_diagnosis_tells_what_the_log_says() -> None:
    driver = entry(
        "driver",
        r"driver is too old \(found version (?P<major>\d+)0(?P<minor>\d)0\)",
        "driver (?P<major>[0-9.]+) was refused",
        title="the driver ends at CUDA {major}",
        cause="It knows CUDA {major}.{minor|x}, and {{literal}} braces stay.",
        fix=["`install --cuda {major}`"],
        check=["`nvidia-smi`"],
    )
    told = report_on("start\nThe driver is too old (found version 12080)\n", driver).diagnoses[0]

    assert (told.title, told.cause) == (
        "the driver ends at CUDA 12",
        "It knows CUDA 12.8, and {{literal}} braces stay.",
    )
    assert (told.fix, told.check) == (("`install --cuda 12`",), ("`nvidia-smi`",))
    assert told.evidence == (Line(2, "The driver is too old (found version 12080)"),)
    assert report_on("driver 11.4 was refused", driver).diagnoses[0].cause.startswith("It knows CUDA 11.4.x, ")


def test_the_first_in_time_comes_first() -> None:
    assert ids(OOM + HUNG, TIMEOUT, MEMORY) == ["memory", "timeout"]
    assert ids(HUNG + OOM, TIMEOUT, MEMORY) == ["timeout", "memory"]


def test_what_follows_from_a_cause_is_not_told_as_one() -> None:
    memory = entry("memory", "CUDA out of memory", beats=["timeout"])

    told = report_on(HUNG + OOM, memory, TIMEOUT).diagnoses
    assert [each.id for each in told] == ["memory"]
    assert told[0].consequences == ("timeout",)


def test_what_follows_from_what_follows() -> None:
    log = "one broke\ntwo broke\nthree broke\n"
    one, two = entry("one", "one broke", beats=["two"]), entry("two", "two broke", beats=["three"])

    assert ids(log, one, two, entry("three", "three broke")) == ["one"]
    assert set(report_on(log, one, two, entry("three", "three broke")).diagnoses[0].consequences) == {"two", "three"}
    assert ids(log, entry("one", "one broke", beats=["t*"]), entry("two", "two broke"), entry("three", "three b")) == [
        "one"
    ]


def test_entries_that_beat_one_another_are_still_told() -> None:
    one, two = entry("one", "one broke", beats=["two"]), entry("two", "two broke", beats=["one"])

    assert ids("two broke\none broke\n", one, two) == ["two"]


def test_of_one_line_the_more_special_entry() -> None:
    disk = entry("disk", "No space left on device")
    shm = entry("shm", r"creating shared memory segment \S+.*No space left on device")
    log = "Error while creating shared memory segment /dev/shm/nccl-7: No space left on device (28)\n"

    assert ids(log, disk, shm) == ["shm"]
    assert ids(log, shm, disk) == ["shm"]
    assert report_on(log, shm, disk).seen == ("shm", "disk")
    assert ids("OSError: [Errno 28] No space left on device\n", disk, shm) == ["disk"]


def test_equally_long_the_one_with_more_words() -> None:
    some = entry("some", r"flash\S*\.so: undefined symbol: (?P<symbol>\S+)")
    abi = entry("abi", r"flash\S*\.so: undefined symbol: \S*basic_string\S*")

    for entries in ((some, abi), (abi, some)):
        assert ids("flash_attn.so: undefined symbol: _Zbasic_stringIc\n", *entries) == ["abi"]


def test_of_a_chain_the_root() -> None:
    """Whatever the later exceptions of the chain would be taken for by themselves."""
    name, hub = entry("name", "Name or service not known"), entry("hub", "We couldn't connect")
    log = caused_by(traceback("socket.gaierror: Name or service not known"), traceback("OSError: We couldn't connect"))

    assert ids(log, hub, name) == ["name"]
    assert report_on(log, hub, name).diagnoses[0].consequences == ("hub",)


def test_an_entry_may_say_that_a_later_exception_of_the_chain_tells_more() -> None:
    name = entry("name", "Name or service not known")
    hub = entry("hub", "We couldn't connect", beats=["name"])
    log = caused_by(traceback("socket.gaierror: Name or service not known"), traceback("OSError: We couldn't connect"))

    assert ids(log, hub, name) == ["hub"]


def test_of_a_chain_what_is_no_class_wherever_it_stands() -> None:
    refused = entry("refused", "429 Too Many Requests", general=True)
    limit = entry("limit", "HubError: rate limit")
    log = caused_by(traceback("httpx.StatusError: 429 Too Many Requests"), traceback("HubError: rate limit"))

    assert ids(log, refused, limit) == ["limit"]
    assert ids(log, refused) == ["refused"]


def test_an_entry_about_exceptions_of_some_code_alone() -> None:
    column = entry("column", "^(?:KeyError: '\\w+')$", frame=r"/srv/run/(?:collate|tokenize)\.py:")

    assert ids(traceback("KeyError: 'text'", "main", "collate"), column) == ["column"]
    assert ids(traceback("KeyError: 'text'", "collate", "mine"), column) == []
    again = caused_by(traceback("KeyError: 'text'", "mine"), traceback("KeyError: 'text'", "collate"))
    assert ids(again, column) == []
    assert ids("KeyError: 'text'\n", column) == ["column"]


def test_what_a_destructor_raised_comes_last() -> None:
    adam = entry("adam", "has no attribute 'ds_opt_adam'")
    ignored = "Exception ignored in: <function A.__del__ at 0x7>\n" + traceback(
        "AttributeError: has no attribute 'ds_opt_adam'"
    )

    assert ids(ignored + OOM, adam, MEMORY) == ["memory", "adam"]
    assert ids(ignored, adam, MEMORY) == ["adam"]


def test_what_was_overcome_long_before_the_end_comes_after() -> None:
    broken = entry("broken", "bad request body")
    log = traceback("ValueError: bad request body") + "INFO: 200 OK\n" * 500 + OOM

    assert ids(log, broken, MEMORY) == ["memory", "broken"]


def test_what_came_before_a_success_is_no_cause() -> None:
    done = "{'train_runtime': 12.5, 'train_loss': 1.25}\n"

    assert ids(OOM + done, MEMORY) == []
    assert report_on(OOM + done).exception is None
    assert ids(OOM + done + HUNG, MEMORY, TIMEOUT) == ["timeout"]
    assert ids(OOM * 5 + done + OOM, MEMORY) == ["memory"]
    assert report_on(OOM * 5 + done + OOM, MEMORY).diagnoses[0].evidence[0].line == 25


RETRY = (
    "'no route to the hub' thrown while requesting HEAD https://hub.example/config.json\nRetrying in 1s [Retry 1/5].\n"
)


def test_what_is_tried_again_is_no_cause_where_nothing_fails() -> None:
    hub = entry("hub", "no route to the hub")

    assert ids(f"{RETRY * 5}config.json: 100%\n", hub) == []
    assert ids(RETRY * 5, hub) == ["hub"]  # the last that was heard of it
    assert ids(f"{RETRY * 5}{traceback('OSError: no config.json')}", hub) == ["hub"]


def test_what_is_tried_again_comes_after_what_ended_it() -> None:
    hub, memory = entry("hub", "no route to the hub"), entry("memory", "out of memory")

    assert ids(f"{RETRY * 5}{traceback('RuntimeError: out of memory')}", hub, memory) == ["memory", "hub"]

    (told,) = report_on(f"{RETRY * 5}{traceback('OSError: no route to the hub')}", hub).diagnoses
    assert [each.text for each in told.evidence] == ["OSError: no route to the hub"]


WARNED = "/srv/app/ops.py:7: UserWarning: the fast kernels are not there\n  warn(\n"


@pytest.mark.parametrize("said", [WARNED, "INFO 11-21 10:00:00 [ops.py:7] the fast kernels are not there\n"])
def test_what_a_program_warns_of_is_no_cause_where_nothing_fails(said: str) -> None:
    kernels = entry("kernels", "the fast kernels are not there")

    assert ids(said, kernels) == []
    assert ids(f"{said}step 1\n", kernels) == []
    assert ids(f"{said}{traceback('KeyError: 7')}", kernels) == ["kernels"]


def test_a_warning_that_knows_the_cause_comes_before_a_class() -> None:
    driver = entry("driver", "driver on your system is too old")
    refused = entry("refused", "AssertionError: .* requires", general=True)
    log = "cuda.py:124: UserWarning: The NVIDIA driver on your system is too old\n"
    log += traceback("AssertionError: Megatron requires CUDA.")

    assert ids(log, driver, refused) == ["driver", "refused"]


def test_a_message_is_taken_as_printed_and_not_as_the_code_that_prints_it() -> None:
    undefined = entry(
        "undefined", r"Undefined dataset (?P<name>\S+) in (?P<file>\S+)", cause="`{name}` is not in {file}."
    )
    log = (
        "Traceback (most recent call last):\n"
        '  File "/srv/venv/lib/python3.11/site-packages/demo/parser.py", line 107, in read\n'
        '    raise ValueError("Undefined dataset {} in {}.".format(name, FILE))\n'
        "ValueError: Undefined dataset chats in dataset_info.json.\n"
    )

    ranks = interleaved([prefixed(log, f"[rank{rank}]: ") for rank in range(5)])
    for each in (log, log + log.replace("chats", "others"), ranks):
        told = report_on(each, undefined).diagnoses[0]
        assert told.cause == "`chats` is not in dataset_info.json."
        assert told.evidence[0].text == "ValueError: Undefined dataset chats in dataset_info.json."


def test_the_success_of_one_container_is_none_of_another() -> None:
    done = "web-1  | {'train_runtime': 12.5}\n"

    assert ids(prefixed(OOM, "trainer-1  | ") + done, MEMORY) == ["memory"]
    assert ids(prefixed(OOM, "web-1  | ") + done, MEMORY) == []


# Wrappers, warnings, and nothing at all -------------------------------------------------------------------------------


def test_a_wrapper_is_told_where_nothing_else_is_there() -> None:
    assert ids(OOM + FAILED, WRAPPER, MEMORY) == ["memory"]
    assert ids(FAILED, WRAPPER, MEMORY) == ["wrapper"]


def test_an_unknown_exception_is_worth_more_than_its_wrapper() -> None:
    report = report_on(traceback("KeyError: 'rope'") + FAILED, WRAPPER)

    assert report.unknown
    assert report.exception == Root("KeyError", "'rope'", 4, "/srv/run/main.py:7 in main")


def test_a_warning_is_never_the_cause_of_a_crash() -> None:
    warned = "[WARNING] libaio was not found\n"

    assert ids(warned + OOM, NOISE, MEMORY) == ["memory"]
    assert ids(warned + traceback("KeyError: 1"), NOISE) == []
    assert ids(warned, NOISE) == []
    assert not report_on(warned, NOISE).failed


def test_a_warning_is_told_with_the_failure_that_it_explains() -> None:
    noise = entry("noise", "libaio was not found", severity="warning", also=["async_io op failed"])
    warned = "[WARNING] libaio was not found\n"

    assert ids(warned + "RuntimeError: the async_io op failed to build\n", noise) == ["noise"]
    assert ids(warned + traceback("KeyError: 1"), noise) == []


def test_what_does_not_work_is_told_where_nothing_failed() -> None:
    share = entry("share", "Could not create share link", severity="partial")
    told = "Could not create share link\n"

    assert ids(told, share) == ["share"]
    assert ids(told + "Running on local URL: http://127.0.0.1:7860\n", share) == ["share"]
    assert ids("ERROR: the tunnel is closed\n" + told, share) == ["share"]
    assert not report_on(told, share).failed
    assert ids(told + OOM, share, MEMORY) == ["memory"]
    assert ids(told + traceback("KeyError: 1"), share) == []
    assert ids(told + "ERROR: exit code 1\n", share) == []


@pytest.mark.parametrize(
    "log",
    [
        "",
        "\n\n",
        "step 10 loss 1.25\nstep 20 loss 1.20\nDone.\n",
        "{'loss': 1.2, 'epoch': 0.1}\n" * 300 + "{'train_runtime': 12.5}\n",
        "W1121 09:00:00.000000 7 torch/run.py:7] Setting OMP_NUM_THREADS to 1 to avoid overload\n",
        "Found error rate 0.0, errors: 0, 0 failed\n",
    ],
)
def test_a_healthy_log(log: str) -> None:
    report = report_on(log, MEMORY, TIMEOUT, NOISE, WRAPPER)

    assert (report.unknown, report.failed, report.exception) == (True, False, None)


def test_a_fault_of_the_users_own_code_is_unknown() -> None:
    report = report_on(traceback("ZeroDivisionError: division by zero", "main", "mine"), MEMORY, NOISE)

    assert report.unknown
    assert report.failed
    assert report.exception == Root("ZeroDivisionError", "division by zero", 6, "/srv/run/mine.py:7 in mine")


# With, unless, facts --------------------------------------------------------------------------------------------------


def test_another_line_may_be_needed() -> None:
    slow = entry("slow", "operation timed out", also=["using (?P<nic>eth\\d+|docker\\d+)"], title="{nic} is slow")

    assert ids("the operation timed out\n", slow) == []
    assert ids("NCCL INFO using docker0\nthe operation timed out\n", slow) == ["slow"]
    assert ids("the operation timed out\nNCCL INFO using docker0\n", slow) == ["slow"]
    assert report_on("the operation timed out\nusing docker0\n", slow).diagnoses[0].title == "docker0 is slow"


def test_another_line_may_speak_against_it() -> None:
    slow = entry("slow", "operation timed out", unless=["Killed by signal"])

    assert ids("the operation timed out\n", slow) == ["slow"]
    assert ids("Killed by signal 9\nthe operation timed out\n", slow) == []


UNSET = entry("unset", "hub timed out", facts=[{"fact": "env.HF_ENDPOINT", "equals": "unset"}])
IGNORED = entry("ignored", "hub timed out", facts=[{"fact": "env.HF_ENDPOINT", "equals": "set"}])
PLAIN = entry("plain", "hub timed out")


def test_facts_decide_where_they_are_known() -> None:
    here = judge_by(HostFacts(), {"HF_ENDPOINT": "https://mirror.example"})

    assert ids("the hub timed out\n", UNSET, IGNORED, PLAIN, judge=here) == ["ignored"]
    told = report_on("the hub timed out\n", IGNORED, judge=here).diagnoses[0]
    assert (told.confirmed, told.unchecked) == (("HF_ENDPOINT is set",), ())
    assert ids("the hub timed out\n", UNSET, PLAIN, judge=here) == ["plain"]


def test_an_entry_that_a_fact_speaks_against_is_told_where_there_is_no_other() -> None:
    told = report_on("the hub timed out\n", UNSET, judge=judge_by(HostFacts(), {"HF_ENDPOINT": "x"})).diagnoses

    assert [each.id for each in told] == ["unset"]
    assert (told[0].confirmed, told[0].contradicted, told[0].unchecked) == ((), ("HF_ENDPOINT is unset",), ())


def test_what_needs_a_fact_that_nobody_knows_comes_after_what_needs_none() -> None:
    assert ids("the hub timed out\n", UNSET, IGNORED, PLAIN) == ["plain"]
    told = report_on("the hub timed out\n", UNSET).diagnoses[0]
    assert (told.confirmed, told.unchecked) == ((), ("HF_ENDPOINT is unset",))


FACTS = HostFacts(
    gpus=(
        Gpu(name="Tesla T4", compute_capability="7.5", memory_mib=15360),
        Gpu(compute_capability="8.9", memory_mib=46068),
    ),
    driver="550.54.15",
    cuda_driver="12.4",
    nvml="ok",
    disks=(Disk("shm", "/srv/shm", total_mib=64), Disk("home", "/srv/envkit", free_mib=2048)),
    system=System(glibc="2.31", container="docker", memory_mib=64_000, memory_limit_mib=8192),
    provider="autodl",
)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ({"fact": "driver", "below": "580"}, True),
        ({"fact": "driver", "at_least": "550.54.15"}, True),
        ({"fact": "driver", "below": "550.54.15"}, False),
        ({"fact": "driver", "equals": "missing"}, False),
        ({"fact": "cuda_driver", "below": "12.10"}, True),
        ({"fact": "gpu.count", "at_least": "2"}, True),
        ({"fact": "gpu.capability", "below": "8.0"}, True),
        ({"fact": "gpu.capability", "at_least": "9.0"}, False),
        ({"fact": "gpu.memory_gib", "below": "16"}, True),
        ({"fact": "gpu.name", "equals": "T4"}, True),
        ({"fact": "memory.gib", "below": "16"}, True),
        ({"fact": "shm.mib", "below": "1024"}, True),
        ({"fact": "disk.free_gib", "below": "10"}, True),
        ({"fact": "glibc", "below": "2.32"}, True),
        ({"fact": "container", "equals": "yes"}, True),
        ({"fact": "provider", "equals": "autodl"}, True),
        ({"fact": "env.A", "equals": "1"}, True),
        ({"fact": "env.A", "equals": "2"}, False),
        ({"fact": "env.B", "equals": "unset"}, True),
        ({"fact": "env.B", "equals": "set"}, False),
    ],
)
def test_conditions(condition: dict[str, str], holds: bool) -> None:
    broken = entry("broken", "it broke", facts=[condition])

    assert ids("it broke\n", broken, entry("other", "it broke"), judge=judge_by(FACTS, {"A": "1"})) == (
        ["broken"] if holds else ["other"]
    )
    assert judge_by(HostFacts(), None)(broken.facts[0]) is None


def test_a_machine_without_a_driver() -> None:
    missing = entry("missing", "it broke", facts=[{"fact": "driver", "equals": "missing"}])

    assert ids("it broke\n", missing, judge=judge_by(HostFacts(nvml="NOT_FOUND", gpus=()), {})) == ["missing"]


# Whatever stands before the lines, and whatever comes between them -------------------------------------------------------

LOGS = st.lists(
    st.sampled_from(
        [OOM, FAILED, HUNG, "step 4 loss 1.2\n", "", "[WARNING] libaio was not found\n", caused_by(OOM, FAILED)]
    ),
    max_size=5,
).map("".join)


@given(
    LOGS, st.sampled_from(["[rank0]: ", "web-1  | ", "(Worker pid=7) ", "2026-11-21T10:00:00Z ", "[pod/a/b] [rank1]: "])
)
def test_a_prefix_changes_no_diagnosis(log: str, prefix: str) -> None:
    plain = report_on(log, MEMORY, TIMEOUT, NOISE, WRAPPER)
    told = report_on(prefixed(log, prefix), MEMORY, TIMEOUT, NOISE, WRAPPER)

    assert (told.diagnoses, told.exception, told.seen) == (plain.diagnoses, plain.exception, plain.seen)


@given(LOGS, st.integers(1, 300))
def test_chunks_change_no_diagnosis(log: str, size: int) -> None:
    from envkit.diagnose.match import diagnose

    data = log.encode()
    entries = (MEMORY, TIMEOUT, NOISE, WRAPPER)

    assert diagnose((data[at : at + size] for at in range(0, len(data), size)), entries) == diagnose([data], entries)


@given(st.integers(1, 8), st.integers(0, 7))
def test_ranks_that_print_at_the_same_time(ranks: int, failed: int) -> None:
    """The one that ran out of memory is found among the ones that waited for it."""
    logs = [
        prefixed(traceback("RuntimeError: Connection reset by peer", "main", "wait"), f"[rank{each}]: ")
        for each in range(ranks)
    ]
    logs[failed % ranks] = prefixed(OOM, f"[rank{failed % ranks}]: ")

    report = report_on(interleaved(logs), MEMORY, TIMEOUT)
    assert [each.id for each in report.diagnoses] == ["memory"]
    assert report.exception is not None
    assert report.exception.kind == "torch.OutOfMemoryError"
