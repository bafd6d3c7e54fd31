"""Which exception a log goes back to, however it is printed."""

from __future__ import annotations

import pytest

from envkit.diagnose.report import Root
from tests.unit.diagnose.logs import caused_by, entry, ids, interleaved, prefixed, report_on, traceback

KEY = traceback("KeyError: 'lr'", "main", "load")


def test_the_root_exception_with_its_last_frame() -> None:
    assert report_on(f"starting\n{KEY}bye\n").exception == Root("KeyError", "'lr'", 7, "/srv/run/load.py:7 in load")


def test_chains_are_followed_to_their_root() -> None:
    log = caused_by(traceback("socket.gaierror: no name"), traceback("urllib3.NewError: no way", "connect"))
    log = (
        log
        + "\nDuring handling of the above exception, another exception occurred:\n\n"
        + traceback("OSError: no file")
    )

    assert report_on(log).exception == Root(
        "socket.gaierror", "no name", 4, "/srv/run/main.py:7 in main", ended_as="OSError: no file"
    )


def test_an_exception_that_was_printed_between_has_nothing_to_do_with_the_chain() -> None:
    log = interleaved(
        [
            prefixed(caused_by(traceback("KeyError: 1"), traceback("OSError: one")), "[rank0]: "),
            prefixed("\n" * 2 + traceback("ValueError: two"), "[rank1]: "),
        ]
    )

    assert report_on(log).exception == Root("KeyError", "1", 7, "/srv/run/main.py:7 in main", ended_as="OSError: one")


@pytest.mark.parametrize(
    "prefix",
    ["[rank3]: ", "web-1  | ", "(EngineCore_0 pid=9) ERROR 11-21 10:00:00 [core.py:694] ", "2026-11-21T10:00:00Z "],
)
def test_prefixes_make_no_difference(prefix: str) -> None:
    assert report_on(prefixed(KEY, prefix)).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")


def test_what_stands_before_a_traceback_on_its_line() -> None:
    log = " 12%|█▏  | 12/100 [00:01<00:10,  8.0it/s]" + KEY
    assert report_on(log).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")
    log = "ERROR:asyncio:Task failed " + KEY
    assert report_on(log).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")


def test_a_rank_before_the_first_line_alone() -> None:
    """As SGLang prints it."""
    log = f"[2026-11-21 09:00:31 TP0] Scheduler hit an exception: {KEY}"

    assert report_on(log).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")
    assert report_on(prefixed(log, "web-1  | ")).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")


def test_a_traceback_that_was_copied_without_its_indentation() -> None:
    log = "".join(f"{line.strip()}\n" for line in traceback("KeyError: 'lr'", *["main"] * 30, "load").splitlines())

    assert report_on(log).exception == Root("KeyError", "'lr'", 64, "/srv/run/load.py:7 in load")


def test_an_indented_traceback() -> None:
    assert report_on(prefixed(KEY, "      ")).exception == Root("KeyError", "'lr'", 6, "/srv/run/load.py:7 in load")


def test_a_message_that_begins_on_a_line_of_its_own() -> None:
    log = traceback("ImportError: ") + "AutoModel requires the accelerate library\n"

    assert report_on(log).exception == Root(
        "ImportError", "AutoModel requires the accelerate library", 4, "/srv/run/main.py:7 in main"
    )


def test_lines_of_others_inside_a_traceback() -> None:
    lines = KEY.splitlines()
    log = "\n".join([*lines[:3], "step 4 of 5", "saving", *lines[3:], ""])

    assert report_on(log).exception == Root("KeyError", "'lr'", 8, "/srv/run/load.py:7 in load")


def test_an_exception_group_goes_back_to_what_is_in_it() -> None:
    log = """\
  + Exception Group Traceback (most recent call last):
  |   File "/srv/run/main.py", line 3, in main
  | ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File "/srv/run/load.py", line 9, in load
    | KeyError: 'lr'
    +------------------------------------
"""
    assert report_on(log).exception == Root("KeyError", "'lr'", 7, "/srv/run/load.py:9 in load")


def test_what_a_destructor_raises_is_no_cause() -> None:
    ignored = "Exception ignored in: <function Engine.__del__ at 0x7f>\n" + traceback("AttributeError: no 'x'")

    assert report_on(ignored + KEY).exception == Root("KeyError", "'lr'", 11, "/srv/run/load.py:7 in load")
    assert report_on(ignored).exception is None


def test_what_reports_another_failure_is_no_cause() -> None:
    reporting = traceback("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")

    assert report_on(reporting + KEY).exception == Root("KeyError", "'lr'", 10, "/srv/run/load.py:7 in load")
    alone = report_on(reporting).exception
    assert alone is not None
    assert alone.kind == "torch.distributed.elastic.multiprocessing.errors.ChildFailedError"


def test_a_message_that_points_to_another_one_is_no_cause() -> None:
    failed = traceback("Exception: WorkerProc initialization failed due to an exception in a background process.")

    assert report_on(failed + KEY).exception == Root("KeyError", "'lr'", 10, "/srv/run/load.py:7 in load")


