"""Promises about the pages of jobs: those that have ended, each one's whole story, and the jobs of a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger, UsageRow
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.request import JobRequest
from hybrid_hpc_airflow.web import jobs_reading
from hybrid_hpc_airflow.web.job_view import JobPage, used_of
from hybrid_hpc_airflow.web.jobs_view import SearchView
from hybrid_hpc_airflow.web.rendering import job_html, jobs_html, run_html
from hybrid_hpc_airflow.web.views import Whose
from tests.unit.ledger_databases import NOW
from tests.unit.test_web import HOSTILE, LATER, everything, only, text_of
from tests.unit.web_world import Clock, add_job, change, rename

EVIL = f'"><img src=x onerror=alert(1)>{HOSTILE}\u202e' + "x" * 10_000
ALL, MINE = Whose(person="alice", mine=False), Whose(person="alice", mine=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock)
    made.migrate()
    yield made
    made.close()


def ended(ledger: Ledger, number: int, state: JobState = JobState.COMPLETED, **columns: Any) -> JobRow:
    row = add_job(ledger, number, **columns)
    began, end = NOW.timestamp() - 600, NOW.timestamp() - 60
    ledger.settle(
        row.token, Outcome(state, f"ended: {state.value}", "accounting", started_at=began, ended_at=end)
    )
    return row


def ended_html(ledger: Ledger, before: str = "", **search: Any) -> str:
    asked = SearchView(**{"whose": ALL, **search})
    return jobs_html(jobs_reading.read_ended(ledger, asked, before, everything, LATER))


def page_of(ledger: Ledger, token: str) -> JobPage:
    page = jobs_reading.read_job(ledger, token, everything, LATER)
    assert page
    return page


def test_ended_jobs_are_told_with_their_end_and_how_long_they_ran(ledger: Ledger) -> None:
    row = ended(ledger, 1, JobState.FAILED, name="wing", project="proj-alpha")
    add_job(ledger, 2, name="open")
    html = ended_html(ledger)
    assert "failed 4 s ago wing" in text_of(html)
    assert "ended: failed proj-alpha alice onprem batch 9 min" in text_of(html)
    assert f'href="jobs/{row.token}"' in html
    assert 'href="../dags/hpc_job/runs/manual__1"' in html
    assert "open" not in text_of(html).split()


def test_older_jobs_are_a_link_away_that_keeps_the_search(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_reading, "A_PAGE", 2)
    rows = [ended(ledger, number, name=f"a+b-{number}") for number in range(3)]
    html = ended_html(ledger, q="a+b", whose=MINE)
    assert f'href="?q=a%2Bb&amp;whose=mine&amp;before={rows[1].token}"' in html
    last = ended_html(ledger, before=rows[1].token, q="a+b")
    assert ("a+b-0" in last, 'rel="next"' in last, ">newest</a>" in last) == (True, False, True)


def test_what_is_searched_for_stands_in_the_form_and_nothing_found_is_told(ledger: Ledger) -> None:
    html = ended_html(ledger, q=EVIL[:150], project="p", state=JobState.TIMEOUT)
    assert '<option value="timeout" selected>' in html
    assert "No job that has ended is like that." in html
    assert "<img" not in html
    assert "None of yours has ended yet." in ended_html(ledger, whose=MINE)
    assert "No job has ended yet." in ended_html(ledger)


def test_only_ones_own_ended_jobs_are_shown_when_they_are_asked_for(ledger: Ledger) -> None:
    ended(ledger, 1, name="hers")
    ended(ledger, 2, name="his", by="bob")
    assert ("hers" in ended_html(ledger, whose=MINE), "his<" in ended_html(ledger, whose=MINE)) == (
        True,
        False,
    )


def test_ended_jobs_of_dags_that_the_reader_may_not_see_are_left_out(ledger: Ledger) -> None:
    ended(ledger, 1, name="mine")
    ended(ledger, 2, name="theirs", dag_id="secret_dag")
    page = jobs_reading.read_ended(ledger, SearchView(whose=ALL), "", only("hpc_job"), LATER)
    assert [each.job.name for each in page.jobs] == ["mine"]


def test_the_boot_of_the_nodes_is_a_bar_within_the_queue(ledger: Ledger, clock: Clock) -> None:
    row = add_job(ledger, 1, JobState.RUNNING, cluster="azure")
    ledger.begin_lives("azure", [NewLife("1", "htc-0", "htc", "F16"), NewLife("2", "htc-1", "htc", "F16")])
    clock.now = NOW + 3 * MINUTE
    ledger.renew_lives("azure", ["1", "2"], up=["1", "2"])
    at = {"intent_at": -1, "released_at": 0, "started_at": 4, "ended_at": 9}
    change(ledger, row.token, node_names=("htc-0", "htc-1"), **{k: NOW + m * MINUTE for k, m in at.items()})
    steps = {step.word: step for step in page_of(ledger, row.token).steps}
    assert [*steps] == ["asked", "queued", "booted", "ran"]
    assert (steps["booted"].seconds, steps["booted"].left, steps["booted"].width) == (180, 10.0, 30.0)
    assert (steps["booted"].note, steps["booted"].open) == ("2 nodes (F16)", False)
    assert steps["queued"].seconds == 240


def test_the_boot_ends_when_the_job_starts_though_its_nodes_are_seen_up_later(
    ledger: Ledger, clock: Clock
) -> None:
    row = add_job(ledger, 1, JobState.RUNNING, cluster="azure", node_names=("htc-0",))
    ledger.begin_lives("azure", [NewLife("1", "htc-0", "htc", "F16")])
    clock.now = NOW + 3 * MINUTE
    ledger.renew_lives("azure", ["1"], up=["1"])
    change(ledger, row.token, released_at=NOW, started_at=NOW + MINUTE, ended_at=NOW + 5 * MINUTE)
    steps = {step.word: step for step in page_of(ledger, row.token).steps}
    assert (steps["booted"].ended_at, steps["booted"].open) == (steps["ran"].begun_at, False)


def test_nodes_that_were_up_before_the_job_was_asked_for_did_not_boot_for_it(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.begin_lives("azure", [NewLife("1", "htc-0", "htc", "F16")])
    ledger.renew_lives("azure", ["1"], up=["1"])
    clock.now = NOW + MINUTE
    row = add_job(ledger, 1, JobState.RUNNING, cluster="azure", node_names=("htc-0",))
    change(ledger, row.token, started_at=NOW + 2 * MINUTE)
    assert [step.word for step in page_of(ledger, row.token).steps] == ["asked", "ran"]


def test_nodes_that_still_boot_for_a_waiting_job_are_an_open_bar(ledger: Ledger) -> None:
    row = add_job(ledger, 1, JobState.PENDING, cluster="azure")
    ledger.ask_for_nodes(
        request_id="r", cluster="azure", nodearray="htc", names=["htc-0"], for_jobs=[str(row.native_id)]
    )
    ledger.begin_lives("azure", [NewLife("1", "htc-0", "htc", "F16", "r")])
    step = page_of(ledger, row.token).steps[-1]
    assert (step.word, step.open, step.note) == ("booted", True, "1 node (F16)")


def test_the_end_of_the_output_is_shown_escaped_or_that_there_is_none(ledger: Ledger) -> None:
    row = ended(ledger, 1)
    assert "Its output was not brought here." in job_html(page_of(ledger, row.token))
    ledger.save_output(row.token, f"iteration 7\n{HOSTILE}\n")
    html = job_html(page_of(ledger, row.token))
    assert "iteration 7\n&lt;script&gt;" in html
    ledger.save_output(row.token, "")
    assert "It wrote no output." in job_html(page_of(ledger, row.token))
    waits = add_job(ledger, 2)
    assert "It comes here when the job has ended." in job_html(page_of(ledger, waits.token))


def attempt(ledger: Ledger, text: str, cluster: str = "azure") -> JobRow:
    return ledger.intend(
        Job(JobKey("hpc_job", "r"), JobRequest(name="wing", script="x"), cluster, "htc", "alice", text)
    )


def test_every_attempt_is_listed_with_why_it_was_made_and_a_link_to_it(ledger: Ledger) -> None:
    first = attempt(ledger, "azure.0.0")
    again = attempt(ledger, "azure.0.0~1")
    change(ledger, again.token, leave_why="Azure has no capacity")
    moved = attempt(ledger, "onprem.0.0m1.0", "onprem")
    cleared = attempt(ledger, "onprem.0.0m1.1", "onprem")
    page = page_of(ledger, moved.token)
    assert [each.why for each in page.attempts] == [
        "the first",
        "sent anew, because its nodes were lost",
        "moved here: Azure has no capacity",
        "a person cleared it in Airflow",
    ]
    assert [each.here for each in page.attempts] == [False, False, True, False]
    html = job_html(page)
    links = {row.token: f'href="{row.token}"' in html for row in (first, again, moved, cleared)}
    assert links == {first.token: True, again.token: True, moved.token: False, cleared.token: True}


def test_a_job_with_one_attempt_has_no_list_of_them(ledger: Ledger) -> None:
    assert "Every attempt" not in job_html(page_of(ledger, attempt(ledger, "azure.0.0").token))


def usage(ledger: Ledger, token: str, *, memory: int | None, walltime: int | None) -> UsageRow:
    began, now = NOW - 10 * MINUTE, NOW
    who = ("azure", "1", "", began, token, "n", "u", "alice", "p", "htc", JobState.COMPLETED, 0, 2, 32, 0)
    return UsageRow(*who, None, began, now, 600.0, walltime, memory, 9_600.0, 3_000.0, ("htc-0",), 0.5)


def test_efficiency_is_what_was_used_of_what_was_asked_for(ledger: Ledger) -> None:
    used = used_of([usage(ledger, "hh-1", memory=8_000, walltime=1_200)])
    assert (used.cpu_efficiency, used.memory_share, used.walltime_share) == (0.5, 0.75, 0.5)
    nothing = used_of([usage(ledger, "hh-1", memory=None, walltime=None)])
    assert (nothing.memory_share, nothing.walltime_share) == (None, None)


def test_what_a_job_used_has_bars_with_the_numbers_beside_them(ledger: Ledger) -> None:
    row = ended(ledger, 1, cluster="azure")
    ledger.save_usage([usage(ledger, row.token, memory=8_000, walltime=1_200)])
    html = job_html(page_of(ledger, row.token))
    text = text_of(html)
    assert "0.50 USD at the prices of clusters.yaml 5.33 core-hours" in text
    assert "Cores computed 50% of the time" in text
    assert "used 3,000 MiB at most of 4,000 MiB on its node" in text
    assert "ran for 10 min of 20 min" in text
    assert html.count('<rect class="busy"') == 3


def test_a_run_leads_to_its_job_or_to_the_one_of_a_group(ledger: Ledger) -> None:
    attempt(ledger, "azure.0.0")
    newest = attempt(ledger, "onprem.0.0m1.0", "onprem")
    page = jobs_reading.read_run(ledger, "hpc_job", "r", everything, LATER)
    assert page
    found = page.only(None, -1)
    assert found
    assert found.token == newest.token
    other = Job(JobKey("hpc_job", "r", "mesh", 3), JobRequest(name="mesh", script="x"), "azure", "htc")
    mesh = ledger.intend(other)
    several = jobs_reading.read_run(ledger, "hpc_job", "r", everything, LATER)
    assert several
    assert several.only(None, -1) is None
    chosen = several.only("mesh", 3)
    assert chosen
    assert chosen.token == mesh.token
    assert "mesh [3]" in text_of(run_html(several))


def test_a_run_without_a_job_says_so_and_one_that_may_not_be_seen_says_nothing(ledger: Ledger) -> None:
    page = jobs_reading.read_run(ledger, "hpc_job", "none", everything, LATER)
    assert page
    assert "This run has no HPC job, or has not submitted it yet" in run_html(page)
    assert jobs_reading.read_run(ledger, "secret_dag", "r", only("hpc_job"), LATER) is None


def test_no_name_however_hostile_becomes_markup_on_any_page_of_jobs(ledger: Ledger) -> None:
    row = add_job(ledger, 1, run_id=EVIL, by=EVIL, sentence=EVIL)
    rename(ledger, row.token, EVIL)
    change(
        ledger, row.token, partition=EVIL, group_id=EVIL, cancel_requested_at=NOW, cancel_requested_by=EVIL
    )
    ledger.settle(row.token, Outcome(JobState.FAILED, EVIL, "accounting"))
    run = jobs_reading.read_run(ledger, "hpc_job", EVIL, everything, LATER)
    assert run
    for html in (ended_html(ledger), job_html(page_of(ledger, row.token)), run_html(run)):
        assert "<img" not in html
        assert html.count("<script") == 1
        assert "&lt;img src=x onerror=alert(1)&gt;" in html
