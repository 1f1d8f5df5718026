"""What Prometheus is told: parsed back by its own parser, from the ledger alone, bounded, behind a token."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.requests import SCALE
from hybrid_hpc.usage.report import UsageReport
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.windows import Window
from tests.unit.test_ledger_records import JOB, KEY, REQUEST, Forecast
from tests.unit.test_web_app import airflow
from tests.unit.usage_world import NOON, life
from tests.unit.web_world import add_job, shut

__all__ = ["airflow"]

NOW = NOON + timedelta(hours=2)
TOKEN = "a-token-of-enough-letters"
SAMPLE = SampleRow("onprem", NOW - timedelta(minutes=9), "", 4, 0, 0, 1, 2, 64, 20, 44, 4, 1, 5, 7, 1, 90)
Key = tuple[str, frozenset[tuple[str, str]]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def full(ledger: Ledger) -> Ledger:
    """Something of everything."""
    add_job(ledger, 1, JobState.RUNNING)
    add_job(ledger, 2, JobState.PENDING)
    add_job(ledger, 3, JobState.PENDING)
    ledger.save_samples([SAMPLE])
    ledger.save_usage(
        [
            life(native_id="1", hours=1, waited_s=60, cost_usd=0.5),
            life(native_id="2", hours=1, waited_s=120, state=JobState.FAILED, cost_usd=0.25, gpus=2),
            life(native_id="3", cluster="azure", project="proj-beta"),
            life(datetime(2026, 2, 20, tzinfo=UTC), native_id="4"),
        ]
    )
    ledger.note_collected("onprem", "accounting", Window(NOON, NOW - timedelta(minutes=5)))
    ledger.note_trouble("azure", "accounting", "no answer")
    ledger.raise_alert("hh-1", "unknown", "lost", cluster="onprem")
    shut(ledger, "azure CycleCloud", "refused")
    requests(ledger, ["came", "in part", "refused", "", "came"])
    return ledger


def requests(ledger: Ledger, outcomes: Sequence[str]) -> None:
    """'' has not been settled yet."""
    common = {"cluster": "azure", "nodearray": "htc", "names": ("n1", "n2"), "for_jobs": (), "message": ""}
    rows = [
        {
            **common,
            "request_id": f"{at}",
            "asked_at": NOON,
            "outcome": each,
            "settled_at": NOON if each else None,
        }
        for at, each in enumerate(outcomes)
    ]
    with ledger._transaction() as connection:
        connection.execute(insert(SCALE), rows)


def told(ledger: Ledger) -> Mapping[Key, float]:
    """Every sample by its name and labels, as Prometheus' own parser reads them."""
    from hybrid_hpc_airflow.web.metrics import metrics_text  # noqa: PLC0415

    text = metrics_text(ledger, load_clusters(), NOW).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key(name: str, **labels: str) -> Key:
    return f"hybrid_hpc_{name}", frozenset(labels.items())


