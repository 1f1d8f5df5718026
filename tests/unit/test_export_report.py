"""The month's report: figures that are the ledger's, pictures that are in the file, hostile names as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.months import month_window
from hybrid_hpc.usage.advice import advice
from hybrid_hpc.usage.export_charts import HEIGHT, LEFT, WIDTH, bar_chart
from hybrid_hpc.usage.export_report import MonthReport, month_report
from hybrid_hpc.usage.frames import jobs_frame
from hybrid_hpc.usage.vm_hours import VmHourRow
from hybrid_hpc.usage.windows import Window
from hybrid_hpc_airflow.web.rendering import report_html
from tests.unit.test_ledger_records import JOB, KEY, REQUEST, Forecast
from tests.unit.usage_world import NOON, life

MARCH = month_window("2026-03")
APRIL = datetime(2026, 4, 1, 6, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOON)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    wasteful = [
        life(native_id=str(number), person="alice", cost_usd=1.0, memory_asked_mib=65_536, waited_s=60.0)
        for number in range(6)
    ]
    failed = life(native_id="7", person="bob", project="proj-beta", state=JobState.FAILED, cost_usd=1.0)
    cloud = life(native_id="8", cluster="azure", partition="htc", person="bob", cost_usd=2.0)
    ledger.save_usage([*wasteful, failed, cloud])
    ledger.save_vm_hours(
        [VmHourRow("azure", NOON, "nodearray", "htc", "Standard_F16s_v2", "Regular", 16.0, 1.0, 0.677)]
    )
    ledger.note_collected("onprem", "accounting", Window(MARCH.since, APRIL))
    ledger.note_collected("azure", "accounting", Window(MARCH.since, NOON))
    ledger.note_trouble("azure", "accounting", "azure: refused")
    return ledger


def report(ledger: Ledger, *, persons: bool = False, now: datetime = APRIL) -> MonthReport:
    return month_report(ledger, load_clusters(), MARCH, now, persons=persons)


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_its_sums_are_the_ledgers(full: Ledger) -> None:
    made = report(full, persons=True)
    assert [(row["cluster"], row["jobs"], row["cost_usd"]) for row in made.clusters] == [
        ("azure", 1, 2.0),
        ("onprem", 7, 7.0),
    ]
    assert [(row["project"], row["jobs"]) for row in made.projects] == [
        ("proj-alpha", 6),
        ("proj-alpha", 1),
        ("proj-beta", 1),
    ]
    assert made.persons is not None
    assert [(row["person"], row["core_h"]) for row in made.persons] == [("alice", 24.0), ("bob", 8.0)]
    assert made.failures == [("onprem", "failed", 1)]
    assert made.cloud["jobs"] == 0.125
    assert [(row["cluster"], row["vm_usd"]) for row in made.numbers] == [("azure", 0.677), ("onprem", None)]
    assert made.summary() == (
        "2026-03:\nazure: 1 jobs, 4.0 core-hours, 2.00 USD\nonprem: 7 jobs, 28.0 core-hours, 7.00 USD"
    )


def test_forecasts_stand_beside_what_came(ledger: Ledger) -> None:
    ledger.record_decision(KEY, request=REQUEST, decision=Forecast("onprem"))
    token = ledger.intend(JOB).token
    ledger.save_usage([life(NOON + timedelta(minutes=3), token=token)])
    (row,) = report(ledger).forecasts
    assert (row["cluster"], row["placements"], row["bias_s"]) == ("onprem", 1, 120.0)
    assert "<td>120 s</td>" in report_html(report(ledger))


def test_of_more_than_a_page_holds_the_rest_is_counted(ledger: Ledger) -> None:
    ledger.save_usage(
        [
            life(native_id=f"{person}-{number}", person=f"p{person}", memory_asked_mib=65_536)
            for person in range(30)
            for number in range(5)
        ]
    )
    made = report(ledger, persons=True)
    assert made.persons is not None
    assert (len(made.persons), len(made.advice)) == (25, 26)
    assert made.advice[-1] == f"and {len(advice(jobs_frame(ledger.usage_between(MARCH)))) - 25} more"


def test_what_was_not_collected_is_told_and_what_was_is_not(full: Ledger) -> None:
    assert report(full).gaps == [
        "azure: accounting is collected until 2026-03-29 12:00 UTC: azure: refused",
    ]


def test_persons_and_advice_are_in_it_only_when_asked_for(full: Ledger) -> None:
    without, named = report(full), report(full, persons=True)
    assert (without.persons, list(without.advice)) == (None, [])
    assert any("alice (proj-alpha) asked for 64.0 GiB" in sentence for sentence in named.advice)
    assert not re.search("alice|bob", report_html(without))
    assert {"alice", "bob"} <= set(re.findall("alice|bob", report_html(named)))


def test_the_file_needs_nothing_but_itself_and_runs_nothing(full: Ledger) -> None:
    html = report_html(report(full, persons=True))
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe", "object", "form")]
    assert not [
        name for _, names in page.tags for name in names if name in ("src", "href") or name.startswith("on")
    ]
    assert "url(" not in html
    assert "@import" not in html
    assert len(html) < 60_000


def test_a_hostile_name_is_text_wherever_it_stands(ledger: Ledger) -> None:
    row = life(project=HOSTILE, person=HOSTILE, cluster=HOSTILE, memory_asked_mib=65_536)
    ledger.save_usage([replace(row, native_id=str(number)) for number in range(6)])
    ledger.note_trouble(HOSTILE, "accounting", HOSTILE)
    page = Page(report_html(report(ledger, persons=True)))
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert page.text.count(HOSTILE) >= 6


def test_of_a_month_that_goes_on_what_there_is_so_far_is_told(full: Ledger) -> None:
    made = report(full, now=NOON + timedelta(minutes=30))
    assert made.window.until == NOON + timedelta(minutes=30)
    assert report_html(made)


def test_a_month_without_anything_is_a_page_that_says_so(ledger: Ledger) -> None:
    made = report(ledger)
    assert made.summary() == "2026-03:\nnothing was used"
    assert Page(report_html(made)).text.count("nothing") >= 3


def test_bars_stand_on_the_ground_on_each_other_and_inside_the_picture() -> None:
    days = [datetime(2026, 3, day, tzinfo=UTC) for day in (1, 2, 3)]
    chart = bar_chart("x", days, {"a": [10.0, float("nan"), 0.0], "b": [30.0, 5.0, 0.0]})
    low, high, alone = chart.bars
    assert [bar.told for bar in chart.bars] == [
        "2026-03-01 a: 10.00",
        "2026-03-01 b: 30.00",
        "2026-03-02 b: 5.00",
    ]
    assert low.y + low.height == pytest.approx(alone.y + alone.height)
    assert high.y + high.height == pytest.approx(low.y)
    assert high.height == pytest.approx(3 * low.height) == pytest.approx(6 * alone.height)
    assert all(bar.x >= LEFT and bar.x + bar.width <= WIDTH and 0 <= bar.y < HEIGHT for bar in chart.bars)
    assert [mark.text for mark in chart.days] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("most", "lines"),
    [
        (40.0, ["0", "10", "20", "30", "40"]),
        (2500.0, ["0", "1,000", "2,000", "3,000"]),
        (0.03, ["0", "0.01", "0.02", "0.03"]),
        (0.0, ["0", "1"]),
    ],
)
def test_the_grid_has_round_numbers_up_to_the_highest_bar(most: float, lines: list[str]) -> None:
    chart = bar_chart("x", [NOON], {"a": [most]})
    assert [mark.text for mark in chart.grid] == lines
    heights = [mark.at for mark in chart.grid]
    assert heights == sorted(heights, reverse=True)
