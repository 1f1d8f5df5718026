"""Memory, walltime and arrays are read as Slurm reads them, and everything else is refused in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_hpc.problems import WrongValueError
from hybrid_hpc.units import (
    MAX_ARRAY_TASKS,
    MAX_MEMORY_MIB,
    MAX_WALLTIME_S,
    format_memory,
    format_walltime,
    parse_array,
    parse_memory,
    parse_walltime,
)


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("4G", 4096),
        ("500M", 500),
        ("1T", 1024**2),
        ("2048", 2048),
        ("64000M", 64000),
        ("4GB", 4096),
        ("4gb", 4096),
        ("4 GB", 4096),
        ("1.5G", 1536),
        ("1K", 1),
        ("1025K", 2),
        ("0.1M", 1),
    ],
)
def test_memory_is_read_in_mib_rounded_up(text: str, mib: int) -> None:
    assert parse_memory(text) == mib


@pytest.mark.parametrize(
    "text", ["", "G", "4X", "4GiB", "-4G", "4G\n", "4B", "four", "4 G B", "1e3", "٤G", "9" * 30, "4G;id"]
)
def test_what_is_no_amount_of_memory_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(WrongValueError, match="such as 500M or 4G"):
        parse_memory(text)


def test_memory_of_zero_is_refused_because_it_means_a_whole_node_of_unknown_size() -> None:
    with pytest.raises(WrongValueError, match="all the memory of a node"):
        parse_memory("0")


@settings(deadline=None)
@given(st.integers(1, MAX_MEMORY_MIB))
def test_memory_that_is_written_is_read_back(mib: int) -> None:
    assert parse_memory(format_memory(mib)) == mib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("5:30", 330),
        ("90:00", 5400),
        ("01:30:00", 5400),
        ("72:00:00", 259_200),
        ("2-00", 172_800),
        ("1-12", 129_600),
        ("1-12:30", 131_400),
        ("1-12:00:00", 129_600),
        ("0-00:00:01", 1),
    ],
)
def test_walltime_is_read_in_all_six_forms_of_slurm(text: str, seconds: int) -> None:
    assert parse_walltime(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "00:00:00",
        "1d",
        "2h",
        "UNLIMITED",
        "-1",
        "1-",
        "1-2-3",
        "1:2:3:4",
        "1:00\n",
        "366-00",
        "9" * 40,
    ],
)
def test_what_is_no_walltime_is_refused_with_what_would_be_right(text: str) -> None:
    with pytest.raises(WrongValueError, match="1-12:00:00"):
        parse_walltime(text)


@settings(deadline=None)
@given(st.integers(1, MAX_WALLTIME_S))
def test_a_walltime_that_is_written_is_read_back(seconds: int) -> None:
    assert parse_walltime(format_walltime(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "tasks", "limit"),
    [
        ("0-9", 10, None),
        ("0-9%4", 10, 4),
        ("7", 1, None),
        ("1,3,5-7", 5, None),
        ("0-100:5%10", 21, 10),
        ("1,1,1-2", 2, None),
        ("0-9999", 10_000, None),
    ],
)
def test_an_array_has_the_tasks_that_slurm_makes_of_it(text: str, tasks: int, limit: int | None) -> None:
    array = parse_array(text)
    assert (len(array.indices), array.limit) == (tasks, limit)


@settings(deadline=None)
@given(st.sets(st.integers(0, 5000), min_size=1, max_size=50))
def test_indices_that_are_listed_are_the_indices_of_the_array(indices: set[int]) -> None:
    assert parse_array(",".join(map(str, indices))).indices == tuple(sorted(indices))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not an array"),
        ("0-", "not an array"),
        ("a-b", "not an array"),
        ("0-9\n", "not an array"),
        ("0-9%4;id", "not an array"),
        ("[0-9]", "not an array"),
        ("9-0", "rising"),
        ("0-9:0", "step"),
        ("0-9%0", "no task run"),
        (f"0-{MAX_ARRAY_TASKS}", "10001 tasks"),
        ("0-4000000", "more than 10000"),
        ("0-9999999", "rising range up to"),
        ("0-9998,20000-29999", "more than 10000"),
    ],
)
def test_an_array_that_cannot_be_is_refused_in_words(text: str, says: str) -> None:
    with pytest.raises(WrongValueError, match=says):
        parse_array(text)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    for parse in (parse_memory, parse_walltime, parse_array):
        try:
            parse(text)
        except WrongValueError as wrong:
            assert "\n" not in str(wrong)
