"""Promises about the demo's verdict: what must be right for a job to have ended as it should."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import DecisionRow, JobRow
from hybrid_hpc.request import read_request
from lab.demo_check import points, problems
from lab.demo_jobs import Collected, DemoJob
from lab.demo_samples import Chart, Expectation, Sample
from lab.demo_view import View, bars, table

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CONF = {"name": "n", "script": "#!/bin/sh\necho 1\n"}
CHART = Chart(files="*.json", x="t", y="m", title="Bars", between={1.0: (0.9, 1.0)})


def expectation(**changes: object) -> Expectation:
    values = {"cluster": "azure", "state": JobState.COMPLETED, "exit_code": 0, "output": "fine", **changes}
    return Expectation.model_validate(values)


def job_row(**changes: object) -> JobRow:
    names = JobRow.__dataclass_fields__
    values: dict[str, object] = dict.fromkeys(names)
    values |= {"token": "hh-0", "dag_id": "hpc_job", "run_id": "r", "group_id": "", "map_index": -1}
    values |= {"cluster": "azure", "native_id": "17", "state": JobState.COMPLETED, "sentence": "it is done"}
    values |= {"outcome": JobState.COMPLETED, "exit_code": 0, "settled_at": NOW, "released_at": NOW}
    values |= {"started_at": NOW + timedelta(seconds=4), "ended_at": NOW + timedelta(seconds=9)}
    return JobRow(**(values | changes))  # type: ignore[arg-type]  # what the tests do not read is None


def decision_row(sentence: str = "azure is sooner") -> DecisionRow:
    key = JobKey("hpc_job", "r")
    return DecisionRow(key, read_request(CONF), {}, "azure", "hpc", sentence, "scientist", NOW)


def demo_job(sample: dict[str, object] | None = None, **changes: object) -> DemoJob:
    values = {"name": "1-x", "title": "A job", "shows": "this", "conf": CONF, "expect": expectation()}
    job = DemoJob(Sample.model_validate(values | (sample or {})), "r", "success", decision_row(), job_row())
    return replace(job, **changes)  # type: ignore[arg-type]  # as the tests name them


GOOD = Collected("all is fine", "", ())


def test_a_job_that_ended_as_it_should_has_no_problems() -> None:
    assert problems(demo_job(), GOOD) == []


@pytest.mark.parametrize(
    ("job", "left", "says"),
    [
        (demo_job(run_state="running"), GOOD, "has not ended in time"),
        (demo_job(run_state="failed"), GOOD, "its run is failed, not success"),
        (demo_job(row=job_row(cluster="onprem")), GOOD, "its cluster is onprem, not azure"),
        (demo_job(row=job_row(outcome=JobState.TIMEOUT)), GOOD, "its state is timeout, not completed"),
        (demo_job(row=job_row(exit_code=9)), GOOD, "its exit code is 9, not 0"),
        (demo_job(row=None), GOOD, "its cluster is None, not azure"),
        (demo_job(), Collected("nothing", "", ()), "its output lacks 'fine'"),
        (demo_job({"expect": expectation(decision=r"\d+ min later")}), GOOD, "does not say"),
        (demo_job({"expect": expectation(failure="exit code 3")}), GOOD, "its failure does not say"),
        (demo_job({"chart": CHART}), GOOD, "at 1.0 the result is missing"),
    ],
)
def test_whatever_is_not_as_expected_is_said(job: DemoJob, left: Collected, says: str) -> None:
    assert any(says in problem and problem.startswith("A job: ") for problem in problems(job, left))


def test_a_job_that_must_fail_is_right_only_with_its_exit_code_and_its_output_in_the_failure() -> None:
    expect = expectation(state=JobState.FAILED, exit_code=3, failure="exit code 3")
    row = job_row(outcome=JobState.FAILED, exit_code=3)
    job = demo_job({"expect": expect}, run_state="failed", row=row)
    assert problems(job, Collected("fine", "job 17: exit code 3\n  fine", ())) == []
    assert problems(job, Collected("fine", "job 17: exit code 3", ()))


def test_files_that_are_no_results_do_not_spoil_the_chart(tmp_path: Path) -> None:
    texts = {
        "a.json": '{"t": 2, "m": 0.1}',
        "b.json": '{"t": 1, "m": 1}',
        "c.json": "{",
        "d.json": '{"t": 3}',
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert points(CHART, tuple(tmp_path.iterdir())) == {1.0: 1.0, 2.0: 0.1}


@pytest.mark.parametrize(
    ("row", "seconds"),
    [
        (None, None),
        (job_row(released_at=None), None),
        (job_row(), 4.0),
        (job_row(started_at=None, ended_at=None), 60.0),
        (job_row(started_at=NOW - timedelta(seconds=1)), 0.0),
    ],
)
def test_queue_seconds_run_from_the_release_to_the_start(row: JobRow | None, seconds: float | None) -> None:
    assert demo_job(row=row).queued_s(NOW + timedelta(seconds=60)) == seconds


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (None, ()),
        (job_row(released_at=None, outcome=None, state=JobState.HELD), ()),
        (job_row(outcome=None, state=JobState.PENDING), ("submitted",)),
        (job_row(outcome=None, state=JobState.RUNNING), ("submitted", "running")),
    ],
)
def test_a_job_has_reached_a_stage_only_when_the_ledger_says_so(
    row: JobRow | None, reached: tuple[str, ...]
) -> None:
    job = demo_job(row=row, run_state="running")
    assert tuple(stage for stage in ("submitted", "running", "ended") if job.reached(stage)) == reached


def test_a_run_that_ended_early_holds_nobody_up() -> None:
    assert demo_job(row=None, run_state="failed").reached("running")


def shown(*what: object) -> str:
    console = Console(width=160, record=True, file=io.StringIO(), force_terminal=False)
    console.print(*what)
    return console.export_text()


def test_the_table_has_cluster_job_id_state_queue_seconds_and_reason() -> None:
    text = shown(table([demo_job()], NOW))
    for word in ("A job", "azure", "17", "completed", "4 s", "azure is sooner", "it is done"):
        assert word in text


def test_brackets_in_what_a_cluster_says_are_shown_as_they_are() -> None:
    assert "[red]boom[/red]" in shown(table([demo_job(decision=decision_row("[red]boom[/red]"))], NOW))


def test_bars_are_as_long_as_their_values() -> None:
    lines = shown(bars(CHART, {1.0: 1.0, 2.0: 0.5})).splitlines()
    assert (lines[1].count("█"), lines[2].count("█")) == (40, 20)


def test_without_a_terminal_a_line_is_printed_once_for_each_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with View(Console(force_terminal=False, width=200)) as view:
        view.step("waking up")
        for _ in range(3):
            view.jobs([demo_job(run_state="")])
        view.jobs([demo_job()])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("s  ", 1)[1] for line in lines] == [
        "waking up",
        "A job | azure | not yet | job 17 | it is done",
        "A job | azure | completed | job 17 | it is done",
    ]