@pytest.mark.usefixtures("airflow")
def test_each_number_is_the_ledgers(full: Ledger) -> None:
    found = told(full)
    expected = {
        key("open_jobs", cluster="onprem", stage="running"): 1,
        key("open_jobs", cluster="onprem", stage="waiting"): 2,
        key("queued_jobs", cluster="onprem", state="running"): 5,
        key("queued_jobs", cluster="onprem", state="waiting"): 7,
        key("queued_jobs", cluster="onprem", state="held"): 1,
        key("nodes", cluster="onprem", state="up"): 4,
        key("nodes", cluster="onprem", state="down"): 2,
        key("cores", cluster="onprem"): 64,
        key("cores_busy", cluster="onprem"): 20,
        key("cores_waiting", cluster="onprem"): 90,
        key("jobs_ended_total", cluster="onprem", project="proj-alpha"): 2,
        key("jobs_failed_total", cluster="onprem", project="proj-alpha"): 1,
        key("core_seconds_total", cluster="onprem", project="proj-alpha"): 8 * 3600,
        key("gpu_seconds_total", cluster="onprem", project="proj-alpha"): 2 * 3600,
        key("cost_usd_total", cluster="onprem", project="proj-alpha"): 0.75,
        key("cost_usd_total", cluster="azure", project="proj-beta"): 0.08,
        key("wait_seconds", cluster="onprem", quantile="0.5"): pytest.approx(90, rel=0.03),
        key("scale_requests_total", cluster="azure", outcome="came"): 2,
        key("scale_requests_total", cluster="azure", outcome="in part"): 1,
        key("scale_requests_total", cluster="azure", outcome="refused"): 1,
        key("breaker_open", cluster="azure", way="CycleCloud"): 1,
        key("breaker_open", cluster="onprem", way="head node"): 0,
        key("alerts", cluster="onprem", kind="unknown"): 1,
        key("collection_age_seconds", cluster="onprem", source="accounting"): 300,
    }
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.usefixtures("airflow")
def test_how_far_forecasts_were_off_is_told_by_cluster_and_partition(ledger: Ledger) -> None:
    ledger.record_decision(KEY, request=REQUEST, decision=Forecast("onprem"))  # starts in 60 s, it says
    token = ledger.intend(JOB).token
    ledger.save_usage([life(NOW + timedelta(seconds=45), token=token)])
    window = Window(NOON, NOW + timedelta(hours=1))
    ledger.save_findings(window, UsageReport(ledger, window).findings(()))
    found = told(ledger)
    where = {"cluster": "onprem", "partition": "onprem batch"}
    assert found[key("forecast_error_seconds", **where)] == 15
    assert found[key("forecast_bias_seconds", **where)] == -15


@pytest.mark.usefixtures("airflow")
def test_a_cluster_that_was_given_up_is_no_gap_for_ever(full: Ledger) -> None:
    full.note_collected("retired", "accounting", Window(NOON, NOW - timedelta(days=90)))
    assert key("collection_age_seconds", cluster="retired", source="accounting") not in told(full)


@pytest.mark.usefixtures("airflow")
def test_what_was_never_collected_or_is_too_old_is_a_gap_and_no_zero(full: Ledger) -> None:
    full.save_samples([SampleRow("azure", NOW - timedelta(hours=1), *([""] + [1] * 14))])  # type: ignore[arg-type]
    found = told(full)
    assert key("collection_age_seconds", cluster="azure", source="accounting") not in found
    assert key("nodes", cluster="azure", state="up") not in found


