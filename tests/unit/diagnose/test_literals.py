"""What a pattern needs: found without running it, and never wrong."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.diagnose.literals import required


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("CUDA out of memory", {"CUDA out of memory"}),
        (r"not found at (?P<file>\S*cuda(?P<cuda>\d+)\.so)", {"not found at "}),
        ("name '(?:one|two)' is", {"name 'one' is", "name 'two' is"}),
        ("(?i)No Space Left", {"No Space Left"}),
        ("colou?r of death", {"r of death"}),
        ("ab+cdefg", {"cdefg"}),
        ("(?:abcdef|ghijkl)+", {"abcdef", "ghijkl"}),
        (r"^\[rank\d+\]: hello$", {"]: hello"}),
        ("[.]so[^x]abcdef", {"abcdef"}),
        (r"a\.b\(c\)", {"a.b(c)"}),
        ("x{2}yzabc", {"yzabc"}),
        ("x{0,3}yzabc", {"yzabc"}),
        ("one long text|other", {"one long text", "other"}),
    ],
)
def test_the_longest_text_that_must_be_there(pattern: str, texts: set[str]) -> None:
    assert required(pattern).texts == texts


@pytest.mark.parametrize("pattern", ["", r"\d+", "abc|longer text", "(?:long text)?", "(?:long text)*", "a.b.c"])
def test_nothing_is_certain_or_it_is_too_short(pattern: str) -> None:
    assert required(pattern).texts == frozenset()


def test_any_case() -> None:
    assert required("(?i)No Space").any_case
    assert required("disk (?i:FULL)").any_case
    assert not required("No Space").any_case


PIECES = st.one_of(
    st.sampled_from(["abcd", "Error: ", "x", r"\d", ".", r"\.", "[ab]", r"\S", "^", "$"]),
    st.sampled_from(["?", "*", "+", "{2}", "{0,1}"]).map(lambda repeat: f"q{repeat}"),
)
PATTERNS = st.recursive(
    st.lists(PIECES, min_size=1, max_size=4).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["", "?", "+", "*"])).map(lambda each: f"(?:{each[0]}){each[1]}"),
        st.tuples(inner, inner).map("".join),
    ),
    max_leaves=6,
)


@given(st.data())
def test_whatever_matches_holds_one_of_the_texts(data: st.DataObject) -> None:
    pattern = data.draw(PATTERNS)
    text = data.draw(st.from_regex(re.compile(pattern, re.ASCII)))
    texts = required(pattern).texts

    assert not texts or any(each in text for each in texts)
