"""Promises about what is taken away from the pages: whole files with a name, and mistakes in words."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hybrid_hpc.ledger import Ledger
from tests.unit.test_web_app import airflow, app, log_in
from tests.unit.usage_world import life

__all__ = ["airflow", "app"]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    made.save_usage([life(project="<b>bold</b>")])
    yield made
    made.close()


@pytest.fixture
def viewer(app: FastAPI, airflow: SimpleNamespace) -> TestClient:
    return log_in(app, airflow, "viewer")


def test_cost_rows_come_as_a_file_with_the_months_name(viewer: TestClient) -> None:
    answer = viewer.get("/exports/focus.csv?month=2026-03")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="focus-2026-03.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.text, newline=""))
    assert (row["SubAccountId"], row["BilledCost"]) == ("<b>bold</b>", "0.08")


def test_without_a_month_it_is_this_one(viewer: TestClient) -> None:
    answer = viewer.get("/exports/focus.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="focus-2026-03.csv"'


def test_the_report_is_saved_not_shown_and_names_no_person(viewer: TestClient) -> None:
    answer = viewer.get("/reports/2026-03.html")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="hpc-2026-03.html"'
    assert "&lt;b&gt;bold&lt;/b&gt;" in answer.text
    assert "alice" not in answer.text


@pytest.mark.parametrize(
    "path", ["/exports/focus.csv?month=march", "/exports/focus.csv?month=2026-13", "/reports/2026-3.html"]
)
def test_what_is_no_month_is_refused_in_words(viewer: TestClient, path: str) -> None:
    answer = viewer.get(path)
    assert answer.status_code == 422
    assert "Write year and month: 2026-03." in answer.json()["detail"]


def test_a_month_to_come_is_an_empty_one(viewer: TestClient) -> None:
    assert len(viewer.get("/exports/focus.csv?month=2090-01").text.splitlines()) == 1
    assert viewer.get("/reports/2090-01.html").status_code == 200
