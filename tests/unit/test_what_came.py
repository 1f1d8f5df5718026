"""What came of each request for nodes: told by the lives of its nodes, and only when it is certain."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hybrid_hpc.ledger import Ledger, ScaleRow
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.ledger.what_came import CERTAIN, WhatCame

pytest_plugins = ["tests.unit.ledger_fixtures"]


class Hours:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, time: timedelta = 2 * CERTAIN) -> None:
        self.now += time


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def ledger(ledger_url: str, hours: Hours) -> Iterator[Ledger]:
    """One request for two nodes, sent and not answered."""
    ledger = Ledger(ledger_url, clock=hours)
    ledger.migrate()
    names = ["htc-1", "htc-2"]
    ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=names, for_jobs=["7"])
    yield ledger
    ledger.close()


def live(ledger: Ledger, *numbers: int) -> None:
    """CycleCloud lists these nodes of the request."""
    lives = [NewLife(f"id-{number}", f"htc-{number}", "htc", "F16", "r") for number in numbers]
    ledger.begin_lives("azure", lives)


def renew(ledger: Ledger, *, up: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> None:
    ledger.renew_lives("azure", [], up=up, gone=gone)


def settled(ledger: Ledger) -> tuple[str, int | None, str]:
    """Settles it: its outcome, how many nodes came, and why no more."""
    ledger.settle_requests("azure")
    row = row_of(ledger)
    assert bool(row.settled_at) == bool(row.outcome)
    return row.outcome, row.came, row.message


def row_of(ledger: Ledger) -> ScaleRow:
    (row,) = ledger.scale_requests("azure")
    return row


OPEN = ("", None, "")


def test_all_its_nodes_take_jobs(ledger: Ledger) -> None:
    ledger.answer_nodes("r", added=2, message="")
    assert settled(ledger) == OPEN
    live(ledger, 1, 2)
    renew(ledger, up=("id-1",))
    assert settled(ledger) == OPEN, "the other may still come"
    renew(ledger, up=("id-2",))
    assert settled(ledger) == (WhatCame.CAME, 2, "")
    assert ledger.open_scale_requests("azure") == []


def test_a_node_that_came_and_went_again_has_come(ledger: Ledger) -> None:
    ledger.answer_nodes("r", added=2, message="")
    live(ledger, 1, 2)
    renew(ledger, up=("id-1", "id-2"), gone=("id-1", "id-2"))
    assert settled(ledger)[:2] == (WhatCame.CAME, 2)


def test_fewer_were_added_and_those_came(ledger: Ledger) -> None:
    ledger.answer_nodes("r", added=1, message="F16 is in short supply")
    live(ledger, 1)
    renew(ledger, up=("id-1",))
    assert settled(ledger) == (WhatCame.IN_PART, 1, "F16 is in short supply")


def test_none_was_added(ledger: Ledger) -> None:
    ledger.answer_nodes("r", added=0, message="the quota is reached")
    assert settled(ledger) == (WhatCame.REFUSED, 0, "the quota is reached")


def test_its_nodes_failed_to_boot_and_azure_said_why(ledger: Ledger, hours: Hours) -> None:
    ledger.answer_nodes("r", added=2, message="")
    live(ledger, 1, 2)
    ledger.explain_nodes("r", "no route to /sched")
    ledger.explain_nodes("r", "no route to /sched")
    renew(ledger, gone=("id-1", "id-2"))
    assert settled(ledger) == ("", None, "no route to /sched"), "one short answer ends no request"
    hours.pass_()
    assert settled(ledger) == (WhatCame.FAILED, 0, "no route to /sched")


def test_its_nodes_were_gone_before_anybody_saw_them(ledger: Ledger, hours: Hours) -> None:
    ledger.answer_nodes("r", added=2, message="")
    hours.pass_()
    assert settled(ledger) == (WhatCame.FAILED, 0, "2 of 2 nodes never took a job")


def test_a_node_that_an_answer_had_left_out_may_still_come(ledger: Ledger, hours: Hours) -> None:
    ledger.answer_nodes("r", added=2, message="")
    live(ledger, 1, 2)
    renew(ledger, up=("id-1",), gone=("id-2",))
    assert settled(ledger) == OPEN
    ledger.renew_lives("azure", ["id-2"], up=["id-2"])
    hours.pass_()
    assert settled(ledger)[:2] == (WhatCame.CAME, 2)


def test_without_an_answer_and_without_a_node_it_failed_and_when_it_is_repeated_it_is_open_again(
    ledger: Ledger, hours: Hours
) -> None:
    assert settled(ledger) == OPEN
    hours.pass_()
    unanswered = "CycleCloud did not answer, and has no node of it"
    assert settled(ledger) == (WhatCame.FAILED, 0, unanswered)
    assert ledger.answer_nodes("r", added=2, message="")
    assert (row_of(ledger).outcome, row_of(ledger).settled_at, row_of(ledger).message) == ("", None, "")


def test_without_an_answer_its_nodes_came_all_the_same(ledger: Ledger) -> None:
    live(ledger, 1, 2)
    renew(ledger, up=("id-1", "id-2"))
    assert settled(ledger)[:2] == (WhatCame.CAME, 2)


def test_another_clusters_requests_and_nodes_nobody_asked_for_are_left_alone(ledger: Ledger) -> None:
    ledger.begin_lives("azure", [NewLife("x", "htc-1", "htc", "F16")])
    assert ledger.settle_requests("elsewhere") == 0
    assert row_of(ledger).settled_at is None