@pytest.mark.usefixtures("airflow")
def test_names_and_labels_keep_prometheus_conventions_and_name_no_person_and_no_job(full: Ledger) -> None:
    from hybrid_hpc_airflow.web.metrics import metrics_text  # noqa: PLC0415

    text = metrics_text(full, load_clusters(), NOW).decode()
    families = list(text_string_to_metric_families(text))
    assert len(families) == 20
    for family in families:
        assert re.fullmatch(r"hybrid_hpc_[a-z][a-z_]*[a-z]", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter")
            assert set(sample.labels) <= {
                "cluster",
                "stage",
                "state",
                "project",
                "quantile",
                "outcome",
                "way",
                "kind",
                "source",
            }
    assert not re.search("alice|job-1|hh-[a-z2-7]{12}", text)


@pytest.mark.usefixtures("airflow")
def test_however_many_projects_there_are_the_series_are_bounded_and_nothing_is_lost(ledger: Ledger) -> None:
    ledger.save_usage(
        [life(native_id=str(number), project=f"p{number}", cost_usd=1.0) for number in range(150)]
    )
    found = {name: value for name, value in told(ledger).items() if name[0] == "hybrid_hpc_cost_usd_total"}
    assert len(found) == 101
    assert sum(found.values()) == pytest.approx(150)
    assert found[key("cost_usd_total", cluster="onprem", project="(others)")] == pytest.approx(50)


@pytest.mark.usefixtures("airflow")
def test_a_hostile_project_cannot_break_out_of_its_label(ledger: Ledger) -> None:
    name = 'x"} 1\nhybrid_hpc_alerts{cluster="fake\\'
    ledger.save_usage([life(project=name, cost_usd=1.0)])
    found = told(ledger)
    assert found[key("cost_usd_total", cluster="onprem", project=name)] == 1.0
    assert not [labels for family, labels in found if family == "hybrid_hpc_alerts"]


@pytest.mark.usefixtures("airflow")
def test_an_empty_ledger_is_told_too(ledger: Ledger) -> None:
    found = told(ledger)
    assert {name for name, _ in found} == {"hybrid_hpc_breaker_open"}


@pytest.fixture
def client(airflow: SimpleNamespace, full: Ledger, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The app as Airflow mounts it, with a token set."""
    from hybrid_hpc.ledger.database import utc_now  # noqa: PLC0415
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415
    from hybrid_hpc_airflow.web.metrics_app import make_metrics_app  # noqa: PLC0415

    set_token(monkeypatch, TOKEN)
    app = make_metrics_app()
    app.dependency_overrides[dependencies.ledger] = lambda: full
    app.dependency_overrides[utc_now] = lambda: NOW
    return TestClient(app)


def set_token(monkeypatch: pytest.MonkeyPatch, password: str | None) -> None:
    """As the password of the Airflow connection."""
    import json  # noqa: PLC0415

    value = json.dumps({"conn_type": "http", "password": password})
    monkeypatch.setenv("AIRFLOW_CONN_HYBRID_HPC_METRICS", value)


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_who_bears_the_token_gets_the_metrics(client: TestClient) -> None:
    answer = client.get("/metrics", headers=bearing(TOKEN))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'hybrid_hpc_alerts{cluster="onprem",kind="unknown"} 1.0' in answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearing("wrong"),
        bearing(TOKEN[:-1]),
        bearing(TOKEN + "x"),
        bearing(""),
        {"Authorization": f"Basic {TOKEN}"},
    ],
)
def test_nobody_else_does(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.get("/metrics", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "hybrid_hpc_" not in answer.text


def test_the_token_in_the_address_opens_nothing(client: TestClient) -> None:
    assert client.get(f"/metrics?token={TOKEN}&access_token={TOKEN}").status_code == 401


@pytest.mark.parametrize("password", [None, "", "short"])
def test_without_a_token_that_is_good_for_it_the_route_is_not_there_and_the_log_says_what_to_do(
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    password: str | None,
) -> None:
    set_token(monkeypatch, password)
    with caplog.at_level(logging.WARNING, "hybrid_hpc_airflow.web.metrics_app"):
        answers = [
            client.get("/metrics", headers=headers)
            for headers in ({}, bearing(password or ""), bearing(TOKEN))
        ]
    assert {answer.status_code for answer in answers} == {404}
    assert "give the Airflow connection hybrid_hpc_metrics a password" in caplog.text


def test_without_the_connection_it_is_not_there_either(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_HYBRID_HPC_METRICS")
    assert client.get("/metrics", headers=bearing(TOKEN)).status_code == 404


def test_the_token_guards_every_route_of_the_app_and_there_is_one(client: TestClient) -> None:
    from hybrid_hpc_airflow.web.metrics_app import let_in, make_metrics_app  # noqa: PLC0415
    from tests.unit.test_web_app import calls  # noqa: PLC0415

    (route,) = make_metrics_app().routes
    assert let_in in set(calls(route.dependant))  # type: ignore[attr-defined]
    for path in ("/", "/docs", "/openapi.json"):
        assert client.get(path, headers=bearing(TOKEN)).status_code == 404


def test_a_ledger_that_does_not_answer_fails_the_scrape(client: TestClient, tmp_path: Path) -> None:
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415

    gone = Ledger(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    app: Any = client.app
    app.dependency_overrides[dependencies.ledger] = lambda: gone
    answer = client.get("/metrics", headers=bearing(TOKEN))
    assert answer.status_code == 503
    assert answer.text.startswith("the ledger's database does not answer")


def test_the_token_is_compared_in_constant_time() -> None:
    """By the standard library's own; `==` ends at the first letter that differs."""
    import ast  # noqa: PLC0415

    from lab.layout import PROJECT  # noqa: PLC0415

    source = (PROJECT / "plugins/hybrid_hpc_airflow/web/metrics_app.py").read_text()
    (function,) = [node for node in ast.parse(source).body if getattr(node, "name", "") == "let_in"]
    assert "compare_digest" in ast.dump(function)
    assert not [node for node in ast.walk(function) if isinstance(node, ast.Eq | ast.NotEq)]
