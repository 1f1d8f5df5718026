"""Promises about the usage that somebody asks for: the same whichever way it is cut."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.usage.selection import Selection, usage_by
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import NOON, life

MARCH = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    made.save_usage(
        [
            life(native_id="1", person="alice", project="proj-alpha", hours=2),
            life(NOON + timedelta(hours=10), native_id="2", person="bob", project="proj-beta", hours=4),
            life(NOON + timedelta(days=2), native_id="3", person="alice", project="proj-beta", hours=1),
        ]
    )
    yield made
    made.close()


def test_only_what_is_asked_for_is_added_up(ledger: Ledger) -> None:
    everything = usage_by(ledger, Selection(MARCH), ["person"])
    assert everything["jobs"].to_dict() == {"alice": 2, "bob": 1}
    hers = usage_by(
        ledger, Selection(MARCH, person=frozenset({"alice"}), project=frozenset({"proj-beta"})), ["person"]
    )
    assert hers["jobs"].to_dict() == {"alice": 1}


def test_days_are_told_by_their_beginnings_and_add_up_to_the_month(ledger: Ledger) -> None:
    days = usage_by(ledger, Selection(MARCH), ["day", "project"])
    assert days.index.names == ["day", "project"]
    assert {day.day for day in days.index.get_level_values("day")} == {29, 30, 31}
    month = usage_by(ledger, Selection(MARCH), ["month"])
    assert days["core_h"].sum() == pytest.approx(month["core_h"].sum())
    assert month["jobs"].sum() == 3


def test_nothing_is_an_empty_table_with_its_columns(ledger: Ledger) -> None:
    nothing = usage_by(ledger, Selection(MARCH, cluster=frozenset({"elsewhere"})), ["month"])
    assert nothing.empty
    assert {"jobs", "core_h", "wait_p95_s"} <= set(nothing.columns)
