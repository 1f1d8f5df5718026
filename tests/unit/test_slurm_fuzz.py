"""Answers damaged byte by byte and line by line: readers raise what they may, and invent nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import HybridHpcError, Refused, SubmissionRefused, Unavailable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger.rows import moment
from hybrid_hpc.outcome import ExitRecord, outcome_of, read_exit_records
from hybrid_hpc.schedulers.base import JobRecord, Load
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_queue import SEPARATOR
from tests.captured.reading import captured, names
from tests.unit.test_slurm_mutations import FINDS, HISTORIES, LOADS, VERSION, dice, ends, ends_of_parts
from tests.unit.test_slurm_mutations import MUTATIONS as TEXT_DAMAGE

SLURM = Slurm()
TOKEN = "hh-array"
Read = Callable[[Answer], object]
Accident = Callable[[st.DrawFn, bytes], bytes]

# By the first word of a captured answer's name: its reader, and what the reader may raise.
READERS: dict[str, tuple[Read, tuple[type[HybridHpcError], ...]]] = {
    "load": (SLURM.read_load, (Unavailable,)),
    "find": (lambda answer: SLURM.read_find(answer, TOKEN), (Unavailable,)),
    "history": (SLURM.read_history, (Unavailable,)),
    "submit": (SLURM.read_submit, (SubmissionRefused, Unavailable)),
    "version": (SLURM.read_version, (Unavailable,)),
    "release": (SLURM.read_release, (Refused, Unavailable)),
    "cancel": (SLURM.read_cancel, (Refused, Unavailable)),
    "estimate": (SLURM.read_start_estimate, (Unavailable,)),
    "accounting": (SLURM.read_accounting, (Unavailable,)),
    "nodes": (SLURM.read_nodes_update, (Refused, Unavailable)),
}
SHORT = [name for name in names(VERSION) if len(captured(VERSION, name).stdout) < 5000]
HUGE = (b"9" * 400, b"99999999999999999999", b"9" * 5000, b"1e999", b"0-99999999999999999999", b"-1")
JUNK = (*b"\xff \xc3( \xed\xa0\x80 \x00 \x1f \r \x85 \xe2\x80\xa8 | =".split(b" "), b"\n")


@st.composite
def damaged(draw: st.DrawFn, raw: bytes, accidents: Sequence[Accident] = ()) -> bytes:
    """Those bytes after one to three accidents."""
    for _ in range(draw(st.integers(1, 3))):
        raw = draw(st.sampled_from(accidents or ACCIDENTS))(draw, raw)
    return raw


def cut(draw: st.DrawFn, raw: bytes) -> bytes:
    return raw[: draw(st.integers(0, len(raw)))]


def insert_junk(draw: st.DrawFn, raw: bytes) -> bytes:
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.sampled_from(JUNK)) + raw[at:]


def as_text(draw: st.DrawFn, raw: bytes) -> bytes:
    """Lines dropped, doubled, shuffled, banners, unknown states, CRLF: as in test_slurm_mutations."""
    mutate = draw(st.sampled_from(TEXT_DAMAGE))
    text = raw.decode(errors="replace")
    return mutate(dice(draw(st.integers(0, 999))), text).encode() if text else raw


def swap_columns(draw: st.DrawFn, raw: bytes) -> bytes:
    lines = raw.split(b"\n")
    at = draw(st.integers(0, len(lines) - 1))
    separator = draw(st.sampled_from((SEPARATOR.encode(), b" ", _nonce(raw))))
    columns = lines[at].split(separator)
    one, other = (draw(st.integers(0, len(columns) - 1)) for _ in range(2))
    columns[one], columns[other] = columns[other], columns[one]
    lines[at] = separator.join(columns)
    return b"\n".join(lines)


def put_huge_number(draw: st.DrawFn, raw: bytes) -> bytes:
    """In place of one column or word."""
    separator = draw(st.sampled_from((SEPARATOR.encode(), b" ", b"=", _nonce(raw))))
    parts = raw.split(separator)
    parts[draw(st.integers(0, len(parts) - 1))] = draw(st.sampled_from(HUGE))
    return separator.join(parts)


def _nonce(raw: bytes) -> bytes:
    return raw.partition(b"\n")[0].rpartition(b" ")[2] or b"\n"


ACCIDENTS: tuple[Accident, ...] = (cut, insert_junk, as_text, swap_columns, put_huge_number)


def answer_of(name: str, stdout: bytes) -> Answer:
    real = captured(VERSION, name)
    return Answer(real.exit_status, stdout.decode(errors="replace"), real.stderr)  # as headnode decodes


def kept_by_ledger(found: object) -> None:
    """Every moment that was read must fit into the ledger."""
    if isinstance(found, Load):
        times = [job.starts_at for job in found.jobs]
        times += [node.last_busy for node in found.nodes]
    else:
        lives = [life for life in found if isinstance(life, JobRecord)] if isinstance(found, list) else []
        times = [time for life in lives for time in (life.submitted_at, life.started_at, life.ended_at)]
        assert all(math.isfinite(life.elapsed_s) and math.isfinite(life.cpu_s) for life in lives)
    for time in times:
        assert time is None or moment(time)


@pytest.mark.parametrize("name", names(VERSION))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_reader_of_a_damaged_answer_raises_only_what_it_says_and_reads_what_can_be_kept(
    name: str, data: st.DataObject
) -> None:
    read, may_raise = READERS[name.partition("-")[0]]
    raw = data.draw(damaged(captured(VERSION, name).stdout.encode()))
    with suppress(*may_raise):
        kept_by_ledger(read(answer_of(name, raw)))


@pytest.mark.parametrize("huge", HUGE)
@pytest.mark.parametrize("name", ["load-busy", "find-array", "history-array", "load-cloud-running"])
def test_a_huge_number_in_any_column_costs_at_most_its_line(name: str, huge: bytes) -> None:
    read, may_raise = READERS[name.partition("-")[0]]
    raw = captured(VERSION, name).stdout.encode()
    for separator in (SEPARATOR.encode(), b"=", _nonce(raw)):
        parts = raw.split(separator)
        for number in range(min(len(parts), 120)):
            damaged_parts = [*parts[:number], huge, *parts[number + 1 :]]
            with suppress(*may_raise):
                kept_by_ledger(read(answer_of(name, separator.join(damaged_parts))))


@pytest.mark.parametrize("name", names(VERSION))
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_reader_bears_any_words_on_stderr_and_any_exit_status(name: str, data: st.DataObject) -> None:
    read, may_raise = READERS[name.partition("-")[0]]
    real = captured(VERSION, name)
    stderr = data.draw(damaged(real.stderr.encode() or b"sbatch: error: x")).decode(errors="replace")
    status = data.draw(st.sampled_from((0, 1, 127, 255)))
    with suppress(*may_raise):
        read(Answer(status, real.stdout, stderr))


@pytest.mark.parametrize("name", [*LOADS, *FINDS, *HISTORIES])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_lines_lost_doubled_or_cut_never_end_a_job(name: str, data: st.DataObject) -> None:
    """Without digits put in: an id or a number that was changed on the way cannot be told from a true one."""
    raw = captured(VERSION, name).stdout.encode()
    raw = data.draw(damaged(raw, (cut, insert_junk, as_text)))
    real = captured(VERSION, name)
    invented = ends(name, answer_of(name, raw)) - ends(name, real) - ends_of_parts(name, real)
    assert not invented


@pytest.mark.parametrize("name", SHORT)
def test_an_answer_cut_at_any_byte_ends_no_job_that_has_not_ended(name: str) -> None:
    raw = captured(VERSION, name).stdout.encode()
    read, may_raise = READERS[name.partition("-")[0]]
    whole = [*LOADS, *FINDS, *HISTORIES]
    true_ends = ends(name, captured(VERSION, name)) if name in whole else set()
    for length in range(len(raw)):
        answer = answer_of(name, raw[:length])
        with suppress(*may_raise):
            read(answer)
        if name in whole:
            assert ends(name, answer) <= true_ends, length


@pytest.mark.parametrize("said", ["112\n", "112;onprem\n", "welcome\n112\n"])
def test_a_reply_of_sbatch_cut_at_any_byte_gives_no_wrong_id(said: str) -> None:
    for length in range(len(said)):
        with pytest.raises(Unavailable):
            SLURM.read_submit(Answer(0, said[:length], ""))
    assert SLURM.read_submit(Answer(0, said, "")) == "112"


@given(name=st.text(st.sampled_from("a1 \x1f\n\r\t|\u2028\u00e4"), min_size=1, max_size=40))
def test_whatever_a_stranger_calls_a_job_the_other_jobs_are_read(name: str) -> None:
    """squeue cuts a name at 16 letters and prints the rest as it is, separators and line breaks too."""
    real = captured(VERSION, "load-busy")
    first, *_ = [line for line in real.stdout.split("\n") if SEPARATOR in line]
    *values, _, _ = first.split(SEPARATOR)
    forged = SEPARATOR.join(["999999", *values[1:], f"{name[:16]:16}", ""])
    jobs = SLURM.read_load(real).jobs
    damaged_jobs = SLURM.read_load(Answer(0, real.stdout.replace(first, f"{forged}\n{first}"), "")).jobs
    assert [job for job in damaged_jobs if job.native_id != "999999"] == list(jobs)


RECORD = {"native_id": "17", "task": "", "exit_code": 3, "ended_at": 1_795_416_821, "host": "node02"}
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(RECORD)), inner),
    max_leaves=8,
)


def read_one(text: str) -> list[ExitRecord]:
    """Records that were read have an end that the ledger can keep."""
    records = read_exit_records([text])
    for record in records:
        assert 0 <= record.exit_code <= 255
        assert record.ended_at is None or datetime.fromtimestamp(record.ended_at, UTC)
    return records


@given(raw=damaged(json.dumps(RECORD).encode() + b"\n"))
def test_a_damaged_exit_record_is_left_out_or_says_what_was_written(raw: bytes) -> None:
    records = read_one(raw.decode(errors="replace"))
    assert all(record.exit_code == 3 for record in records)


@given(field=st.sampled_from(list(RECORD)), value=ANY_JSON)
@example(field="ended_at", value=10**400)
@example(field="ended_at", value=float("inf"))
@example(field="ended_at", value=1e300)
@example(field="ended_at", value="0001-01-01T00:00:00+14:00")
def test_an_exit_record_with_any_value_in_any_field_breaks_nothing(field: str, value: object) -> None:
    records = read_one(json.dumps({**RECORD, field: value}))
    assert outcome_of([], records).state in (JobState.FAILED, JobState.COMPLETED, JobState.UNKNOWN)


@given(text=st.text(max_size=60) | ANY_JSON.map(json.dumps))
@example(text="[" * 100_000)
@example(text='{"native_id": "1", "exit_code": ' + "9" * 5000 + "}")
def test_no_text_in_place_of_an_exit_record_breaks_its_reader(text: str) -> None:
    read_one(text)  # which asserts
