"""Promises about the page *Usage*: who sees what, what it tells, and that no silence reads as a zero."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.usage.selection import usage_by
from hybrid_hpc_airflow.web.usage_files import harmless
from hybrid_hpc_airflow.web.usage_filter import UsageFilter, period_of, presets
from tests.unit.test_web_app import airflow, log_in
from tests.unit.usage_page_world import HOSTILE, NOW, PERSONS, SILENT, SINCE, fill

__all__ = ["airflow"]  # a fixture

ALL = f"from={SINCE.date()}&to={NOW.date()}"
OTHERS = [person for person in PERSONS if person not in ("vera", HOSTILE)]
AMOUNTS = ("jobs", "failed", "core_h", "gpu_h", "cost_usd")


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Nobody writes into it."""
    made = Ledger(f"sqlite:///{tmp_path_factory.mktemp('usage')}/ledger.db", clock=lambda: NOW)
    made.migrate()
    yield fill(made)
    made.close()


@pytest.fixture
def app(airflow: SimpleNamespace, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415  it imports airflow
    from hybrid_hpc_airflow.web.app import make_app  # noqa: PLC0415

    monkeypatch.setattr(airflow.auth, "instance", airflow.manager())
    made = make_app()
    made.dependency_overrides[dependencies.ledger] = lambda: ledger
    made.dependency_overrides[utc_now] = lambda: NOW
    return made


@pytest.fixture
def admin(app: FastAPI, airflow: SimpleNamespace) -> TestClient:
    return log_in(app, airflow, "admin")


@pytest.fixture
def vera(app: FastAPI, airflow: SimpleNamespace) -> TestClient:
    """May submit, and is no administrator."""
    return log_in(app, airflow, "user")


def told(html: str, section: str = "") -> str:
    part = re.search(rf'<(\w+)[^>]* id="{section}".*?</\1>', html, re.DOTALL) if section else None
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", part[0] if part else html)).split())


def get(client: TestClient, path: str) -> Any:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_user_sees_their_own_usage_unless_they_ask_for_the_whole_clusters(
    vera: TestClient, ledger: Ledger
) -> None:
    wanted = UsageFilter(SINCE.date(), NOW.date(), "day", "project", person="vera").selection
    own = usage_by(ledger, wanted, [])
    mine, whole = get(vera, f"/api/usage?{ALL}"), get(vera, f"/api/usage?{ALL}&whose=all")
    for name in AMOUNTS:
        assert mine["totals"][name] == pytest.approx(own[name].iloc[0]), name
    assert 0 < mine["totals"]["jobs"] < whole["totals"]["jobs"]
    assert get(vera, f"/api/usage?{ALL}&person=vera") == mine == get(vera, f"/api/usage?{ALL}&whose=mine")


@pytest.mark.parametrize("whose", ["", "&whose=all", "&whose=mine&by=person", "&whose=all&by=day"])
def test_a_user_never_reads_another_persons_name_on_the_page(vera: TestClient, whose: str) -> None:
    for path in ("/usage", "/api/usage", "/usage/table.csv"):
        answer = vera.get(f"{path}?{ALL}{whose}")
        assert answer.status_code == 200
        assert not [name for name in OTHERS if re.search(rf"\b{name}\b", answer.text)]
        assert "onerror" not in answer.text


@pytest.mark.parametrize("ask", ["person=alice", "whose=all&by=person", "person=alice&whose=mine"])
def test_other_peoples_usage_is_refused_to_who_may_not_see_it(vera: TestClient, ask: str) -> None:
    for path in (
        "/usage",
        "/usage/jobs",
        "/usage/table.csv",
        "/usage/jobs.csv",
        "/api/usage",
        "/api/usage/jobs",
    ):
        answer = vera.get(f"{path}?{ask}")
        assert answer.status_code == 403, path
        assert "you may see your own" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/usage/jobs", "/usage/jobs.csv", "/usage/jobs.parquet", "/api/usage/jobs"])
def test_the_jobs_of_a_user_are_their_own_and_never_the_whole_clusters(vera: TestClient, path: str) -> None:
    assert vera.get(f"{path}?{ALL}&whose=all").status_code == 403
    assert vera.get(f"{path}?{ALL}").status_code == 200
    rows = get(vera, f"/api/usage/jobs?{ALL}&limit=1000")["jobs"]
    assert {row["person"] for row in rows} == {"vera"}


@pytest.mark.parametrize(
    ("role", "sees"), [("viewer", False), ("user", False), ("op", True), ("admin", True)]
)
def test_who_may_read_airflows_connections_sees_everybody(
    app: FastAPI, airflow: SimpleNamespace, role: str, sees: bool
) -> None:
    answer = log_in(app, airflow, role).get(f"/api/usage?{ALL}&by=person&person=alice")
    assert answer.status_code == (200 if sees else 403)


def test_an_administrator_sees_everybody_at_once_and_each_alone(admin: TestClient) -> None:
    lines = get(admin, f"/api/usage?{ALL}&by=person")["lines"]
    assert {line["name"] for line in lines} == set(PERSONS)
    assert [line["core_h"] for line in lines] == sorted((line["core_h"] for line in lines), reverse=True)
    alone = get(admin, f"/api/usage?{ALL}&person=alice")["totals"]
    assert alone["core_h"] == pytest.approx(next(line["core_h"] for line in lines if line["name"] == "alice"))
    assert get(admin, f"/api/usage?{ALL}&whose=mine")["totals"]["jobs"] > 0


def test_charts_lines_and_cards_are_the_same_numbers(admin: TestClient) -> None:
    found = get(admin, f"/api/usage?{ALL}&by=week&period=month")
    charts = {chart["id"]: chart for chart in found["charts"]}
    drawn = sum(value or 0.0 for each in charts["core-hours"]["series"] for value in each["values"])
    assert drawn == pytest.approx(found["totals"]["core_h"])
    assert sum(line["core_h"] for line in found["lines"]) == pytest.approx(found["totals"]["core_h"])
    assert charts["core-hours"]["along"] == [str(SINCE.date()), "2026-04-01"]
    assert charts["core-hours"]["until"][0] == "2026-04-01", "so wide is its bar"


def test_where_nothing_was_collected_there_is_a_gap_with_its_reason_and_no_zero(admin: TestClient) -> None:
    found = get(admin, f"/api/usage?{ALL}")
    (gap,) = [gap for gap in found["gaps"] if gap["source"] == "accounting" and "refused" in gap["why"]]
    assert (gap["cluster"], gap["since"]) == ("azure", (NOW - SILENT).isoformat().replace("+00:00", "Z"))
    chart = next(chart for chart in found["charts"] if chart["id"] == "core-hours")
    series = {
        each["name"]: dict(zip(chart["along"], each["values"], strict=True)) for each in chart["series"]
    }
    silent = str((NOW - timedelta(days=1)).date())
    assert series["azure"][silent] is None
    assert series["onprem"][silent] is not None
    assert "azure: no accounting" in told(admin.get("/usage").text, "gaps")
    used = next(chart for chart in found["charts"] if chart["id"] == "utilisation")
    assert None in used["series"][0]["values"], "three days have no samples"


def test_the_time_before_the_first_collection_is_a_gap_too(admin: TestClient) -> None:
    early = get(admin, "/api/usage?from=2026-01-01&to=2026-01-31")
    assert [gap["cluster"] for gap in early["gaps"]] == ["azure", "onprem"]
    assert {value for chart in early["charts"] for each in chart["series"] for value in each["values"]} <= {
        None
    }
    page = told(admin.get("/usage?from=2026-01-01&to=2026-01-31").text, "nothing")
    assert "not the same as nothing used" in page


def test_nothing_that_fits_the_filters_is_a_calm_sentence(admin: TestClient) -> None:
    page = told(admin.get("/usage?from=2026-03-10&cluster=onprem&project=proj-zero").text)
    assert "No job ran with these filters." in page


def test_days_that_are_not_rolled_up_yet_are_told_when_they_are_many(
    admin: TestClient, monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    from hybrid_hpc.ledger.rollup import Mark  # noqa: PLC0415

    marks = [Mark("day", "onprem", SINCE.date() + timedelta(days=number)) for number in range(15)]
    monkeypatch.setattr(Ledger, "marks", lambda *_: marks)
    assert "15 days of clusters are not rolled up yet" in told(admin.get("/usage").text, "gaps")
    assert get(admin, "/api/usage")["to_roll_up"] == 15


@pytest.mark.parametrize("path", ["/usage", "/usage/jobs"])
def test_hostile_names_are_text_in_every_place(admin: TestClient, path: str) -> None:
    page = admin.get(f"{path}?{ALL}&by=person").text
    assert HOSTILE in unescape(page)
    assert "<img" not in page
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    if path == "/usage":
        assert data
        assert "<" not in data[1]
        assert json.loads(data[1])


def test_the_links_of_a_page_lead_to_pages(admin: TestClient) -> None:
    for by in ("project", "person", "month", "week", "day"):
        page = admin.get(f"/usage?{ALL}&by={by}").text
        links = {unescape(link) for link in re.findall(r'href="(\?[^"]*|usage/[^"]*)"', page)}
        assert len(links) > 8
        for link in sorted(links)[:12]:
            path = f"/usage{link}" if link.startswith("?") else f"/{link}"
            assert admin.get(path).status_code == 200, path


def test_jobs_are_listed_page_by_page_each_once_the_latest_first(admin: TestClient) -> None:
    whole = get(admin, f"/api/usage/jobs?{ALL}&limit=10000")
    assert whole["after"] == ""
    found: list[Any] = []
    after = ""
    while after or not found:
        page = get(admin, f"/api/usage/jobs?{ALL}&limit=37&after={after}")
        found += page["jobs"]
        if not (after := page["after"]):
            break
    assert found == whole["jobs"]
    assert len({job["native_id"] for job in found}) == len(found)
    ends = [job["ended_at"] for job in found]
    assert ends == sorted(ends, reverse=True)
    assert len(found) == get(admin, f"/api/usage?{ALL}")["totals"]["jobs"]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("from=2026-04-02&to=2026-04-01", "'from' (2026-04-02) must not lie after 'to' (2026-04-01)"),
        ("from=0001-01-01", "'from' (0001-01-01)"),
        ("from=yesterday", "from"),
        ("by=colour", "by"),
        ("period=hour", "period"),
        (f"cluster={'x' * 301}", "cluster"),
    ],
)
def test_a_filter_that_is_none_is_refused_by_its_name(admin: TestClient, query: str, words: str) -> None:
    answer = admin.get(f"/usage?{query}")
    assert answer.status_code == 422
    assert words in str(answer.json()["detail"])


