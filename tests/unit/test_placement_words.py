"""Durations and money read as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.placement.words import counted, duration, one_line, starts, usd


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (3.4, "3 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (240, "4 min"),
        (3599, "1 h"),
        (7800, "2 h 10 min"),
        (7200, "2 h"),
        (86_399, "1 d"),
        (86_400, "1 d"),
        (3 * 86_400 + 4 * 3600, "3 d 4 h"),
        (40 * 86_400, "40 d"),
    ],
)
def test_a_duration_shows_what_matters_at_its_length(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 1e8))
def test_a_duration_never_shows_sixty_of_a_unit(seconds: float) -> None:
    assert not {"60 s", "60 min", "24 h"} & {duration(seconds)}
    assert " 60 min" not in duration(seconds)
    assert " 24 h" not in duration(seconds)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (12.4, "12.40 USD"),
        (0, "0.00 USD"),
        (0.001, "under 0.01 USD"),
        (0.005, "0.01 USD"),
        (12_345.678, "12,345.68 USD"),
    ],
)
def test_money_has_two_decimals_and_is_never_shown_as_nothing(amount: float, text: str) -> None:
    assert usd(amount) == text


def test_a_start_within_a_second_is_at_once() -> None:
    assert starts(0.4) == "starts at once"
    assert starts(61) == "starts in about 1 min"


def test_one_is_singular() -> None:
    assert [counted(number, "node") for number in (0, 1, 2)] == ["0 nodes", "1 node", "2 nodes"]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\nb\t c", "a b c"), ("\x1b[31mred", "[31mred"), ("", ""), ("x" * 400, "x" * 297 + "...")],
)
def test_other_peoples_words_become_one_printable_line(text: str, line: str) -> None:
    assert one_line(text) == line
