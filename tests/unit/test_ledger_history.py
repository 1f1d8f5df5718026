"""Promises about jobs that have ended: found by what people know of them, none twice, none left out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc.ledger.history import JobSearch
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.ledger.search import MOST_LETTERS
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.usage.windows import Window
from tests.unit.ledger_databases import NOW
from tests.unit.web_world import add_job

pytest_plugins = ["tests.unit.ledger_fixtures"]

ALL = JobSearch()
MINUTE = timedelta(minutes=1)


def ended(ledger: Ledger, number: int, state: JobState = JobState.COMPLETED, **columns: Any) -> JobRow:
    row = add_job(ledger, number, **columns)
    ledger.settle(row.token, Outcome(state, state.value, "accounting"))
    return row


def names(rows: list[JobRow]) -> list[str]:
    return [str(row.request_json["name"]) for row in rows]


def test_the_pages_follow_each_other_newest_first_without_gap_or_repetition(ledger: Ledger) -> None:
    for number in range(7):
        ended(ledger, number)
    add_job(ledger, 99)  # open
    pages, before = [], ""
    while rows := ledger.ended_jobs({"hpc_job"}, ALL, limit=3, before=before):
        pages.append(names(rows))
        before = rows[-1].token
    assert pages == [["job-6", "job-5", "job-4"], ["job-3", "job-2", "job-1"], ["job-0"]]


def test_a_new_job_does_not_move_what_is_on_the_next_page(ledger: Ledger) -> None:
    for number in range(4):
        ended(ledger, number)
    first = ledger.ended_jobs({"hpc_job"}, ALL, limit=2)
    ended(ledger, 50)
    assert names(ledger.ended_jobs({"hpc_job"}, ALL, limit=2, before=first[-1].token)) == ["job-1", "job-0"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        (JobSearch("wing"), ["Wing-2", "wing-1"]),
        (JobSearch("WING-1"), ["wing-1"]),
        (JobSearch("ing"), []),
        (JobSearch("wing%"), []),
        (JobSearch("wing_1"), []),
        (JobSearch(project="proj-beta"), ["Wing-2"]),
        (JobSearch(outcome=JobState.FAILED), ["hull"]),
        (JobSearch(submitted_by="bob"), ["hull"]),
        (JobSearch("wing", outcome=JobState.COMPLETED, submitted_by="alice"), ["Wing-2", "wing-1"]),
        (JobSearch("wing", outcome=JobState.FAILED), []),
    ],
)
def test_jobs_are_found_by_the_beginning_of_the_name_project_end_and_person(
    ledger: Ledger, search: JobSearch, found: list[str]
) -> None:
    ended(ledger, 1, name="wing-1", project="proj-alpha")
    ended(ledger, 2, name="Wing-2", project="proj-beta")
    ended(ledger, 3, JobState.FAILED, name="hull", by="bob")
    assert names(ledger.ended_jobs({"hpc_job"}, search, limit=9)) == found


def test_a_job_is_found_by_its_token(ledger: Ledger) -> None:
    row = ended(ledger, 1)
    ended(ledger, 2)
    assert names(ledger.ended_jobs({"hpc_job"}, JobSearch(row.token), limit=9)) == ["job-1"]


def test_what_no_index_takes_is_cut_and_still_found(ledger: Ledger) -> None:
    person = "b" * 10_000
    ended(ledger, 1, by=person)
    assert names(ledger.ended_jobs({"hpc_job"}, JobSearch(submitted_by=person), limit=9)) == ["job-1"]
    assert len(person) > MOST_LETTERS


def test_only_jobs_of_the_given_dags_are_found(ledger: Ledger) -> None:
    ended(ledger, 1, dag_id="a")
    ended(ledger, 2, dag_id="b")
    add_job(ledger, 3, dag_id="c")
    assert ledger.dag_ids() == ["a", "b", "c"]
    assert names(ledger.ended_jobs({"b", "c"}, ALL, limit=9)) == ["job-2"]
    assert ledger.ended_jobs(set(), ALL, limit=9) == []


def test_an_empty_ledger_has_neither(ledger: Ledger) -> None:
    assert ledger.dag_ids() == []
    assert ledger.ended_jobs({"hpc_job"}, ALL, limit=9) == []


def test_the_jobs_of_a_run_are_all_its_attempts(ledger: Ledger) -> None:
    ended(ledger, 1, run_id="r")
    add_job(ledger, 2, run_id="other")
    assert names(ledger.jobs_of_run("hpc_job", "r")) == ["job-1"]
    assert ledger.jobs_of_run("hpc_job", "none") == []


def test_the_lives_of_nodes_are_those_that_lay_in_the_window(ledger: Ledger) -> None:
    ledger.begin_lives("azure", [NewLife("1", "htc-0", "htc", "F16"), NewLife("2", "htc-1", "htc", "F16")])
    during = Window(NOW - MINUTE, NOW + MINUTE)
    assert [life.node_id for life in ledger.lives_of_nodes("azure", {"htc-0", "gone"}, during)] == ["1"]
    assert ledger.lives_of_nodes("azure", {"htc-0"}, Window(NOW - MINUTE, NOW)) == []
    assert ledger.lives_of_nodes("onprem", {"htc-0"}, during) == []
    assert ledger.lives_of_nodes("azure", set(), during) == []


def test_a_short_request_is_one_that_was_lately_given_fewer_nodes(ledger: Ledger) -> None:
    for name, added in (("whole", 2), ("part", 1), ("none", 0)):
        ledger.ask_for_nodes(
            request_id=name, cluster="azure", nodearray="htc", names=[f"{name}-1", f"{name}-2"]
        )
        ledger.answer_nodes(name, added=added, message=f"gave {added}")
    ledger.ask_for_nodes(request_id="open", cluster="azure", nodearray="htc", names=["open-1"])
    assert [row.request_id for row in ledger.short_requests(MINUTE)] == ["none", "part"]
    assert ledger.short_requests(timedelta(0)) == []
