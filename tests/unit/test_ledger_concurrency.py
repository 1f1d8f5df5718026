"""Many at once on a real PostgreSQL: one winner, one row, no lost update; and an outage in between."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Barrier
from typing import TypeVar

import pytest

from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.errors import FitsNowhere, Unavailable
from hybrid_hpc.jobs import JobKey, JobReport, JobState
from hybrid_hpc.ledger import Job, Ledger
from hybrid_hpc.months import month_name
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.placing import place
from hybrid_hpc.request import JobRequest, read_request
from lab.postgres import Postgres
from tests.unit.ledger_databases import empty
from tests.unit.placement_world import POLICY, onprem, view

pytest_plugins = ["tests.unit.ledger_fixtures"]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = JobRequest(name="test", script="hostname")
THREADS = 8
ROUNDS = 8
Given = TypeVar("Given")


@pytest.fixture
def ledger(ledger_server: Postgres) -> Iterator[Ledger]:
    made = Ledger(empty(ledger_server))
    made.migrate()
    yield made
    made.close()


def at_once(call: Callable[[int, str], Given], about: str = "") -> list[Given]:
    """What ``call(thread, about)`` gives to several threads that start it at the same moment."""
    start = Barrier(THREADS)

    def wait_and_call(number: int) -> Given:
        start.wait(10)
        return call(number, about)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(wait_and_call, range(THREADS)))


def job(run_id: str, attempt: str = "first") -> Job:
    return Job(JobKey("dag", run_id), REQUEST, "onprem", "batch", attempt=attempt)


def test_the_same_attempt_intended_at_once_is_one_row(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        rows = at_once(lambda _, run: ledger.intend(job(run)), f"intend {number}")
        assert len(set(map(str, rows))) == 1


def test_different_attempts_intended_at_once_each_get_a_generation_of_their_own(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        rows = at_once(lambda thread, run: ledger.intend(job(run, str(thread))), f"attempts {number}")
        assert sorted(row.generation for row in rows) == list(range(THREADS))
        assert len({row.token for row in rows}) == THREADS


def test_of_all_who_record_a_native_id_at_once_one_wins_and_its_id_stands(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        name = ledger.intend(job(f"record {number}")).token
        won = at_once(lambda thread, name: ledger.record_native_id(name, str(thread), NOW), name)
        assert won.count(True) == 1
        row = ledger.job(name)
        assert row
        assert row.native_id == str(won.index(True))


def test_of_all_who_want_to_send_at_once_one_may(ledger: Ledger) -> None:
    until = datetime(2999, 1, 1, tzinfo=UTC)
    for number in range(ROUNDS):
        name = ledger.intend(job(f"send {number}")).token
        assert at_once(lambda _, name: ledger.sending(name, "/x", until), name).count(True) == 1


def test_of_all_who_settle_at_once_one_does(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        name = ledger.intend(job(f"settle {number}")).token
        settled = at_once(
            lambda thread, name: ledger.settle(
                name, Outcome(JobState.FAILED, "failed", "accounting", thread)
            ),
            name,
        )
        row = ledger.job(name)
        assert row
        assert settled.count(True) == 1
        assert row.exit_code == settled.index(True)


def test_a_wish_and_a_submission_at_once_never_both_go_unnoticed(ledger: Ledger) -> None:
    """Who records the id reads the wish afterwards, and who wishes reads the id: one must see the other."""
    for number in range(ROUNDS):
        name = ledger.intend(job(f"wish {number}")).token

        def step(thread: int, name: str) -> bool:
            if thread % 2:
                ledger.request_cancel(name, "alice", "typo")
            else:
                ledger.record_native_id(name, "17", NOW)
            row = ledger.job(name)
            return bool(row and row.native_id and row.cancel_wished)

        assert any(at_once(step, name))


def test_asking_for_nodes_at_once_is_one_request(ledger: Ledger) -> None:
    rows = at_once(
        lambda _, request_id: ledger.ask_for_nodes(
            request_id=request_id, cluster="azure", nodearray="htc", names=("htc-1",)
        ),
        "r",
    )
    assert len(set(rows)) == 1


def test_more_threads_than_connections_are_served(ledger: Ledger) -> None:
    name = ledger.intend(job("crowd")).token
    ledger.record_native_id(name, "17", NOW)
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: ledger.observe([JobReport(name, "17", JobState.RUNNING)]), range(200)))
    row = ledger.job(name)
    assert row
    assert row.state is JobState.RUNNING


def test_a_killed_database_is_unavailable_and_then_everything_is_still_there(
    ledger: Ledger, ledger_server: Postgres
) -> None:
    before = ledger.intend(job("outage"))
    ledger_server.down()
    for _ in range(2):
        with pytest.raises(Unavailable, match="does not answer"):
            ledger.job(before.token)
        with pytest.raises(Unavailable):
            ledger.intend(job("outage", "another"))
    ledger_server.up()
    assert ledger.job(before.token) == before
    assert ledger.open_attempts(before.key) == [before]


def test_of_two_that_ask_for_one_node_at_once_one_asks(ledger: Ledger) -> None:
    for number in range(ROUNDS):

        def step(thread: int, name: str) -> bool:
            row = ledger.ask_for_nodes(
                request_id=f"{name} {thread}", cluster="azure", nodearray="htc", names=(name,), looked_at=NOW
            )
            return row is not None

        assert sum(at_once(step, f"htc-{number}")) == 1


def test_the_last_money_of_a_budget_is_taken_once_however_many_ask_for_it_at_once(ledger: Ledger) -> None:
    wish = read_request({"name": "flow", "script": "true\n", "cpus_per_task": 16, "walltime": "10:00:00"})

    for number in range(ROUNDS):
        budgets = Budgets(projects={f"p{number}": Budget(usd=10, when_spent="refuse")})  # three of 3.20 USD

        def step(thread: int, project: str, budgets: Budgets = budgets) -> bool:
            asked = wish.model_copy(update={"project": project})
            try:
                place(
                    JobKey("dag", f"{project} {thread}"),
                    asked,
                    [view(onprem())],
                    POLICY,
                    budgets=budgets,
                    ledger=ledger,
                )
            except FitsNowhere:
                return False
            return True

        assert at_once(step, f"p{number}").count(True) == 3
        taken = ledger.budgets_taken(month_name(ledger.now()))[f"p{number}"]
        assert taken.reserved.usd == pytest.approx(9.6)
