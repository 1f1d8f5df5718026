"""Nodes' lives in the ledger: from when they were asked for until they are gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.lives import BOOTS_REMEMBERED, NewLife

pytest_plugins = ["tests.unit.ledger_fixtures"]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(ledger_url: str, clock: Clock) -> Iterator[Ledger]:
    ledger = Ledger(ledger_url, clock=clock)
    ledger.migrate()
    yield ledger
    ledger.close()


def new(number: int, request_id: str = "") -> NewLife:
    return NewLife(f"id-{number}", f"htc-{number}", "htc", "F16", request_id)


def test_a_node_counts_as_asked_for_when_its_request_was_written_down(ledger: Ledger, clock: Clock) -> None:
    ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=["htc-1"])
    clock.pass_(30)
    ledger.begin_lives("azure", [new(1, "r"), new(2, "unknown"), new(3)])
    assert [life.asked_at for life in ledger.lives("azure")] == [NOON, clock.now, clock.now]


def test_what_is_known_of_a_node_stays_and_its_lease_is_renewed(ledger: Ledger, clock: Clock) -> None:
    ledger.begin_lives("azure", [new(1), new(2)])
    clock.pass_(60)
    ledger.renew_lives("azure", ["id-1"], up=["id-1"], busy=["id-1"])
    clock.pass_(60)
    ledger.begin_lives("azure", [new(1)])
    ledger.renew_lives("azure", ["id-1"], up=["id-1"])
    first, second = ledger.lives("azure")
    minute = timedelta(minutes=1)
    assert (first.asked_at, first.up_at, first.last_busy_at) == (NOON, NOON + minute, NOON + minute)
    assert (first.seen_at, second.seen_at) == (NOON + 2 * minute, NOON)
    assert second.up_at is None


def test_a_node_that_is_gone_is_no_longer_there_but_its_boot_is_remembered(
    ledger: Ledger, clock: Clock
) -> None:
    ledger.begin_lives("azure", [new(1), new(2)])
    clock.pass_(9)
    ledger.renew_lives("azure", ["id-1", "id-2"], up=["id-1"])
    ledger.renew_lives("azure", [], gone=["id-1"])
    ledger.renew_lives("onprem", [], gone=["id-2"])
    assert [life.name for life in ledger.lives("azure")] == ["htc-2"]
    assert ledger.boot_times_s("azure") == {("htc", "F16"): [9.0]}


def test_a_node_that_an_answer_had_left_out_goes_on_living(ledger: Ledger) -> None:
    ledger.begin_lives("azure", [new(1)])
    ledger.renew_lives("azure", ["id-1"], up=["id-1"])
    ledger.renew_lives("azure", [], gone=["id-1"])
    ledger.begin_lives("azure", [new(1)])
    ledger.renew_lives("azure", ["id-1"])
    (life,) = ledger.lives("azure")
    assert life.up_at


def test_a_node_that_is_started_again_after_it_was_gone_for_certain_lives_anew(
    ledger: Ledger, clock: Clock
) -> None:
    """Its VM was deallocated and has kept its id, and the id of the request that made it."""
    ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=["htc-1"])
    for boot_s in (9, 7, 8):
        ledger.begin_lives("azure", [new(1, "r")])
        clock.pass_(boot_s)
        ledger.renew_lives("azure", ["id-1"], up=["id-1"])
        ledger.renew_lives("azure", [], gone=["id-1"])
        clock.pass_(61)
    ledger.begin_lives("azure", [new(1, "r")])
    (life,) = ledger.lives("azure")
    assert (life.asked_at, life.up_at, life.request_id) == (clock.now, None, "")
    assert ledger.boot_times_s("azure") == {("htc", "F16"): [8.0, 7.0, 9.0]}


def test_a_node_that_was_up_when_it_was_first_seen_teaches_no_boot_time(ledger: Ledger) -> None:
    ledger.begin_lives("azure", [new(1)])
    ledger.renew_lives("azure", ["id-1"], up=["id-1"])
    assert ledger.boot_times_s("azure") == {}


def test_only_the_newest_boots_of_each_vm_size_are_remembered(ledger: Ledger, clock: Clock) -> None:
    for number in range(BOOTS_REMEMBERED + 5):
        ledger.begin_lives("azure", [new(number)])
        clock.pass_(number)
        ledger.renew_lives("azure", [], up=[f"id-{number}"])
    times = ledger.boot_times_s("azure")["htc", "F16"]
    assert times == [float(number) for number in range(BOOTS_REMEMBERED + 4, 4, -1)]
