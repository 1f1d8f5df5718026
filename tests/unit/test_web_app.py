"""Promises about the pages' app: nothing without a login, nothing without the right, trouble in sentences."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from lab.layout import PROJECT
from lab.processes import free_base_port
from tests.unit.ledger_databases import NOW
from tests.unit.web_world import add_job, reconciled, shut

PLUGIN = PROJECT / "plugins" / "hybrid_hpc_plugin.py"
PAGE = "/"
BUDGETS = "/budgets"
ENDED = "/jobs"
RUN = "/runs/hpc_job/manual__nothing"
JSON = (
    *("/api/alerts", "/api/clusters", "/api/jobs", "/api/breakers", "/api/reconciliation"),
    *("/api/usage", "/api/usage/jobs", "/api/budgets"),
)
FILES = (
    *("/static/hpc.css", "/static/hpc.js", "/static/icon.svg", "/static/icon-dark.svg"),
    *("/static/usage.css", "/static/usage.js", "/usage/table.csv", "/usage/jobs.parquet"),
)
KEPT = f"/static/plotly-{version('plotly')}.min.js"
EXPORTS = ("/exports/focus.csv", "/exports/focus.csv?month=2026-03", "/reports/2026-03.html")
EVERYTHING = (PAGE, ENDED, RUN, BUDGETS, "/usage", "/usage/jobs", *JSON, *FILES, KEPT, *EXPORTS)
KEPT_FOREVER = "private, max-age=31536000, immutable"
JOB = "/jobs/hh-nothing"


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What of Airflow the app needs, imported with nobody's settings."""
    if "airflow" not in sys.modules:
        os.environ["AIRFLOW_HOME"] = str(tmp_path_factory.mktemp("airflow"))
        os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    from airflow.api_fastapi import app as airflow_app  # noqa: PLC0415  after the environment is set
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import (  # noqa: PLC0415
        SimpleAuthManager,
    )
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415

    return SimpleNamespace(
        auth=airflow_app._AuthManagerState,
        manager=SimpleAuthManager,
        user=SimpleAuthManagerUser,
        get_user=get_user,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def app(airflow: SimpleNamespace, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    """The app over a ledger of its own, in an Airflow where nobody is logged in yet."""
    from hybrid_hpc_airflow.web import app as web  # noqa: PLC0415  it imports airflow
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415

    monkeypatch.setattr(airflow.auth, "instance", airflow.manager())
    made = web.make_app()
    made.dependency_overrides[dependencies.ledger] = lambda: ledger
    made.dependency_overrides[utc_now] = lambda: NOW + timedelta(seconds=4)
    return made


@pytest.fixture
def nobody(app: FastAPI) -> TestClient:
    return TestClient(app)


@pytest.fixture
def viewer(app: FastAPI, airflow: SimpleNamespace) -> TestClient:
    return log_in(app, airflow, "viewer")


def log_in(app: FastAPI, airflow: SimpleNamespace, role: str | None) -> TestClient:
    app.dependency_overrides[airflow.get_user] = lambda: airflow.user(username="vera", role=role)
    return TestClient(app)


def calls(dependant: Dependant) -> Iterator[Any]:
    for each in dependant.dependencies:
        yield each.call
        yield from calls(each)


def test_every_route_of_the_app_asks_for_the_login_and_for_the_right(
    app: FastAPI, airflow: SimpleNamespace
) -> None:
    from hybrid_hpc_airflow.web.access import reader  # noqa: PLC0415

    assert len(app.routes) == 21
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is no route that can ask"
        assert {reader, airflow.get_user} <= set(calls(route.dependant)), route.path
        assert route.methods == {"GET"}, route.path


@pytest.mark.parametrize("path", [*EVERYTHING, JOB])
def test_without_a_login_every_path_answers_401(nobody: TestClient, path: str) -> None:
    answer = nobody.get(path)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Not authenticated"}


@pytest.mark.parametrize("path", [*EVERYTHING, JOB])
def test_without_the_right_to_read_the_runs_every_path_answers_403(
    app: FastAPI, airflow: SimpleNamespace, path: str
) -> None:
    assert log_in(app, airflow, None).get(path).status_code == 403


@pytest.mark.parametrize("path", EVERYTHING)
def test_a_viewer_may_see_everything(viewer: TestClient, path: str) -> None:
    assert viewer.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/static/../app.py", "/static/app.py"])
def test_there_is_nothing_else(viewer: TestClient, path: str) -> None:
    assert viewer.get(path).status_code == 404


@pytest.mark.parametrize("path", [*EVERYTHING, JOB, "/nothing"])
def test_every_answer_forbids_what_is_not_the_pages_own(
    nobody: TestClient, app: FastAPI, airflow: SimpleNamespace, path: str
) -> None:
    refused = nobody.get(path)
    for answer in (refused, log_in(app, airflow, "viewer").get(path)):
        policy = answer.headers["content-security-policy"].split("; ")
        assert {"default-src 'self'", "frame-ancestors 'self'"} <= set(policy)
        assert not [part for part in policy if "unsafe" in part]
        assert answer.headers["x-content-type-options"] == "nosniff"
        kept = path == KEPT and answer.status_code == 200
        assert answer.headers["cache-control"] == (KEPT_FOREVER if kept else "no-store")


def test_the_page_of_a_job_is_for_who_may_read_its_dag_and_404_for_all_others(
    app: FastAPI, ledger: Ledger, airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(airflow.manager):  # type: ignore[misc, name-defined]
        def is_authorized_dag(self, *, details: Any = None, **_: Any) -> bool:
            return bool(details.id == "hpc_job")

    monkeypatch.setattr(airflow.auth, "instance", Strict())
    mine, theirs = add_job(ledger, 1, name="mine"), add_job(ledger, 2, name="theirs", dag_id="secret_dag")
    client = log_in(app, airflow, "viewer")
    assert "mine" in client.get(f"/jobs/{mine.token}").text
    hidden, missing = client.get(f"/jobs/{theirs.token}"), client.get(JOB)
    assert (hidden.status_code, hidden.text) == (404, missing.text)


def test_a_user_sees_their_own_jobs_unless_they_ask_and_who_runs_the_site_or_only_looks_sees_all(
    app: FastAPI, ledger: Ledger, airflow: SimpleNamespace
) -> None:
    add_job(ledger, 1, name="hers", by="vera")
    add_job(ledger, 2, name="his", by="bob")
    shown = {}
    for role in ("viewer", "user", "op", "admin"):
        client = log_in(app, airflow, role)
        pages = [client.get(f"/{query}").text for query in ("", "?whose=all", "?whose=mine")]
        shown[role] = [[name for name in ("hers", "his") if f">{name}</a>" in page] for page in pages]
    everybody, own = ["hers", "his"], ["hers"]
    assert shown == {
        "viewer": [everybody, everybody, own],
        "user": [own, everybody, own],
        "op": [everybody, everybody, own],
        "admin": [everybody, everybody, own],
    }


def test_the_api_tells_everybodys_jobs_unless_ones_own_are_asked_for(
    app: FastAPI, ledger: Ledger, airflow: SimpleNamespace
) -> None:
    add_job(ledger, 1, name="hers", by="vera")
    add_job(ledger, 2, name="his", by="bob")
    client = log_in(app, airflow, "user")
    assert [job["name"] for job in client.get("/api/jobs").json()["jobs"]] == ["his", "hers"]
    mine = client.get("/api/jobs?whose=mine").json()
    assert ([job["name"] for job in mine["jobs"]], mine["total"], mine["others"]) == (["hers"], 1, 1)


def test_a_run_turns_to_the_page_of_its_job_and_one_of_a_hidden_dag_is_not_there(
    app: FastAPI, ledger: Ledger, airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(airflow.manager):  # type: ignore[misc, name-defined]
        def is_authorized_dag(self, *, details: Any = None, **_: Any) -> bool:
            return bool(details.id == "hpc_job")

    monkeypatch.setattr(airflow.auth, "instance", Strict())
    run_id = "manual__2026-03-29T01:30:00+00:00"
    row = add_job(ledger, 1, run_id=run_id)
    add_job(ledger, 2, dag_id="secret_dag", run_id="r")
    client = log_in(app, airflow, "viewer")
    for address in (f"/runs/hpc_job/{run_id}", f"/runs/hpc_job/{quote(run_id, safe='')}?group=&map_index=-1"):
        answer = client.get(address, follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, f"../../jobs/{row.token}")
        assert client.get(address).url.path == f"/jobs/{row.token}"
    assert "This run has no HPC job" in client.get("/runs/hpc_job/none").text
    assert client.get("/runs/secret_dag/r").status_code == 404


@pytest.mark.parametrize("query", ["?state=nonsense", "?state=running", "?before=hh-nothing", "?q=%25"])
def test_a_search_for_nonsense_answers_all_the_same(viewer: TestClient, query: str) -> None:
    assert viewer.get(f"{ENDED}{query}").status_code == 200


@pytest.mark.parametrize(
    "path",
    [f"/jobs?q={'x' * 201}", "/jobs?whose=theirs", "/jobs?q=%00", "/jobs/%00", "/runs/hpc_job/%00"],
)
def test_what_cannot_be_meant_is_refused_before_the_ledger_is_asked(viewer: TestClient, path: str) -> None:
    assert viewer.get(path).status_code == 422


@pytest.mark.parametrize(
    ("base_url", "link"),
    [
        ("", "/plugin/hpc/hpc/runs/d/r%3A1%2B2?group=g&map_index=3"),
        ("http://a:1", "http://a:1/plugin/hpc/hpc/runs/d/r%3A1%2B2?group=g&map_index=3"),
        ("https://a/below/", "https://a/below/plugin/hpc/below/hpc/runs/d/r%3A1%2B2?group=g&map_index=3"),
    ],
)
def test_a_task_leads_to_the_page_of_its_job_in_airflows_frame(
    airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, base_url: str, link: str
) -> None:
    from airflow.configuration import conf  # noqa: PLC0415  after the environment is set

    from hybrid_hpc_airflow.job_link import JobPageLink  # noqa: PLC0415

    monkeypatch.setattr(conf, "get", lambda *_, **__: base_url)
    key: Any = SimpleNamespace(dag_id="d", run_id="r:1+2", map_index=3)
    operator: Any = SimpleNamespace(group="g")
    assert JobPageLink().get_link(operator, ti_key=key) == link


def test_the_page_and_its_files_are_what_they_say(viewer: TestClient) -> None:
    assert viewer.get(PAGE).headers["content-type"] == "text/html; charset=utf-8"
    assert viewer.get("/static/hpc.css").headers["content-type"].startswith("text/css")
    assert viewer.get("/static/hpc.js").headers["content-type"].startswith("text/javascript")
    assert viewer.get("/static/icon.svg").headers["content-type"] == "image/svg+xml"


def test_the_api_tells_what_the_page_tells(viewer: TestClient, ledger: Ledger) -> None:
    row = add_job(ledger, 1, JobState.RUNNING, name="wing", sentence="onprem: running on node n1")
    ledger.raise_alert(row.token, "unknown", "wing is lost", cluster="onprem")
    shut(ledger, "azure", "the host key has changed")
    reconciled(ledger, {"cluster": "azure", "token": "hh-1", "action": "cancel", "age_s": 5})
    jobs = viewer.get("/api/jobs").json()
    assert (jobs["total"], jobs["hidden"], len(jobs["jobs"])) == (1, 0, 1)
    job = jobs["jobs"][0]
    assert (job["name"], job["native_id"], job["state"], job["stage"]) == (
        "wing",
        "1001",
        "running",
        "running",
    )
    assert job["state_seen_at"] == "2026-03-29T01:30:00Z"
    assert "request" not in job
    assert [alert["sentence"] for alert in viewer.get("/api/alerts").json()] == ["wing is lost"]
    ways = {way["target"]: way for way in viewer.get("/api/breakers").json()}
    assert (ways["azure"]["state"], ways["azure"]["why"]) == ("open", "the host key has changed")
    assert ways["azure CycleCloud"]["state"] == "closed"
    found = viewer.get("/api/reconciliation").json()
    assert (found["total"], found["findings"][0]["native_id"]) == (1, "")


def test_the_api_lists_as_many_jobs_as_asked_for_and_no_nonsense(viewer: TestClient, ledger: Ledger) -> None:
    for number in range(3):
        add_job(ledger, number)
    assert [job["name"] for job in viewer.get("/api/jobs?limit=2").json()["jobs"]] == ["job-2", "job-1"]
    assert viewer.get("/api/jobs?limit=0").status_code == 422
    assert viewer.get("/api/reconciliation").json() is None


def test_a_ledger_that_does_not_answer_is_told_in_a_sentence(app: FastAPI, viewer: TestClient) -> None:
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415

    gone = Ledger(f"postgresql://a:s3cret@127.0.0.1:{free_base_port(1)}/ledger")
    app.dependency_overrides[dependencies.ledger] = lambda: gone
    page = viewer.get(PAGE)
    assert page.status_code == 503
    assert "the ledger&#39;s database does not answer" in page.text
    for path in JSON:
        answer = viewer.get(path)
        assert answer.status_code == 503, path
        assert answer.json()["detail"].startswith("the ledger's database does not answer"), path
        assert "s3cret" not in answer.text + page.text
        assert "Traceback" not in answer.text + page.text


def test_a_missing_connection_and_a_wrong_clusters_file_are_told_too(
    app: FastAPI, viewer: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415

    (tmp_path / "clusters.yaml").write_text("clusters: 7\n")
    monkeypatch.setenv("HYBRID_HPC_CLUSTERS", str(tmp_path / "clusters.yaml"))
    wrong = viewer.get(PAGE)
    assert (wrong.status_code, "clusters.yaml:1" in wrong.text) == (503, True)
    monkeypatch.delenv("HYBRID_HPC_CLUSTERS")
    del app.dependency_overrides[dependencies.ledger]
    monkeypatch.delenv("AIRFLOW_CONN_HYBRID_HPC_LEDGER", raising=False)
    missing = viewer.get("/api/alerts")
    assert missing.status_code == 503
    assert missing.json() == {
        "detail": "Airflow has no connection hybrid_hpc_ledger: an administrator must make it"
    }


def test_a_wrong_budgets_file_is_told_too_and_a_month_that_is_none_is_refused(
    viewer: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert viewer.get("/api/budgets?month=2025-12").json()["title"] == "December 2025"
    for month in ("2026-13", "march", "0000-01", "2026-03%0A"):
        assert viewer.get(f"{BUDGETS}?month={month}").status_code == 422, month
    (tmp_path / "budgets.yaml").write_text("projects: 7\n")
    monkeypatch.setenv("HYBRID_HPC_BUDGETS", str(tmp_path / "budgets.yaml"))
    wrong = viewer.get(BUDGETS)
    assert (wrong.status_code, "budgets.yaml:1" in wrong.text) == (503, True)


def test_a_user_sees_only_jobs_whose_runs_they_may_read(
    app: FastAPI, ledger: Ledger, airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Strict(airflow.manager):  # type: ignore[misc, name-defined]
        def is_authorized_dag(self, *, details: Any = None, access_entity: Any = None, **_: Any) -> bool:
            return bool(details.id == "hpc_job" and access_entity.value == "RUN")

    monkeypatch.setattr(airflow.auth, "instance", Strict())
    add_job(ledger, 1, name="mine")
    add_job(ledger, 2, name="theirs", dag_id="secret_dag")
    client = log_in(app, airflow, "viewer")
    jobs = client.get("/api/jobs").json()
    assert ([job["name"] for job in jobs["jobs"]], jobs["hidden"]) == (["mine"], 1)
    assert "theirs" not in client.get(PAGE).text


def test_the_plugin_file_imports_nothing_but_airflows_plugin_class() -> None:
    """Every Airflow process loads it, the triggerer and each task, too."""
    nodes = ast.parse(PLUGIN.read_text()).body
    modules = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert modules == {"__future__", "functools", "typing", "airflow.plugins_manager"}
    assert not [node for node in nodes if isinstance(node, ast.Import)]
