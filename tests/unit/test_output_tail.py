"""Promises about the end of a job's output: bounded, and only what an eye can see."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.output_tail import TAIL_BYTES, clean_tail

pytest_plugins = ["tests.unit.ledger_fixtures"]


@pytest.mark.parametrize(
    ("written", "kept"),
    {
        "one\ntwo\n": "one\ntwo",
        "\n\n": "",
        "windows\r\nlines\r\n": "windows\nlines",
        "  1 %\r 50 %\r100 %\ndone": "100 %\ndone",
        "half a bar\r": "half a bar",
        "\x1b[1;31mred\x1b[0m and \x1b]0;a title\x07plain": "red and plain",
        "a\x00b\x08c\x7f": "abc",
        "safe \u202egpj.exe\u2066": "safe gpj.exe",
        "\ud800lone": "lone",
        "col\tumn": "col\tumn",
        "größer 猫 🐈": "größer 猫 🐈",
    }.items(),
)
def test_what_a_terminal_would_obey_is_left_out_and_text_stays(written: str, kept: str) -> None:
    assert clean_tail(written) == kept


def test_a_long_output_is_cut_at_the_beginning_of_a_line_and_says_so() -> None:
    text = "\n".join(f"line {number}" for number in range(10_000))
    tail = clean_tail(text)
    assert len(tail.encode()) <= TAIL_BYTES
    first, second, *_ = tail.splitlines()
    assert (first, second.startswith("line ")) == ("…", True)
    assert tail.endswith("line 9999")


def test_one_endless_line_is_cut_all_the_same() -> None:
    tail = clean_tail("ü" * 10_000)
    assert len(tail.encode()) <= TAIL_BYTES
    assert tail.strip("…\n") == "ü" * len(tail.strip("…\n"))


@given(st.text(), st.integers(16, 200))
def test_whatever_was_written_it_is_bounded_and_has_no_controls(text: str, most_bytes: int) -> None:
    tail = clean_tail(text, most_bytes)
    assert len(tail.encode()) <= most_bytes
    assert not [each for each in tail if each not in "\n\t" and unicodedata.category(each) in ("Cc", "Cf")]


def test_the_ledger_keeps_it_cleaned_and_the_last_time_counts(ledger: Ledger) -> None:
    assert ledger.output_of("hh-1") is None
    ledger.save_output("hh-1", "first")
    ledger.save_output("hh-1", "a\x00b" + "x" * 100_000)
    kept = ledger.output_of("hh-1")
    assert kept
    assert len(kept.encode()) <= TAIL_BYTES
    ledger.save_output("hh-1", "")
    assert ledger.output_of("hh-1") == ""