@pytest.mark.parametrize("after", ["x", "W10", "bnVsbA", "WzEsMiwzLDQsNV0"])
def test_a_place_in_the_list_that_is_none_is_refused_in_a_sentence(admin: TestClient, after: str) -> None:
    answer = admin.get(f"/api/usage/jobs?after={after}")
    assert (answer.status_code, answer.json()["detail"]) == (
        *(422, "'after' is no place in this list: begin again without it"),
    )


def test_the_files_have_what_the_page_tells(admin: TestClient) -> None:
    lines = get(admin, f"/api/usage?{ALL}&by=project")["lines"]
    table = list(csv.DictReader(io.StringIO(admin.get(f"/usage/table.csv?{ALL}&by=project").text)))
    assert [row["name"] for row in table] == [line["name"] for line in lines]
    assert [float(row["core_h"]) for row in table] == [line["core_h"] for line in lines]
    same = parquet(admin, f"/usage/table.parquet?{ALL}&by=project")
    assert [row["core_h"] for row in same] == [line["core_h"] for line in lines]
    jobs = get(admin, f"/api/usage/jobs?{ALL}&limit=10000")["jobs"]
    assert [row["native_id"] for row in parquet(admin, f"/usage/jobs.parquet?{ALL}")] == [
        job["native_id"] for job in jobs
    ]
    answer = admin.get(f"/usage/jobs.csv?{ALL}")
    assert answer.headers["content-disposition"] == 'attachment; filename="jobs.csv"'
    assert len(list(csv.DictReader(io.StringIO(answer.text)))) == len(jobs)


