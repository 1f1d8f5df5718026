"""Promises about what the pages tell: of alerts, of ways to clusters, of open jobs, of the reconciliation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, insert

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.request import JobRequest
from hybrid_hpc_airflow.web import cluster_reading, reading, wording
from hybrid_hpc_airflow.web.now_view import Page
from hybrid_hpc_airflow.web.rendering import page_html, trouble_html
from hybrid_hpc_airflow.web.views import FindingView, JobView, Stage
from tests.unit.ledger_databases import NOW
from tests.unit.web_world import add_job, change, reconciled, rename, shut

pytest_plugins = ["tests.unit.ledger_fixtures"]

HOSTILE = "<script>alert(1)</script>"
LATER = NOW + timedelta(seconds=4)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """One kind of database is enough for what is told of it."""
    yield from opened(f"sqlite:///{tmp_path}/ledger.db")


@pytest.fixture
def any_ledger(ledger_url: str) -> Iterator[Ledger]:
    """Both kinds, for the queries."""
    yield from opened(ledger_url)


def opened(url: str) -> Iterator[Ledger]:
    made = Ledger(url, clock=lambda: NOW)
    made.migrate()
    yield made
    made.close()


def everything(dag_id: str) -> bool:
    return True


def only(*dag_ids: str) -> Callable[[str], bool]:
    return lambda dag_id: dag_id in dag_ids


def page_of(ledger: Ledger, may_read: Callable[[str], bool] = everything) -> Page:
    return reading.read_page(ledger, load_clusters(), may_read, LATER)


def html_of(ledger: Ledger) -> str:
    return page_html(page_of(ledger))


def told(ledger: Ledger, section: str = "") -> str:
    """The page, or one section of it, as a person reads it."""
    html = html_of(ledger)
    part = re.search(rf'<section id="{section}".*?</section>', html, re.DOTALL) if section else None
    return text_of(part[0] if part else html)


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def test_an_empty_ledger_is_told_in_calm_sentences(ledger: Ledger) -> None:
    assert "No alerts: nothing needs a person." in told(ledger, "alerts")
    assert "No open jobs." in told(ledger, "jobs")
    assert "hpc_reconcile has not run yet." in told(ledger, "reconciliation")
    assert [cluster.name for cluster in page_of(ledger).clusters] == list(load_clusters().names)


def test_an_alert_is_told_with_its_cluster_and_since_when(ledger: Ledger) -> None:
    ledger.raise_alert("onprem", "breaker", "onprem: the head node is away", cluster="onprem")
    assert "onprem: the head node is away onprem · for 4 s · last seen 4 s ago" in told(ledger, "alerts")
    ledger.clear_alert("onprem", "breaker")
    assert "the head node is away" not in told(ledger)


def test_a_way_without_failures_is_in_order_and_an_elastic_cluster_has_two(ledger: Ledger) -> None:
    ways = cluster_reading.read_ways(ledger, load_clusters())
    assert [way.target for way in ways] == ["onprem", "azure", "azure CycleCloud"]
    assert {way.state for way in ways} == {"closed"}
    assert "head node in order CycleCloud in order" in told(ledger, "clusters")


def test_a_shut_way_tells_since_when_why_and_when_it_is_tried_again(ledger: Ledger) -> None:
    shut(ledger, "azure CycleCloud", "CycleCloud refuses our login")
    ledger.note_failure("onprem", "no answer within 30 s", lambda *_: {})
    text = told(ledger, "clusters")
    assert "CycleCloud shut for 12 min , next try in 36 s CycleCloud refuses our login" in text
    assert "head node failed once, 4 s ago no answer within 30 s" in text
    states = {way.target: way.state for way in cluster_reading.read_ways(ledger, load_clusters())}
    assert states == {"onprem": "closed", "azure": "closed", "azure CycleCloud": "open"}


def test_a_cluster_that_left_the_file_is_shown_as_long_as_it_has_jobs(ledger: Ledger) -> None:
    add_job(ledger, 1, cluster="old")
    last = page_of(ledger).clusters[-1]
    assert (last.name, last.title, last.waiting) == ("old", "no longer in clusters.yaml", 1)


def test_every_open_job_is_counted_once_at_its_cluster(any_ledger: Ledger) -> None:
    for number, state in enumerate(JobState):
        add_job(any_ledger, number, state)
    any_ledger.intend(
        Job(JobKey("hpc_job", "manual__new"), JobRequest(name="new", script="x"), "onprem", "batch")
    )
    onprem = page_of(any_ledger).clusters[0]
    assert sum(onprem.jobs.values()) == len(JobState) + 1
    assert {stage: onprem.jobs[stage] for stage in Stage} == {
        Stage.SUBMITTING: 1,
        Stage.WAITING: 3,
        Stage.RUNNING: 2,
        Stage.ENDING: 10,
        Stage.UNKNOWN: 1,
    }
    assert onprem.waiting == 4


def test_a_job_is_told_with_state_age_sentence_restarts_and_the_way_to_its_run(ledger: Ledger) -> None:
    row = add_job(
        ledger, 7, JobState.RUNNING, name="wing", sentence="onprem: running on node n1", project="proj-alpha"
    )
    change(ledger, row.token, restarts=2)
    text = told(ledger, "jobs")
    assert "running seen 4 s ago wing" in text
    assert "onprem: running on node n1 proj-alpha alice onprem batch 1007 2" in text
    assert 'href="../dags/hpc_job/runs/manual__7"' in html_of(ledger)


def test_the_address_of_a_run_survives_every_run_id(ledger: Ledger) -> None:
    row = add_job(ledger, 1, run_id='manual__2026-03-29T01:30:00+00:00/a?b#c"')
    path = JobView.of(row).run_path
    assert path == "dags/hpc_job/runs/manual__2026-03-29T01%3A30%3A00%2B00%3A00%2Fa%3Fb%23c%22"


def test_an_unknown_job_is_a_state_of_its_own_with_its_age(ledger: Ledger) -> None:
    add_job(ledger, 1, JobState.UNKNOWN, unknown_since=NOW - timedelta(minutes=12))
    assert "unknown for 12 min job-1" in told(ledger, "jobs")
    assert 'class="chip unknown"' in html_of(ledger)


def test_a_job_that_is_being_submitted_is_not_called_unknown(ledger: Ledger) -> None:
    ledger.intend(
        Job(JobKey("hpc_job", "manual__1"), JobRequest(name="new", script="x"), "onprem", "batch", "alice")
    )
    assert "submitting for 4 s new" in told(ledger, "jobs")
    assert 'class="chip unknown"' not in html_of(ledger)


def test_a_wish_to_cancel_tells_whose_it_is_and_whether_the_cluster_knows(ledger: Ledger) -> None:
    row = add_job(ledger, 1, JobState.RUNNING)
    ledger.request_cancel(row.token, by="bob", why="marked failed")
    wish = "bob wished it cancelled 4 s ago (marked failed);"
    assert f"{wish} the cluster does not know yet" in told(ledger, "jobs")
    ledger.cancel_sent(row.token)
    assert f"{wish} the cluster was told 4 s ago" in told(ledger, "jobs")


def test_a_settled_job_is_not_open(ledger: Ledger) -> None:
    row = add_job(ledger, 1)
    ledger.close_unknown(row.token, "nobody knows")
    assert "No open jobs." in told(ledger, "jobs")


def test_the_newest_jobs_come_first_and_a_line_says_how_many_more_there_are(any_ledger: Ledger) -> None:
    for number in range(3):
        add_job(any_ledger, number)
    many(any_ledger, reading.SHOWN)
    jobs = page_of(any_ledger).jobs
    assert (len(jobs.jobs), jobs.total, jobs.more) == (reading.SHOWN, reading.SHOWN + 3, 3)
    assert jobs.jobs[0].name == f"many-{reading.SHOWN - 1}"
    assert "… and 3 more open jobs, older than these." in told(any_ledger, "jobs")


def test_thousands_of_open_jobs_take_as_few_queries_as_none(any_ledger: Ledger) -> None:
    few = queries(any_ledger)
    many(any_ledger, 2_000)
    assert queries(any_ledger) <= few + 1
    assert page_of(any_ledger).jobs.total == 2_000


def test_jobs_of_other_dags_are_hidden_from_who_may_not_read_their_runs(any_ledger: Ledger) -> None:
    add_job(any_ledger, 1, name="mine")
    row = add_job(any_ledger, 2, name="theirs", dag_id="secret_dag")
    any_ledger.raise_alert(row.token, "unknown", "theirs is lost")
    reconciled(
        any_ledger, {"token": row.token, "why": "theirs is lost"}, {"token": "hh-stray", "why": "a stray"}
    )
    page = page_of(any_ledger, only("hpc_job"))
    assert [job.name for job in page.jobs.jobs] == ["mine"]
    assert (page.jobs.total, page.jobs.hidden) == (1, 1)
    html = page_html(page)
    assert "theirs" not in html
    assert "a stray" in html
    assert "1 open job of DAGs whose runs you may not read is not listed." in html
    assert "theirs is lost" in html_of(any_ledger)


def test_the_last_reconciliation_is_told_with_what_it_found(ledger: Ledger) -> None:
    reconciled(ledger)
    assert "2 min ago , in 1.2 s, over 3 open jobs: nothing to do." in told(ledger, "reconciliation")
    finding = {"cluster": "azure", "token": "hh-1", "native_id": "311", "action": "cancel", "name": "wing"}
    reconciled(ledger, {**finding, "why": "its run was deleted", "result": "cancelled", "age_s": 95.0})
    text = told(ledger, "reconciliation")
    assert "1 finding" in text
    assert "azure 311 its run was deleted wing hh-1 cancel cancelled 1 min" in text


@pytest.mark.parametrize(
    "finding", [{}, {"age_s": "old", "why": None, "native_id": 7}, {"more": [1], "action": {"a": 1}}]
)
def test_a_finding_of_another_version_is_shown_as_far_as_it_goes(
    ledger: Ledger, finding: dict[str, Any]
) -> None:
    reconciled(ledger, finding)
    assert FindingView.of(finding).age_s is None
    assert "1 finding" in told(ledger, "reconciliation")


def test_no_text_of_people_becomes_markup(ledger: Ledger) -> None:
    row = add_job(ledger, 1, by=HOSTILE, sentence=HOSTILE, run_id=HOSTILE)
    rename(ledger, row.token, HOSTILE)
    change(ledger, row.token, partition=HOSTILE, cancel_requested_at=NOW, cancel_requested_by=HOSTILE)
    change(ledger, row.token, cancel_why=HOSTILE, native_id=HOSTILE, cluster=HOSTILE)
    ledger.raise_alert(f'" onclick="{HOSTILE}', "kind", HOSTILE)
    shut(ledger, "onprem", HOSTILE)
    reconciled(
        ledger, dict.fromkeys(("cluster", "token", "native_id", "name", "action", "why", "result"), HOSTILE)
    )
    html = html_of(ledger)
    assert html.count("<script") == 1  # its own, a file
    assert "onclick=&#34;" in html
    assert html.count("&lt;script&gt;") > 12
    assert "<script" not in trouble_html(HOSTILE).partition("<main>")[2]


def test_the_page_needs_nothing_from_elsewhere(ledger: Ledger) -> None:
    html = html_of(ledger)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {"static/icon.svg", "static/hpc.css", "static/hpc.js"} <= set(addresses)
    assert not [address for address in addresses if re.match(r"[a-z+]+:|/", address)]
    assert "style=" not in html
    assert "://" not in html


@pytest.mark.parametrize(
    ("seconds", "words"),
    {
        -5: "0 s",
        0: "0 s",
        59.9: "59 s",
        60: "1 min",
        3_599: "59 min",
        3_600: "1 h",
        12_000: "3 h 20 min",
        86_399: "23 h 59 min",
        86_400: "1 d",
        187_200: "2 d 4 h",
    }.items(),
)
def test_an_age_has_at_most_two_units(seconds: float, words: str) -> None:
    assert wording.span(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "\N{EN DASH}"),
        (0.0, "0.00 USD"),
        (0.0001, "under 0.01 USD"),
        (0.005, "0.01 USD"),
        (1234.5, "1,234.50 USD"),
    ],
)
def test_money_that_is_there_is_never_told_as_none(value: float | None, words: str) -> None:
    assert wording.usd(value) == words


def many(ledger: Ledger, number: int) -> None:
    """Copies of one job, in one statement."""
    asked = {"name": "many", "script": "x" * 500}
    row = add_job(ledger, 999_999)
    columns = {
        "dag_id",
        "group_id",
        "map_index",
        "generation",
        "submitted_by",
        "cluster",
        "partition",
        "run_dir",
    }
    columns |= {
        "intent_at",
        "state",
        "state_seen_at",
        "reason",
        "sentence",
        "tasks",
        "node_names",
        "restarts",
    }
    same = {name: getattr(row, name) for name in columns}
    rows = [
        {**same, "token": f"hh-{each}", "run_id": f"r{each}", "attempt": "0", "native_id": str(each)}
        | {"request": {**asked, "name": f"many-{each}"}}
        for each in range(number)
    ]
    with ledger._transaction() as connection:
        connection.execute(JOBS.delete().where(JOBS.c.token == row.token))
        connection.execute(insert(JOBS), rows)


def queries(ledger: Ledger) -> int:
    """How many statements one look takes."""
    asked: list[str] = []

    def note(*arguments: object) -> None:
        asked.append(str(arguments[2]))

    event.listen(ledger._engine, "before_cursor_execute", note)
    page_of(ledger)
    event.remove(ledger._engine, "before_cursor_execute", note)
    return len(asked)
