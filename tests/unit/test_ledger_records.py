"""Decisions, requests for nodes and usage in the ledger; moments, hostile text and outages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import StatementError

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import Job, JobRow, Ledger, ScaleRow, UsageRow
from hybrid_hpc.ledger.jobs import JOBS
from hybrid_hpc.ledger.rows import clears
from hybrid_hpc.request import JobRequest
from hybrid_hpc.usage.windows import Window
from lab.postgres import Postgres
from tests.unit.ledger_databases import NOW, empty

pytest_plugins = ["tests.unit.ledger_fixtures"]

KEY = JobKey("hpc_job", "manual__1")
REQUEST = JobRequest(name="wing", script="hostname", array="0-9%4", outputs=["out/*.vtk"])
JOB = Job(KEY, REQUEST, "onprem", "batch", "alice")


def row_of(ledger: Ledger, name: str) -> JobRow:
    row = ledger.job(name)
    assert row
    return row


class Chosen:
    """A decision as the placement makes it."""

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.partition = f"{cluster} batch"
        self.sentence = f"{cluster}: it is sooner"

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        return {"cluster": self.cluster, "mode": mode}


def test_the_first_decision_stands(ledger: Ledger) -> None:
    made = ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"), submitted_by="alice")
    again = ledger.record_decision(KEY, request=REQUEST, decision=Chosen("azure"))
    assert again == made == ledger.decision(KEY)
    assert (made.cluster, made.partition, made.submitted_by) == ("onprem", "onprem batch", "alice")
    assert made.request == REQUEST
    assert made.decision == {"cluster": "onprem", "mode": "json"}
    assert made.decided_at == NOW


def test_an_attempt_knows_the_decision_that_sent_it(ledger: Ledger) -> None:
    assert ledger.decision_of(ledger.intend(replace(JOB, key=replace(KEY, run_id="by hand"))).token) is None
    ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"))
    assert ledger.decision_of(ledger.intend(JOB).token) == {"cluster": "onprem", "mode": "json"}


def test_a_cleared_choice_is_a_new_decision_and_the_newest_counts(ledger: Ledger) -> None:
    cleared = replace(KEY, generation=1)
    ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"))
    assert ledger.decision(cleared) is None
    ledger.record_decision(cleared, request=REQUEST, decision=Chosen("azure"))
    newest = ledger.latest_decision(KEY)
    assert newest
    assert newest.cluster == "azure"
    assert ledger.latest_decision(replace(KEY, run_id="another")) is None


@pytest.mark.parametrize(
    ("placed", "cleared", "clusters"),
    [((0, 0), (0, 1), ("onprem", "onprem")), ((0, 0), (1, 0), ("onprem", "azure"))],
    ids=["the submission", "the choice, which flips the cluster"],
)
def test_clearing_makes_another_attempt(
    ledger: Ledger, placed: tuple[int, int], cleared: tuple[int, int], clusters: tuple[str, str]
) -> None:
    jobs = []
    for (choice, submission), name in zip((placed, cleared), clusters, strict=True):
        decided = replace(KEY, generation=choice)
        decision = ledger.record_decision(decided, request=REQUEST, decision=Chosen(name), submitted_by="bob")
        jobs.append(Job.of(replace(KEY, generation=submission), decision, load_clusters().cluster(name)))
    rows = [ledger.intend(job) for job in (*jobs, *jobs)]
    assert rows[0].token == rows[2].token
    assert rows[1].token == rows[3].token
    assert [row.generation for row in rows[:2]] == [0, 1]
    assert [row.submitted_by for row in rows[:2]] == ["bob", "bob"]


def test_a_job_refers_to_its_decision(ledger: Ledger) -> None:
    ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"))
    ledger.intend(JOB)
    with ledger._transaction() as connection:
        same = text("SELECT count(*) FROM jobs JOIN decisions ON decisions.id = jobs.decision_id")
        assert connection.scalar(same) == 1


@pytest.fixture
def later(ledger: Ledger, ledger_url: str) -> Iterator[Ledger]:
    """The same ledger two minutes later."""
    made = Ledger(ledger_url, clock=lambda: ledger.now() + timedelta(minutes=2))
    yield made
    made.close()


def ask(ledger: Ledger) -> ScaleRow:
    row = ledger.ask_for_nodes(
        request_id="r1", cluster="azure", nodearray="htc", names=("htc-1", "htc-2"), for_jobs=("17",)
    )
    assert row
    return row


def ask_beside(ledger: Ledger, name: str, looked_at: datetime, ours: tuple[str, ...] = ()) -> ScaleRow | None:
    """Another process asks for one node, having looked at that moment which nodes there are."""
    return ledger.ask_for_nodes(
        request_id="r2", cluster="azure", nodearray="htc", names=(name,), looked_at=looked_at, ours=ours
    )


def test_asking_for_nodes_twice_is_asking_once(ledger: Ledger) -> None:
    assert ask(ledger) == ask(ledger)
    (row,) = ledger.open_scale_requests("azure")
    assert (row.names, row.for_jobs, row.answered_at, row.added) == (("htc-1", "htc-2"), ("17",), None, None)
    assert ledger.open_scale_requests("onprem") == []


def test_a_node_that_another_process_asks_for_is_not_asked_for_too(ledger: Ledger) -> None:
    ask(ledger)
    assert ask_beside(ledger, "htc-2", NOW) is None
    assert ask_beside(ledger, "htc-3", NOW)


def test_a_node_that_another_process_has_got_since_we_looked_is_not_asked_for_again(ledger: Ledger) -> None:
    ask(ledger)
    ledger.answer_nodes("r1", added=2, message="")
    assert ask_beside(ledger, "htc-2", NOW - timedelta(seconds=10)) is None
    assert ask_beside(ledger, "htc-2", NOW + timedelta(seconds=10))


def test_what_we_asked_for_ourselves_keeps_us_from_nothing(ledger: Ledger) -> None:
    ask(ledger)
    assert ask_beside(ledger, "htc-2", NOW, ours=("r1",))


def test_a_request_whose_process_has_died_keeps_nobody_from_asking(ledger: Ledger, later: Ledger) -> None:
    ask(ledger)
    assert ask_beside(later, "htc-2", later.now())


def test_a_request_that_got_too_few_nodes_was_in_vain_for_a_while(ledger: Ledger, later: Ledger) -> None:
    minute = timedelta(minutes=1)
    ask(ledger)
    assert not ledger.asked_in_vain("azure", minute)
    ledger.answer_nodes("r1", added=1, message="quota")
    assert ledger.asked_in_vain("azure", minute)
    assert not later.asked_in_vain("azure", minute)


def test_an_answer_is_kept_once(ledger: Ledger) -> None:
    ask(ledger)
    assert ledger.answer_nodes("r1", added=1, message="quota")
    assert not ledger.answer_nodes("r1", added=2, message="")
    (row,) = ledger.open_scale_requests("azure")
    assert (row.added, row.message, row.answered_at) == (1, "quota", NOW)


def test_only_answered_requests_count_so_that_an_unanswered_one_keeps_its_id(ledger: Ledger) -> None:
    ask(ledger)
    assert ledger.times_asked("azure", ["htc-1", "htc-2"]) == 0
    ledger.answer_nodes("r1", added=2, message="")
    assert ledger.times_asked("azure", ["htc-1", "htc-2"]) == 1
    assert ledger.times_asked("azure", ["htc-1"]) == 0
    assert ledger.times_asked("elsewhere", ["htc-1", "htc-2"]) == 0


def usage(**changes: Any) -> UsageRow:
    values: dict[str, Any] = {
        "cluster": "onprem",
        "native_id": "17",
        "task": "",
        "submitted_at": NOW,
        "token": "hh-a",
        "name": "hh-a",
        "user": "alice",
        "person": "alice",
        "project": "proj-alpha",
        "partition": "batch",
        "state": JobState.COMPLETED,
        "exit_code": 0,
        "nodes": 1,
        "cores": 4,
        "gpus": 0,
        "eligible_at": None,
        "started_at": NOW,
        "ended_at": NOW,
        "elapsed_s": 60.0,
        "walltime_s": 600,
        "memory_asked_mib": 4096,
        "cpu_s": 180.0,
        "max_rss_mib": None,
        "node_names": ("node01",),
        "cost_usd": 0.25,
    }
    return UsageRow(**{**values, **changes})


def test_usage_saved_twice_is_there_once_in_its_later_form(ledger: Ledger) -> None:
    lives = [usage(), usage(submitted_at=NOW + timedelta(minutes=5)), usage(task="3")]
    ledger.save_usage(lives)
    ledger.save_usage([usage(state=JobState.FAILED, cost_usd=0.5), *lives[1:]])
    ledger.save_usage([])
    rows = ledger.usage_of("hh-a")
    assert sorted(row.task for row in rows) == ["", "", "3"]
    assert [row.cost_usd for row in rows] == [0.5, 0.25, 0.25]
    assert rows[1:] == [lives[2], lives[1]] or rows[1:] == [lives[1], lives[2]]


@pytest.mark.parametrize(
    "zone", [UTC, timezone(timedelta(hours=-7)), timezone(timedelta(hours=5, minutes=45))], ids=str
)
def test_moments_of_any_zone_come_back_as_the_same_moment_in_utc(ledger: Ledger, zone: timezone) -> None:
    row = ledger.intend(JOB)
    local = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=zone)
    ledger.record_native_id(row.token, "17", local)
    back = row_of(ledger, row.token).native_submitted_at
    assert back == local
    assert back.tzinfo is UTC


def test_a_moment_without_a_zone_is_refused(ledger: Ledger) -> None:
    row = ledger.intend(JOB)
    with pytest.raises(StatementError, match="has no time zone"):
        ledger.record_native_id(row.token, "17", datetime(2026, 3, 29))  # noqa: DTZ001
    assert row_of(ledger, row.token).native_id is None


def test_a_state_word_of_a_later_version_reads_as_unknown(ledger: Ledger) -> None:
    row = ledger.intend(JOB)
    with ledger._transaction() as connection:
        connection.execute(text("UPDATE jobs SET state = 'teleported'"))
    assert row_of(ledger, row.token).state is JobState.UNKNOWN


@pytest.mark.parametrize(
    "hostile", ["'; DROP TABLE jobs; --", "%s %(x)s :token", "\\", "ü\U0001f680", "a" * 10_000]
)
def test_hostile_text_is_only_text(ledger: Ledger, hostile: str) -> None:
    key = JobKey(hostile, hostile, hostile)
    row = ledger.intend(replace(JOB, key=key, submitted_by=hostile))
    ledger.request_cancel(row.token, by=hostile, why=hostile)
    back = ledger.latest_job(hostile, hostile, hostile)
    assert back
    assert (back.key, back.cancel_why, back.submitted_by) == (key, hostile, hostile)


def test_a_failed_transaction_leaves_nothing_behind(ledger: Ledger) -> None:
    row = ledger.intend(JOB)
    twice = {"dag_id": "other"}
    with pytest.raises(Exception, match=r"(?i)unique|not.null"), ledger._transaction() as connection:
        connection.execute(text("UPDATE jobs SET sentence = 'half done'"))
        connection.execute(insert(JOBS).values(token=row.token, **twice))
    assert row_of(ledger, row.token).sentence == ""


def test_a_database_without_tables_says_what_to_run(tmp_path: Path, ledger_server: Postgres) -> None:
    for url in (f"sqlite:///{tmp_path}/empty.db", empty(ledger_server)):
        bare = Ledger(url)
        with pytest.raises(Unavailable, match=r"python -m hybrid_hpc\.ledger upgrade"):
            bare.open_jobs("onprem")
        bare.close()


def test_a_database_that_does_not_answer_is_unavailable_and_its_password_stays_secret(tmp_path: Path) -> None:
    for url in ("postgresql://ledger:secret@127.0.0.1:1/ledger", f"sqlite:///{tmp_path}/no/such/folder/x.db"):
        with pytest.raises(Unavailable) as caught:
            Ledger(url).job("hh-x")
        assert "does not answer" in str(caught.value)
        assert "secret" not in str(caught.value)


def moved(ledger: Ledger, attempt: str = "onprem.0.0", generation: int = 0) -> JobRow:
    """An attempt that has left premises for Azure, with the decision about it."""
    left = ledger.intend(replace(JOB, key=replace(KEY, generation=generation), attempt=attempt))
    assert ledger.request_leave(left.token, "its partition is closed")
    ledger.record_move(left, Chosen("azure"))
    return left


def test_a_move_is_a_decision_of_its_own_beside_the_first_one(ledger: Ledger) -> None:
    first = ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"), submitted_by="alice")
    left = moved(ledger)
    after = ledger.latest_decision(KEY)
    assert after
    assert (after.cluster, after.move, after.left) == ("azure", 1, left.attempt)
    assert (after.request, after.submitted_by) == (first.request, first.submitted_by)
    assert ledger.decision(KEY) == ledger.first_decision(KEY) == first
    assert ledger.move_from(left.token) == after


def test_a_move_is_decided_once(ledger: Ledger) -> None:
    ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"))
    left = moved(ledger)
    assert ledger.record_move(left, Chosen("elsewhere")).cluster == "azure"


def test_each_attempt_of_a_job_that_moves_and_is_cleared_comes_after_those_before_it(ledger: Ledger) -> None:
    """Else a worker that slept would run a job beside the newer one, or the newer one would be refused."""
    ledger.record_decision(KEY, request=REQUEST, decision=Chosen("onprem"))
    cluster = load_clusters().cluster("azure")

    def attempt(submissions_cleared: int) -> str:
        decision = ledger.latest_decision(KEY)
        assert decision
        return Job.of(replace(KEY, generation=submissions_cleared), decision, cluster).attempt

    made = ["onprem.0.0"]
    moved(ledger)
    made += [attempt(0), attempt(1)]  # moved; only the submission after the move cleared
    made += ["onprem.0.1"]  # the first submission cleared, with all that follows
    moved(ledger, "onprem.0.1", 5)
    made += [attempt(2), "onprem.1.0"]  # moved again; the choice cleared
    assert [clears(each) for each in made] == sorted({clears(each) for each in made})


def test_a_wish_to_leave_stands_until_it_is_taken_back_and_gives_way_to_a_wish_to_cancel(
    ledger: Ledger,
) -> None:
    row = ledger.intend(JOB)
    assert ledger.request_leave(row.token, "no capacity")
    assert not ledger.request_leave(row.token, "another reason")
    assert row_of(ledger, row.token).leave_why == "no capacity"
    assert ledger.stay(row.token)
    assert row_of(ledger, row.token).leave_requested_at is None
    ledger.request_cancel(row.token, "ada", "wrong input")
    assert not ledger.request_leave(row.token, "no capacity")


class Forecast(Chosen):
    """A decision that says when the job starts."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        offer = {"starts_in_s": 60.0, "cost_usd": 1.5}
        return {**super().model_dump(mode=mode), "verdicts": [{"cluster": self.cluster, "best": offer}]}


def test_a_placement_stands_beside_what_came_of_all_lives_of_its_job(ledger: Ledger) -> None:
    ledger.record_decision(KEY, request=REQUEST, decision=Forecast("onprem"))
    token = ledger.intend(JOB).token
    window = Window(NOW - timedelta(days=1), NOW + timedelta(days=1))
    assert ledger.placements_between(window) == []
    later = NOW + timedelta(minutes=9)
    lives = [
        usage(token=token),
        usage(token=token, submitted_at=later, started_at=later),
        usage(task="9", token=""),
    ]
    ledger.save_usage(lives)
    [placed] = ledger.placements_between(window)
    assert (placed.cluster, placed.decided_at, placed.started_at) == ("onprem", NOW, NOW)
    assert (placed.starts_in_s, placed.most_usd, placed.cost_usd) == (60.0, 1.5, 0.5)
    assert ledger.placements_between(Window(window.until, window.until + timedelta(days=1))) == []