def parquet(client: TestClient, path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(io.BytesIO(client.get(path).content)).to_pylist()
    return rows


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_a_csv_is_a_formula(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"
    assert harmless("wing=1") == "wing=1"
    assert harmless(-1.5) == -1.5


def test_advice_is_for_whom_it_is_about(vera: TestClient) -> None:
    for whose in ("mine", "all"):
        found = get(vera, f"/api/usage?whose={whose}")["found"]
        assert [each.split()[1] for each in found["advice"]] == ["vera"]
        assert [chart["id"] for chart in found["charts"]] == ["elsewhere", "forecasts"]


def test_an_administrator_reads_the_advice_for_those_who_are_asked_for(admin: TestClient) -> None:
    assert len(get(admin, "/api/usage")["found"]["advice"]) == len(PERSONS)
    assert len(get(admin, "/api/usage?project=proj-beta")["found"]["advice"]) == 0


def test_what_vms_did_beside_running_jobs_is_kept_apart(admin: TestClient) -> None:
    clusters = {each["cluster"]: each for each in get(admin, f"/api/usage?{ALL}")["capacity"]}
    assert clusters["onprem"]["vm_core_h"] is None
    azure = clusters["azure"]
    parts = ("job_core_h", "boot_core_h", "idle_core_h", "head_core_h", "other_core_h")
    assert sum(azure[name] for name in parts) == pytest.approx(azure["vm_core_h"])
    assert azure["head_core_h"] > 0
    assert 0 < azure["seen"] < 1


def test_the_period_suits_the_time_and_the_times_are_the_calendars() -> None:
    first = date(2026, 1, 1)
    periods = [period_of(first, first + timedelta(days=days - 1)) for days in (1, 62, 63, 200, 201)]
    assert periods == ["day", "day", "week", "week", "month"]
    times = presets(date(2026, 3, 3))
    assert times["Last month"] == (date(2026, 2, 1), date(2026, 2, 28))
    assert times["This month"] == (date(2026, 3, 1), date(2026, 3, 3))
    assert times["12 months"] == (date(2025, 4, 1), date(2026, 3, 3))


def test_a_line_leads_to_what_it_is_made_of() -> None:
    march = UsageFilter(date(2026, 3, 10), date(2026, 4, 20), "month", "month")
    into = march.into("2026-04-01")
    assert (into.first, into.last, into.by, into.period) == (
        date(2026, 4, 1),
        date(2026, 4, 20),
        "day",
        "day",
    )
    day = into.into("2026-04-03")
    assert (day.first, day.last, day.by) == (date(2026, 4, 3), date(2026, 4, 3), "person")
    project = UsageFilter(march.first, march.last, "day", "project", cluster="azure").into("proj-alpha")
    assert (project.project, project.by, project.cluster) == ("proj-alpha", "partition", "azure")
