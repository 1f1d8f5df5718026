"""Promises about the roll-up: it tells what the jobs tell, whenever and however often it is made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger, UsageRow, migrate
from hybrid_hpc.ledger.rollup import JOBS, LONGEST, MARKS, ROLLED, SAMPLES, Mark
from hybrid_hpc.usage.aggregate import QUANTILES, failures, totals
from hybrid_hpc.usage.buckets import ERROR, bucket_of, value_of
from hybrid_hpc.usage.capacity import utilisation
from hybrid_hpc.usage.daily import days_of_usage
from hybrid_hpc.usage.days import Extract, window_of
from hybrid_hpc.usage.frames import frame_of, jobs_frame, pieces_of, spread
from hybrid_hpc.usage.rollup import roll_up
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.selection import PERIODS, Selection, failures_by, usage_by, utilisation_by
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import NOON, life

pytest_plugins = ["tests.unit.ledger_fixtures"]

SPRING = Window(datetime(2026, 2, 27, tzinfo=UTC), datetime(2026, 5, 3, tzinfo=UTC))
GROUPS = [
    ["cluster"],
    ["project"],
    ["month", "partition"],
    ["person", "project"],
    ["day"],
    ["week", "cluster"],
    ["month"],
    ["month", "person"],
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One for all examples, which empty it: its tables take longer to make than an example."""
    made = Ledger(f"sqlite:///{tmp_path_factory.mktemp('rollup')}/ledger.db")
    made.migrate()
    yield made
    made.close()


def emptied(ledger: Ledger) -> Ledger:
    with ledger._transaction() as connection:
        for table in (JOBS, SAMPLES, MARKS, LONGEST, *ROLLED.values()):
            connection.execute(delete(table))
    return ledger


def kept_rows(ledger: Ledger) -> dict[str, list[Any]]:
    """All that is rolled up."""
    with ledger._transaction() as connection:
        return {
            name: list(connection.execute(select(table).order_by(*table.primary_key)))
            for name, table in ROLLED.items()
        }


@st.composite
def lives(draw: st.DrawFn) -> UsageRow:
    """From an instant to weeks long, over the borders of days and months, of any state; some still run."""
    began = NOON + timedelta(seconds=draw(st.integers(-3 * 86_400, 4 * 86_400)))
    seconds = draw(st.one_of(st.just(0), st.integers(1, 7200), st.integers(0, 5 * 86_400)))
    over = draw(st.booleans()) or seconds == 0
    row = life(
        began,
        seconds / 3600,
        native_id=str(draw(st.integers(1, 30))),
        waited_s=float(draw(st.integers(0, 200_000))),
        cluster=draw(st.sampled_from(["onprem", "azure"])),
        person=draw(st.sampled_from(["alice", "bob"])),
        project=draw(st.sampled_from(["", "proj-alpha"])),
        cores=draw(st.integers(1, 100)),
        cost_usd=float(draw(st.integers(0, 100))),
        max_rss_mib=draw(st.sampled_from([None, 512.0, 4096.0])),
        state=draw(st.sampled_from(list(JobState))),
    )
    return row if over else replace(row, ended_at=None, state=JobState.RUNNING)


def by_key(rows: Iterable[UsageRow]) -> list[UsageRow]:
    """Of rows with the same key the last one, which is what the ledger keeps."""
    return list({(row.cluster, row.native_id, row.submitted_at): row for row in rows}.values())


def raw(rows: Sequence[UsageRow], by: Sequence[str], window: Window = SPRING) -> pd.DataFrame:
    """The same, added up from the jobs themselves."""
    periods = [each for each in by if each in PERIODS]
    pieces = pieces_of(window, periods[0]) if periods else [window]
    parts = spread(jobs_frame(rows), pieces)
    return totals(parts, ["piece" if each in PERIODS else each for each in by]).rename_axis(index=list(by))


def assert_same(rolled: pd.DataFrame, wanted: pd.DataFrame) -> None:
    """Sums to the last digits, quantiles within what `buckets` promises."""
    exact = [name for name in wanted.columns if name not in QUANTILES]
    pd.testing.assert_frame_equal(
        rolled[exact], wanted[exact], check_dtype=False, check_index_type=False, rtol=1e-9, atol=1e-9
    )
    for name in QUANTILES:
        off = (rolled[name] - wanted[name]).abs()
        assert (rolled[name].isna() == wanted[name].isna()).all(), name
        assert (off.dropna() <= ERROR * wanted[name].dropna() + 1.0).all(), (name, rolled, wanted)