def test_what_ray_prints_goes_back_to_the_worker() -> None:
    log = traceback("ray.exceptions.RayTaskError(ValueError): ray::Runner.run() (pid=3, ip=10.0.0.2)")
    log += '  File "/srv/run/fit.py", line 30, in fit\n    check()\n'
    log += "ray.exceptions.RayTaskError(ValueError): ray::Worker.step() (pid=4, ip=10.0.0.2)\n"
    log += '  File "/srv/run/work.py", line 40, in step\n    check()\nValueError: twelve is not divisible by eight\n'

    assert report_on(log).exception == Root(
        "ValueError", "twelve is not divisible by eight", 10, "/srv/run/work.py:40 in step"
    )


def test_ctrl_c_is_no_failure() -> None:
    report = report_on(traceback("KeyboardInterrupt"))

    assert report.exception is None
    assert not report.failed


def test_of_exceptions_far_apart_the_last_ones_count() -> None:
    """A server logs what a request did wrong, and works on; long after that it ends of something else."""
    log = traceback("ValueError: bad request") + "INFO: 200 OK\n" * 500 + KEY

    assert report_on(log).exception == Root("KeyError", "'lr'", 510, "/srv/run/load.py:7 in load")


def test_of_very_many_exceptions_the_first() -> None:
    log = "".join(traceback(f"ValueError: {each}") for each in range(1000))

    assert report_on(log).exception == Root("ValueError", "0", 4, "/srv/run/main.py:7 in main")


def test_a_failure_that_is_no_traceback() -> None:
    log = "loading\nterminate called after throwing an instance of 'c10::Error'\n"
    assert report_on(log).exception == Root("c10::Error", log.splitlines()[1], 2)
    assert report_on("RuntimeError: boom\n").exception == Root("RuntimeError", "boom", 1)
    assert report_on("error: externally-managed-environment\n").exception == Root(
        "error", "externally-managed-environment", 1
    )


BOX = """\
╭───── Traceback (most recent call last) ─────╮
│ /srv/run/load.py:7 in load                  │
│                                             │
│    6 │   # No space left on device, maybe   │
│ ❱  7 │   raise RuntimeError(text)           │
╰─────────────────────────────────────────────╯
RuntimeError: No library was found at this 
place: /srv/venv/lib/python3.11/site-packages/t
orch/lib/libc10.so
and this is the next line of the log
"""


def test_what_rich_wraps_is_joined() -> None:
    message = "No library was found at this place: /srv/venv/lib/python3.11/site-packages/torch/lib/libc10.so"
    told = report_on(BOX, entry("lib", r"at this place: (?P<path>\S+libc10\.so)", title="no {path}"))

    assert told.exception == Root("RuntimeError", message, 7, "/srv/run/load.py:7 in load")
    assert [each.title for each in told.diagnoses] == ["no /srv/venv/lib/python3.11/site-packages/torch/lib/libc10.so"]
    assert [each.text for each in told.diagnoses[0].evidence] == [f"RuntimeError: {message}"]


def test_what_a_terminal_wrapped_is_joined() -> None:
    log = """\
Traceback (most recent call last):
  File "/srv/venv/lib/python3.11/site-pa
ckages/peft/tuners/lora.py", line 12, in
 __init__
    self.update(**arguments)
TypeError: update() got an unexpected ke
yword argument 'layer_replication'
and this is the next line of the log
"""
    told = report_on(log, entry("key", r"unexpected keyword argument '(?P<key>\w+)'", title="no {key}"))

    assert told.exception == Root(
        "TypeError",
        "update() got an unexpected keyword argument 'layer_replication'",
        6,
        "/srv/venv/lib/python3.11/site-packages/peft/tuners/lora.py:12 in __init__",
    )
    assert [each.title for each in told.diagnoses] == ["no layer_replication"]


def test_code_that_rich_shows_around_a_line_did_not_run() -> None:
    assert ids(BOX, entry("full", "No space left on device")) == []


def test_a_panel_is_read_as_one_text() -> None:
    log = """\
╭─ Error ──────────────────────────────╮
│ The model at /srv/models/qwen is     │
│ not there: it was moved, or          │
│ /srv/is-not-mounted-in-this-containe │
│ r.                                   │
╰──────────────────────────────────────╯
"""
    assert ids(log, entry("moved", "qwen is not there: it was moved, or /srv/is-not-mounted-in-this-container")) == [
        "moved"
    ]
    assert report_on(log).exception == Root(
        "Error",
        "The model at /srv/models/qwen is not there: it was moved, or /srv/is-not-mounted-in-this-container.",
        2,
    )


def test_a_box_that_breaks_off_ends_there() -> None:
    log = "\n".join(BOX.splitlines()[:3]) + "\nplain text\n" + KEY

    assert report_on(log).exception == Root("KeyError", "'lr'", 10, "/srv/run/load.py:7 in load")
