"""Promises about the page of one job: its way, the decision, what it used, and who may see it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from hybrid_hpc_airflow.web import jobs_reading
from hybrid_hpc_airflow.web.job_view import JobRows, asked_of, job_page, offers_of
from hybrid_hpc_airflow.web.rendering import job_html, page_html
from hybrid_hpc_airflow.web.steps import steps_of
from tests.unit.ledger_databases import NOW
from tests.unit.test_web import HOSTILE, LATER, everything, only, page_of
from tests.unit.web_world import add_job, change, rename

DECISION: dict[str, Any] = {
    "cluster": "azure",
    "sentence": f"azure: 40 min sooner {HOSTILE}",
    "verdicts": [
        {"cluster": "onprem", "best": None, "refusal": {"why": f"needs a GPU {HOSTILE}"}},
        {
            "cluster": "azure",
            "best": {"partition": "hpc", "starts_in_s": 240.0, "ends_in_s": 3_840.0, "cost_usd": 12.4},
            "refusal": None,
        },
    ],
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    made.migrate()
    yield made
    made.close()


def ran(ledger: Ledger) -> JobRow:
    """Asked for at 0 min, queued from 10 min, ran from 30 min to 110 min."""
    row = add_job(ledger, 1, JobState.RUNNING, project="wing")
    at = {"intent_at": 0, "released_at": 10, "started_at": 30, "ended_at": 110}
    return change(ledger, row.token, **{name: NOW + timedelta(minutes=late) for name, late in at.items()})


def test_the_steps_fill_the_whole_way_without_a_gap(ledger: Ledger) -> None:
    steps = steps_of(ran(ledger), LATER)
    assert [(step.word, step.seconds / 60, step.open) for step in steps] == [
        ("asked", 10, False),
        ("queued", 20, False),
        ("ran", 80, False),
    ]
    assert sum(step.width for step in steps) == pytest.approx(100)


def test_a_step_that_goes_on_ends_now_and_a_clock_that_is_behind_makes_none_negative(ledger: Ledger) -> None:
    row = change(ledger, ran(ledger).token, ended_at=None, started_at=NOW - timedelta(hours=1))
    steps = steps_of(row, NOW + timedelta(minutes=70))
    assert [(step.seconds / 60, step.open) for step in steps] == [(10, False), (0, False), (60, True)]


def test_every_cluster_is_told_with_its_offer_or_why_it_does_not_fit() -> None:
    refused, chosen = offers_of(DECISION)
    assert (refused.chosen, refused.cost_usd, refused.why) == (False, None, f"needs a GPU {HOSTILE}")
    assert (chosen.chosen, chosen.partition, chosen.starts_in_s, chosen.cost_usd) == (True, "hpc", 240, 12.4)


def test_what_a_request_leaves_open_is_not_shown_and_a_script_is_not() -> None:
    assert asked_of({"name": "a", "script": "secret", "cores": 4, "project": None, "env": {}}) == {
        "cores": "4"
    }


def test_no_text_of_others_becomes_html(ledger: Ledger) -> None:
    row = add_job(ledger, 1, sentence=HOSTILE, by=HOSTILE, run_id=f"manual__{HOSTILE}", project="p")
    rename(ledger, row.token, HOSTILE)
    row = ledger.job(row.token) or row
    html = job_html(job_page(row, JobRows(decision=DECISION), LATER))
    assert HOSTILE not in html
    assert html.count("&lt;script&gt;") >= 5


def test_the_page_of_a_job_without_decision_and_usage_says_so(ledger: Ledger) -> None:
    page = jobs_reading.read_job(ledger, add_job(ledger, 1).token, everything, LATER)
    assert page is not None
    html = job_html(page)
    assert "The ledger has no decision for this job." in html
    assert "Nothing has been collected yet" in html
    assert 'href="../static/hpc.css"' in html


def test_a_job_of_a_dag_that_the_reader_may_not_see_is_as_one_that_is_not_there(ledger: Ledger) -> None:
    token = add_job(ledger, 1, dag_id="secret_dag").token
    assert jobs_reading.read_job(ledger, token, only("hpc_job"), LATER) is None
    assert jobs_reading.read_job(ledger, "hh-nothing", everything, LATER) is None


def test_an_open_job_links_to_its_page(ledger: Ledger) -> None:
    row = add_job(ledger, 1)
    assert f'href="jobs/{row.token}"' in page_html(page_of(ledger))
