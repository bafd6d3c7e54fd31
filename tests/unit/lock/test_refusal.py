"""uv's refusals, as it told them on 2026-11-21, and what is read from them."""

from __future__ import annotations

import pytest

from envkit.lock.refusal import Ask, read_refusal

METADATA = """\
error: No solution found when resolving dependencies
  cause: Because llamafactory>=0.9.5 depends on one of:
             transformers>=4.55.0,<4.57.0
             transformers>4.57.0,<=5.6.0
         and you require llamafactory==0.9.5, we can conclude that you require one of:
             transformers>=4.55.0,<4.57.0
             transformers>4.57.0,<=5.6.0

         And because you require transformers==5.23.0, we can conclude that your requirements are unsatisfiable."""
CHAIN = """\
error: No solution found when resolving dependencies
  cause: Because llamafactory>=0.9.5 depends on trl>=0.18.0,<=0.24.0 and you require llamafactory==0.9.5, we can conclude that you require trl>=0.18.0,<=0.24.0.
         And because you require trl==1.16.0, we can conclude that your requirements are unsatisfiable."""
STACK = """\
error: No solution found when resolving dependencies
  cause: Because xformers==0.0.33 depends on torch==2.9.0 and you require torch==2.11.0, we can conclude that your requirements and xformers==0.0.33 are incompatible.
         And because you require xformers==0.0.33, we can conclude that your requirements are unsatisfiable."""
BOUND = """\
error: No solution found when resolving dependencies
  cause: Because you require setuptools==81.0.0 and setuptools<80.9, we can conclude that your requirements are unsatisfiable."""
VERSION = """\
error: No solution found when resolving dependencies
  cause: Because there is no version of transformers==5.23.0 and you require transformers==5.23.0, we can conclude that your requirements are unsatisfiable.

hint: `transformers` was filtered by `exclude-newer` to only include packages uploaded before 2024-11-20T19:00:00Z. The requested version, v5.23.0, was published at 2026-11-13T14:10:36Z. Consider using `exclude-newer-package` to override the cutoff for this package."""
NAME = """\
error: No solution found when resolving dependencies
  cause: Because nosuchpackage was not found in the package registry and you require nosuchpackage, we can conclude that your requirements are unsatisfiable."""


@pytest.mark.parametrize(
    ("words", "asks", "required", "missing"),
    [
        pytest.param(
            METADATA,
            (Ask("llamafactory>=0.9.5", ("transformers>=4.55.0,<4.57.0", "transformers>4.57.0,<=5.6.0")),),
            ("llamafactory==0.9.5", "transformers==5.23.0"),
            (),
            id="metadata",
        ),
        pytest.param(
            CHAIN,
            (Ask("llamafactory>=0.9.5", ("trl>=0.18.0,<=0.24.0",)),),
            ("llamafactory==0.9.5", "trl==1.16.0"),
            (),
            id="chain",
        ),
        pytest.param(
            STACK,
            (Ask("xformers==0.0.33", ("torch==2.9.0",)),),
            ("torch==2.11.0", "xformers==0.0.33"),
            (),
            id="stack",
        ),
        pytest.param(BOUND, (), ("setuptools==81.0.0", "setuptools<80.9"), (), id="bound"),
        pytest.param(VERSION, (), ("transformers==5.23.0",), ("transformers==5.23.0",), id="no such version"),
        pytest.param(NAME, (), ("nosuchpackage",), ("nosuchpackage",), id="no such package"),
        pytest.param("error: No solution found\n  cause: it is Monday", (), (), (), id="words of another form"),
    ],
)
def test_what_is_read(words: str, asks: tuple[Ask, ...], required: tuple[str, ...], missing: tuple[str, ...]) -> None:
    refusal = read_refusal(words)

    assert (refusal.asks, refusal.required, refusal.missing) == (asks, required, missing)


def test_alternatives_are_told_with_the_package_named_once() -> None:
    (ask,) = read_refusal(METADATA).asks

    assert ask.requirement == "transformers>=4.55.0,<4.57.0 or >4.57.0,<=5.6.0"


def test_a_line_of_the_matrix_is_found_whatever_its_spelling() -> None:
    refusal = read_refusal(METADATA)

    assert refusal.requires("LLaMAFactory == 0.9.5")
    assert not refusal.requires("llamafactory==0.9.4")
    assert not refusal.requires("trl==0.24.0")
    assert refusal.names == {"llamafactory", "transformers"}
