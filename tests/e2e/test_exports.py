"""Promises about what leaves a running Airflow: metrics with a token only, files with a login only."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.e2e.house import House
from tests.e2e.test_connection_type import admin

__all__ = ["admin"]

TOKEN = "a-token-of-enough-letters"
FILES = ("/hpc/exports/focus.csv", "/hpc/reports/2026-03.html")


def scrape(house: House, token: str | None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.get(
        f"{house.stack.airflow.url}/hybrid-hpc/metrics", headers=headers, trust_env=False, timeout=60
    )


def test_metrics_are_closed_until_an_administrator_sets_a_token_and_then_open_to_its_bearer_alone(
    house: House, admin: httpx.Client
) -> None:
    assert scrape(house, TOKEN).status_code == 404
    body = {"connection_id": "hybrid_hpc_metrics", "conn_type": "generic", "password": TOKEN}
    admin.post("/api/v2/connections", json=body).raise_for_status()
    try:
        assert [scrape(house, token).status_code for token in (None, "wrong", TOKEN)] == [401, 401, 200]
        assert 'hybrid_hpc_breaker_open{cluster="azure",way="CycleCloud"} 0.0' in scrape(house, TOKEN).text
    finally:
        admin.delete("/api/v2/connections/hybrid_hpc_metrics").raise_for_status()
    assert scrape(house, TOKEN).status_code == 404


@pytest.mark.parametrize("path", FILES)
def test_files_are_for_who_is_logged_in(house: House, admin: httpx.Client, path: str) -> None:
    assert httpx.get(f"{house.stack.airflow.url}{path}", trust_env=False, timeout=60).status_code == 401
    answer = admin.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; ")


def test_the_monthly_report_is_written_by_airflow_and_is_where_its_log_says(house: House) -> None:
    run = house.scientist.start("hpc_monthly_report", month="2026-03", persons=True)
    assert house.ended(run) == ["success"], house.scientist.told(run, "write_report")
    file = Path(house.scientist.result(run, "write_report"))
    assert f"written to {file}" in house.scientist.told(run, "write_report")
    assert "<h1>HPC usage in 2026-03</h1>" in file.read_text()


def test_a_month_that_is_none_is_refused_before_anything_runs(house: House) -> None:
    with pytest.raises(httpx.HTTPStatusError, match="2026-13"):
        house.scientist.start("hpc_monthly_report", month="2026-13")
