"""Reading the accounting of everybody's jobs: line by line, and nothing that is not there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.commands import Answer
from hybrid_hpc.errors import Refused, Unavailable, Unreadable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import JobRecord
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_history import FORMAT, FoldedRecords
from tests.captured.reading import captured, names

VERSION = "slurm-22.05.8"
SLURM = Slurm()
NONCE = "0123456789ab"
HISTORIES = [name for name in names(VERSION) if name.startswith("history-")]
COLUMNS = FORMAT.split(",")
ORDINARY = {
    "JobID": "17",
    "State": "COMPLETED",
    "ExitCode": "0:0",
    "Submit": "1000",
    "Eligible": "1000",
    "Start": "1060",
    "End": "1120",
    "ElapsedRaw": "60",
    "TimelimitRaw": "10",
    "TotalCPU": "00:00:00",
    "MaxRSS": "",
    "ReqTRES": "billing=4,cpu=4,mem=8G,node=1",
    "AllocTRES": "billing=4,cpu=4,mem=8G,node=1",
    "AllocCPUS": "4",
    "NNodes": "1",
    "NodeList": "node01",
    "User": "alice",
    "Account": "proj-alpha",
    "Partition": "batch",
    "Comment": "",
    "JobName": "wrap",
}
STEP = {"User": "", "Partition": "", "ReqTRES": "", "TimelimitRaw": ""}


def line(**changes: str) -> str:
    return NONCE.join({**ORDINARY, **changes}[name] for name in COLUMNS)


def step(of: str, name: str, cpu: str, peak: str) -> str:
    return line(JobID=f"{of}.{name}", TotalCPU=cpu, MaxRSS=peak, **STEP)


def whole(*lines: str) -> Answer:
    text = "".join(f"{each}\n" for each in lines)
    return Answer(0, f"hh-begin {NONCE}\n{text}hh-{NONCE} records 0\nhh-{NONCE} end 0\n", "")


def read(*lines: str) -> tuple[list[JobRecord], int]:
    records = FoldedRecords(lines, NONCE)
    return list(records), records.unreadable


@pytest.mark.parametrize("name", HISTORIES)
def test_what_the_accounting_really_says_reads_as_it_does_for_one_job(name: str) -> None:
    answer = captured(VERSION, name)
    if name == "history-no-accounting":
        with pytest.raises(Refused, match="keeps no accounting"):
            SLURM.read_usage(answer)
        return
    try:
        expected = SLURM.read_history(answer)
    except Unavailable as error:
        with pytest.raises(type(error)):
            list(SLURM.read_usage(answer))
    else:
        assert list(SLURM.read_usage(answer)) == expected


def test_an_accounting_without_a_job_in_the_window_is_no_trouble() -> None:
    records = SLURM.read_usage(whole())
    assert (list(records), records.unreadable) == ([], 0)


def test_the_window_is_asked_for_in_utc_whatever_the_profile_says() -> None:
    command = SLURM.usage_command(1_795_421_597.0, 1_795_425_197.9)
    assert command.argv[-2:] == ("2026-11-23T08:13:17", "2026-11-23T09:13:17")
    text = " ".join(command.argv)
    assert "TZ=UTC SLURM_TIME_FORMAT=%s" in text
    assert '--allusers --starttime="$1" --endtime="$2"' in text


def test_steps_are_added_up_and_the_highest_peak_counts() -> None:
    steps = (
        step("17", "batch", "00:10", "1G"),
        step("17", "0", "1-00:00:00", "3G"),
        step("17", "1", "00:05", ""),
    )
    [record], unreadable = read(line(), *steps)
    assert (record.cpu_s, record.max_rss_mib, unreadable) == (86_415.0, 3072.0, 0)


def test_a_step_of_a_job_that_could_not_be_read_is_given_to_no_other() -> None:
    records, unreadable = read(line(), line(JobID="18", NNodes="many"), step("18", "0", "00:10", "1G"))
    assert [(each.native_id, each.cpu_s) for each in records] == [("17", 0.0)]
    assert unreadable == 2


def test_the_parts_of_a_heterogeneous_job_are_told_apart() -> None:
    records, _ = read(line(JobID="12+0"), step("12+0", "batch", "00:01", ""), line(JobID="12+1"))
    assert [(each.native_id, each.task, each.cpu_s) for each in records] == [
        ("12", "+0", 1.0),
        ("12", "+1", 0.0),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"AllocCPUS": str(2**31)},
        {"NNodes": "-1"},
        {"ElapsedRaw": "9" * 30},
        {"TimelimitRaw": str(2**31 // 60 + 1)},
        {"ReqTRES": "mem=99999999999999G"},
        {"AllocTRES": "gres/gpu=99999999999"},
        {"ExitCode": "99999999999:0"},
        {"Start": "999999999999"},
        {"JobName": "a\0b"},
        {"JobID": "9" * 30},
    ],
    ids=str,
)
def test_a_value_that_the_ledger_cannot_keep_costs_its_line_only(changes: dict[str, str]) -> None:
    """Else one such line would keep a whole batch of others out, at every try."""
    records, unreadable = read(line(), line(**changes))
    assert (len(records), unreadable) == (1, 1)


@pytest.mark.parametrize(("cpu", "peak"), [("9" * 400 + ":00", ""), ("00:01", "9" * 400)])
def test_a_step_that_used_more_than_can_be_spoils_no_sum(cpu: str, peak: str) -> None:
    [record], unreadable = read(line(), step("17", "0", cpu, peak))
    assert (record.cpu_s, record.max_rss_mib, unreadable) == (0.0, None, 1)


def test_when_not_one_line_can_be_read_the_answer_is_unreadable_not_empty() -> None:
    with pytest.raises(Unreadable, match="not one of 100 lines"):
        list(SLURM.read_usage(whole(*["what is this"] * 100)))


def test_one_odd_line_in_a_quiet_window_is_counted_and_stops_nothing() -> None:
    records = SLURM.read_usage(whole("what is this"))
    assert (list(records), records.unreadable) == ([], 1)


def test_an_answer_of_any_length_is_read_without_a_copy_of_its_lines() -> None:
    answer = whole(*(line(JobID=str(number), JobName=f"job {number}") for number in range(20_000)))
    records = SLURM.read_usage(answer)
    tracemalloc.start()
    try:
        assert sum(1 for _ in records) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(answer.stdout) / 20


texts = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"]), max_size=20).filter(
    lambda text: NONCE not in text
)
moments = st.integers(1, 4_000_000_000)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "id": str(draw(st.integers(1, 2**31))),
        "task": draw(st.one_of(st.just(""), st.integers(0, 4_000_000).map(str))),
        "name": draw(texts),
        "project": draw(st.sampled_from(["", "proj-alpha", "proj-beta"])),
        "cores": draw(st.integers(0, 100_000)),
        "gpus": draw(st.integers(0, 1000)),
        "mib": draw(st.integers(0, 10**8)),
        "submitted_at": draw(moments),
        "started_at": draw(st.one_of(st.none(), moments)),
        "ended_at": draw(st.one_of(st.none(), moments)),
        "elapsed_s": draw(st.integers(0, 10**8)),
        "steps": draw(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**9)), max_size=4)),
    }


def printed(job: dict[str, Any]) -> Iterator[str]:
    """As sacct prints it."""
    job_id = job["id"] + (f"_{job['task']}" if job["task"] else "")
    tres = f"billing=1,cpu={job['cores']},gres/gpu={job['gpus']},mem={job['mib']}M,node=1"
    yield line(
        JobID=job_id,
        JobName=job["name"],
        Account=job["project"],
        AllocCPUS=str(job["cores"]),
        ReqTRES=tres,
        AllocTRES=tres,
        Submit=str(job["submitted_at"]),
        Start="Unknown" if job["started_at"] is None else str(job["started_at"]),
        End="Unknown" if job["ended_at"] is None else str(job["ended_at"]),
        ElapsedRaw=str(job["elapsed_s"]),
    )
    for number, (ms, kib) in enumerate(job["steps"]):
        minutes, rest = divmod(ms, 60_000)
        cpu = f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"
        yield step(job_id, str(number), cpu, f"{kib}K")


@given(st.lists(jobs(), max_size=6))
def test_whatever_the_jobs_were_they_are_read_as_they_were_printed(drawn: list[dict[str, Any]]) -> None:
    records = list(SLURM.read_usage(whole(*(text for job in drawn for text in printed(job)))))
    assert len(records) == len(drawn)
    for record, job in zip(records, drawn, strict=True):
        assert (record.native_id, record.task, record.name) == (job["id"], job["task"], job["name"])
        assert (record.project, record.cores, record.gpus) == (job["project"], job["cores"], job["gpus"])
        assert record.memory_asked_mib == (job["mib"] or None)
        for moment in ("submitted_at", "started_at", "ended_at", "elapsed_s"):
            assert getattr(record, moment) == job[moment]
        assert record.cpu_s == pytest.approx(sum(ms for ms, _ in job["steps"]) / 1000, abs=0.001)
        assert record.max_rss_mib == max((kib / 1024 for _, kib in job["steps"]), default=None)


@given(st.lists(jobs(), min_size=1, max_size=4), st.data())
def test_a_line_break_in_a_name_cuts_the_name_and_costs_no_job(
    drawn: list[dict[str, Any]], data: st.DataObject
) -> None:
    number = data.draw(st.integers(0, len(drawn) - 1))
    broken = {**drawn[number], "name": "half\nof it"}
    lines = [text for job in (*drawn[:number], broken, *drawn[number + 1 :]) for text in printed(job)]
    records = FoldedRecords("\n".join(lines).split("\n"), NONCE)
    expected = [job["name"] for job in drawn]
    expected[number] = "half"
    assert [record.name for record in records] == expected
    assert records.unreadable == 1


def test_a_state_of_a_slurm_to_come_is_unknown() -> None:
    [record], _ = read(line(State="TELEPORTED"))
    assert record.state is JobState.UNKNOWN
