"""Lines as programs meant them, whoever wrote what before them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.diagnose.normalise import Said, normalise

ENGINE = "(EngineCore_0 pid=99)"


@pytest.mark.parametrize(
    ("line", "text", "where", "who"),
    [
        ("RuntimeError: x", "RuntimeError: x", "", ""),
        ("  File indented  \n", "  File indented", "", ""),
        ("vllm-1  | RuntimeError: x", "RuntimeError: x", "vllm-1  |", ""),
        ("vllm-1  |   File indented", "  File indented", "vllm-1  |", ""),
        ("[pod/trainer-0/main] RuntimeError: x", "RuntimeError: x", "[pod/trainer-0/main]", ""),
        ("#12 34.567 error: no matching distribution", "error: no matching distribution", "#12", ""),
        ("#12 ERROR: process did not complete", "ERROR: process did not complete", "#12", ""),
        ("[rank0]: Traceback (most", "Traceback (most", "", "[rank0]:"),
        ("[rank3]:   File indented", "  File indented", "", "[rank3]:"),
        ("[default1]:boom", "boom", "", "[default1]:"),
        ("[1,0]<stderr>:boom", "boom", "", "[1,0]<stderr>:"),
        ("worker-2: boom", "boom", "", "worker-2:"),
        ("12: boom", "boom", "", "12:"),
        ("(VllmWorker rank=0 pid=12) boom", "boom", "", "(VllmWorker rank=0 pid=12)"),
        ("(RayWorkerWrapper pid=7, ip=10.0.0.2) boom", "boom", "", "(RayWorkerWrapper pid=7, ip=10.0.0.2)"),
        (f"{ENGINE} ERROR 10-11 22:28:17 [core.py:694]   File x", "  File x", "", ENGINE),
        (f"{ENGINE} ERROR 10-11 22:28:17 [v1/engine/core.py:694] boom", "boom", "", ENGINE),
        ("ERROR 04-22 15:53:32 pynccl.py:44] Failed", "Failed", "", ""),
        ("Nov 21 10:00:01 gpu7 vllm[123]: boom", "boom", "", "gpu7vllm[123]"),
        ("2026-11-21T10:00:01+0100 gpu7 vllm[123]: boom", "boom", "", "gpu7vllm[123]"),
        ("2026-11-21T10:00:00.123456789Z stderr F boom", "boom", "", ""),
        ("2026-11-21T10:00:00.123456789Z boom", "boom", "", ""),
        ("2026-11-21 10:00:00,123 - modelscope - ERROR - boom", "boom", "", ""),
        ("[2026-11-21 09:00:00] boom", "boom", "", ""),
        ("[2026-11-21 09:00:00 TP0] boom", "boom", "", "TP0"),
        ("[2026-11-21 09:00:00 DP1 TP0] boom", "boom", "", "DP1 TP0"),
        ("stderr:   File x", "  File x", "", ""),
        (">   File x", "  File x", "", ""),
        ("[09:14:01] boom", "boom", "", ""),
        ("[ 1234.567890] NVRM: Xid", "NVRM: Xid", "", ""),
        ("[E1206 18:44:12.123456 ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog", "[Rank 0] Watchdog", "", ""),
        ("W1121 10:00:00.000000 1234 torch/distributed/run.py:901] boom", "boom", "", ""),
        ("[ERROR|trainer.py:2414] 2026-11-21 10:00:00,412 >> boom", "boom", "", ""),
        ("[INFO|2026-11-21 10:00:00] llamafactory.train:157 >> boom", "boom", "", ""),
        (" 12%|█▏  | 12/100 [00:01<00:10,  8.0it/s]Traceback (most", "Traceback (most", "", ""),
        ("Map (num_proc=4): 100%|███| 1.2k/1.2k [00:01<00:00, 8.01 examples/s]", "", "", ""),
        ("model.safetensors:  31%|███   | 1.2G/4.0G [00:10<00:20, 120MB/s]", "", "", ""),
        (
            " 1%| | 8/900 [00:17<43:23, 2.1s/it]  1%|█ | 9/900 [00:19<43:02, 2.1s/it][rank1]: boom",
            "boom",
            "",
            "[rank1]:",
        ),
        ("[rank1]:  1%| | 8/900 [00:17<43:23, 2.1s/it]boom", "boom", "", "[rank1]:"),
        ("web-1  | [rank0]: [2026-11-21 09:00:00] boom", "boom", "web-1  |", "[rank0]:"),
        ("[10:00:01] ERROR    boom at last          train.py:123", "boom at last", "", ""),
        ("           WARNING  boom                  train.py:123", "           WARNING  boom", "", ""),
        ("see train.py:123", "see train.py:123", "", ""),
        ("ERROR: Failed building wheel", "ERROR: Failed building wheel", "", ""),
        ("error: 50% of the disk | is full", "error: 50% of the disk | is full", "", ""),
    ],
)
def test_prefixes(line: str, text: str, where: str, who: str) -> None:
    assert normalise(line) == Said(text, where, who, line.rstrip())


@given(st.text(max_size=200))
def test_nothing_is_invented(line: str) -> None:
    said = normalise(line)

    assert said.whole == line.rstrip()
    assert said.text in said.whole


PREFIXES = [
    "",
    "[rank1]: ",
    "web-1  | ",
    "2026-11-21T10:00:00.5Z ",
    "(Worker_TP1 pid=4) ",
    "[E1206 18:44:12.1 a.cpp:1] ",
]


@given(st.lists(st.sampled_from(PREFIXES), max_size=4))
def test_prefixes_may_stand_before_prefixes(prefixes: list[str]) -> None:
    assert normalise("".join(prefixes) + "    raise ValueError").text == "    raise ValueError"


LINES = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "[rank1]: ", "web-1  | [rank0]: ", "(Worker pid=4) ERROR 10-11 22:28:17 [core.py:694] "]),
    st.sampled_from(["", "  ", "    ", " "]),
    st.sampled_from(["", "File x", "12: x", "1%| | 8/900 [00:17<43:23, 2.1s/it]x", "[rank7]: x", "Traceback (most"]),
)


@given(LINES, LINES)
def test_the_line_before_makes_no_difference(before: str, line: str) -> None:
    assert normalise(line, normalise(before)) == normalise(line)
