"""A log in, a report out: the one call of this package."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from envkit.diagnose.blocks import blocks
from envkit.diagnose.facts import nobody_knows
from envkit.diagnose.knowledge import known
from envkit.diagnose.rank import rank
from envkit.diagnose.scan import Rules, Scan
from envkit.diagnose.signs import signs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from envkit.diagnose.facts import Judge
    from envkit.diagnose.report import Report
    from envkit.diagnose.schema import Entry


def diagnose(chunks: Iterable[bytes], entries: Sequence[Entry] | None = None, judge: Judge = nobody_knows) -> Report:
    """What broke, by the bytes of a log in pieces of any size; `judge` knows the machine that it is from."""
    scan = Scan(_shipped() if entries is None else Rules.made_of(entries, signs()), signs())
    for block in blocks(chunks):
        scan.feed(block)
    return rank(scan.result(), signs(), judge)


@cache
def _shipped() -> Rules:
    return Rules.made_of(known(), signs())