LISTS = st.lists(lives(), max_size=4).map(by_key)
EXAMPLES = settings(
    deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@EXAMPLES
@given(rows=LISTS, by=st.sampled_from(GROUPS))
def test_what_is_rolled_up_is_what_the_jobs_add_up_to(
    kept: Ledger, rows: list[UsageRow], by: list[Any]
) -> None:
    emptied(kept).save_usage(rows)
    assert_same(usage_by(kept, Selection(SPRING), by), raw(rows, by))


@EXAMPLES
@given(rows=LISTS, order=st.randoms(), cuts=st.lists(st.integers(0, 8), max_size=3))
def test_twice_is_once_halves_are_the_whole_and_the_order_does_not_matter(
    kept: Ledger, rows: list[UsageRow], order: Any, cuts: list[int]
) -> None:
    emptied(kept).save_usage(rows)
    roll_up(kept)
    whole = kept_rows(kept)
    emptied(kept)
    shuffled = order.sample(rows, len(rows))
    borders = [0, *sorted(cuts), len(rows)]
    for first, after in [*pairwise(borders), (0, len(rows))]:
        kept.save_usage(shuffled[first:after])
        roll_up(kept)
    pieces = kept_rows(kept)
    for name, rolled in whole.items():
        pd.testing.assert_frame_equal(pd.DataFrame(pieces[name]), pd.DataFrame(rolled))


@EXAMPLES
@given(before=lives(), after=lives())
def test_a_life_that_is_told_anew_leaves_nothing_on_the_days_on_which_it_no_longer_lies(
    kept: Ledger, before: UsageRow, after: UsageRow
) -> None:
    key = {"cluster": "onprem", "native_id": "1", "submitted_at": before.submitted_at}
    emptied(kept).save_usage([replace(before, **key)])  # type: ignore[arg-type]
    roll_up(kept)
    kept.save_usage([replace(after, **key)])  # type: ignore[arg-type]
    [row] = kept.usage_between(Window(SPRING.since - timedelta(days=99), SPRING.until + timedelta(days=99)))
    assert_same(usage_by(kept, Selection(SPRING), ["day"]), raw([row], ["day"]))


@pytest.fixture
def many() -> list[UsageRow]:
    """Enough for COPY, over two months, at every hour of the day."""
    return [
        life(
            SPRING.since + timedelta(hours=1.7 * number),
            hours=1 + number % 40,
            native_id=str(number),
            waited_s=float(number**2),
            person=f"user{number % 7}",
            project=f"proj-{number % 3}",
            cluster=("onprem", "azure")[number % 2],
            state=(JobState.COMPLETED, JobState.FAILED, JobState.TIMEOUT)[number % 3],
        )
        for number in range(800)
    ]


@pytest.mark.parametrize("by", GROUPS)
def test_both_kinds_of_database_add_up_alike(ledger: Ledger, many: list[UsageRow], by: list[Any]) -> None:
    ledger.save_usage(many)
    assert_same(usage_by(ledger, Selection(SPRING), by), raw(many, by))
    causes = failures_by(ledger, Selection(SPRING), by)
    pieces = pieces_of(SPRING, by[0]) if by[0] in PERIODS else [SPRING]
    wanted = failures(spread(jobs_frame(many), pieces), ["piece" if each in PERIODS else each for each in by])
    assert causes.sum().to_dict() == wanted.sum().to_dict() != {}
    assert len(causes) == len(wanted)


def test_only_the_names_that_are_asked_for_are_added_up(ledger: Ledger, many: list[UsageRow]) -> None:
    ledger.save_usage(many)
    hers = Selection(SPRING, person=frozenset({"user1", "user2"}), cluster=frozenset({"azure"}))
    wanted = [row for row in many if row.person in hers.person and row.cluster == "azure"]
    assert_same(usage_by(ledger, hers, ["person"]), raw(wanted, ["person"]))
    assert ledger.rolled_names(hers.extract, "project") == ["proj-0", "proj-1", "proj-2"]


def test_without_a_group_there_is_one_row_also_of_nothing(ledger: Ledger, many: list[UsageRow]) -> None:
    nothing = usage_by(ledger, Selection(SPRING), [])
    assert len(nothing) == 1
    assert nothing["jobs"].iloc[0] == 0
    assert nothing["wait_p50_s"].isna().all()
    ledger.save_usage(many)
    everything = usage_by(ledger, Selection(SPRING), [])
    wanted = totals(spread(jobs_frame(many), [SPRING]).assign(all=1), ["all"])
    assert everything["core_h"].iloc[0] == pytest.approx(wanted["core_h"].iloc[0])
    assert everything["wait_p95_s"].iloc[0] == pytest.approx(wanted["wait_p95_s"].iloc[0], rel=ERROR)


def test_rows_that_come_while_a_day_is_rolled_up_are_not_lost(ledger_url: str) -> None:
    if ledger_url.startswith("sqlite"):
        pytest.skip("there is one writer at a time")
    ours, theirs = Ledger(ledger_url), Ledger(ledger_url)
    ours.migrate()
    ours.save_usage([life(native_id="1")])

    def meanwhile(*found: Any) -> Any:
        made = days_of_usage(*found)
        theirs.save_usage([life(native_id="2")])
        return made

    ours.roll_up_days("onprem", [NOON.date()], meanwhile)
    assert ours.rolled_sums(Extract(NOON.date(), NOON.date() + timedelta(days=1)), [])[0]["jobs"] == 1
    assert [mark for mark in ours.marks() if mark.span == "day"] == [Mark("day", "onprem", NOON.date())]
    assert usage_by(ours, Selection(SPRING), ["cluster"])["jobs"].to_dict() == {"onprem": 2}
    assert ours.marks() == []
    ours.close()
    theirs.close()


def test_what_was_collected_before_there_was_a_roll_up_is_rolled_up_too(ledger_url: str) -> None:
    rows = [life(native_id="1", hours=30.0), life(NOON - timedelta(days=40), native_id="2")]
    ledger = Ledger(ledger_url)
    ledger.migrate()
    ledger.save_usage(rows)
    ledger.close()
    migrate.downgrade(ledger_url, "0006")
    migrate.upgrade(ledger_url)
    again = Ledger(ledger_url)
    assert_same(usage_by(again, Selection(SPRING), ["day"]), raw(rows, ["day"]))
    again.close()


def sample(moment: datetime, busy: int, partition: str = "") -> SampleRow:
    numbers = dict.fromkeys(SampleRow.__slots__[3:], 0)
    return SampleRow("onprem", moment, partition, **{**numbers, "cores": 16, "cores_busy": busy})


def test_the_utilisation_of_a_day_is_that_of_its_samples(ledger: Ledger) -> None:
    day = window_of(NOON.date())
    samples = [sample(day.since + timedelta(minutes=10 * number), number % 16) for number in range(100)]
    ledger.save_samples([*samples, *(sample(each.moment, 16, "batch") for each in samples)])
    roll_up(ledger)
    rolled = utilisation_by(ledger, Selection(day), ["day", "cluster"], 86_400.0)
    wanted = utilisation(frame_of(SampleRow, samples), day).iloc[0]
    assert rolled.iloc[0].to_dict() == pytest.approx(wanted.to_dict())
    assert 0 < rolled["seen"].iloc[0] < 1, "the evening has no samples, which is no zero"


@given(st.lists(st.floats(0, 1e8), min_size=1))
def test_a_bucket_stands_for_a_value_close_to_each_that_is_in_it(values: list[float]) -> None:
    given_values = pd.Series(values)
    told = pd.Series(value_of(bucket_of(given_values).to_numpy()))
    near = (told - given_values).abs() <= ERROR * given_values * (1 + 1e-9)
    assert (near | (given_values < 1)).all()
    assert ((told - given_values).abs()[given_values < 1] <= 0.5).all()
    assert value_of(bucket_of(pd.Series([0.0, 1.0])).to_numpy()).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("first", "after", "finest", "wanted"),
    [
        (date(2026, 1, 1), date(2026, 3, 1), "", [("month", date(2026, 1, 1), date(2026, 3, 1))]),
        (date(2026, 1, 1), date(2026, 3, 1), "week", [("day", date(2026, 1, 1), date(2026, 3, 1))]),
        (date(2026, 1, 9), date(2026, 2, 20), "month", [("day", date(2026, 1, 9), date(2026, 2, 20))]),
        (
            *(date(2026, 1, 9), date(2026, 3, 3), "month"),
            [
                ("month", date(2026, 2, 1), date(2026, 3, 1)),
                ("day", date(2026, 1, 9), date(2026, 2, 1)),
                ("day", date(2026, 3, 1), date(2026, 3, 3)),
            ],
        ),
    ],
)
def test_whole_months_are_read_as_such_and_the_days_beside_them_as_days(
    first: date, after: date, finest: str, wanted: list[Any]
) -> None:
    assert list(Extract(first, after).spans(finest)) == wanted
