"""The migrations make exactly the tables that the code declares, and take them away again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import inspect

from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger, migrate
from hybrid_hpc.ledger.__main__ import URL_VARIABLE, main
from hybrid_hpc.ledger.database import make_engine
from hybrid_hpc.ledger.history import JobSearch
from lab.postgres import Postgres
from tests.unit.ledger_databases import empty

pytest_plugins = ["tests.unit.ledger_fixtures"]

NEWEST = max(path.name[1:5] for path in migrate.MIGRATIONS.glob("versions/v*.py"))
TABLES = {
    "alembic_version",
    "alerts",
    "azure_prices",
    "breakers",
    "budget_approvals",
    "budget_reservations",
    "decisions",
    "installation",
    "job_outputs",
    "jobs",
    "node_wishes",
    "node_lives",
    "reconciliations",
    "scale_requests",
    "snapshots",
    "usage_findings",
    "usage_jobs",
    "usage_longest",
    "usage_marks",
    "usage_rolled",
    "usage_rolled_causes",
    "usage_rolled_samples",
    "usage_samples",
    "usage_vm_hours",
    "watermarks",
}


def tables(url: str) -> set[str]:
    engine = make_engine(url)
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_an_upgrade_from_nothing_makes_what_the_code_declares(ledger_url: str) -> None:
    assert migrate.current(ledger_url) is None
    migrate.upgrade(ledger_url)
    assert tables(ledger_url) == TABLES
    assert migrate.differences(ledger_url) == []
    assert migrate.current(ledger_url) == NEWEST


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(ledger_url: str) -> None:
    migrate.upgrade(ledger_url)
    migrate.upgrade(ledger_url)
    assert migrate.differences(ledger_url) == []


def test_a_downgrade_takes_everything_away_and_an_upgrade_brings_it_back(ledger_url: str) -> None:
    migrate.upgrade(ledger_url)
    migrate.downgrade(ledger_url, "base")
    assert tables(ledger_url) == {"alembic_version"}
    migrate.upgrade(ledger_url)
    assert migrate.differences(ledger_url) == []


def test_the_usage_of_our_jobs_survives_the_way_up_and_down(ledger_url: str) -> None:
    before = (
        "INSERT INTO usage VALUES ('onprem', '17', '', '2026-03-29 12:00:00', 'hh-a', 'alice', 'p', 'batch', "
        "'completed', 0, 1, 4, 0, '2026-03-29 12:00:00', '2026-03-29 13:00:00', 5.0, 3600.0, 600, 4.0, 2.0, "
        "0.0, 4096, 512.0, 0.25)"
    )
    migrate.upgrade(ledger_url, "0005")
    execute(ledger_url, before)
    migrate.upgrade(ledger_url)
    ledger = Ledger(ledger_url)
    [row] = ledger.usage_of("hh-a")
    ledger.close()
    assert (row.name, row.cpu_s, row.core_h, row.cost_usd, row.node_names) == ("hh-a", 7200.0, 4.0, 0.25, ())
    migrate.downgrade(ledger_url, "0005")
    assert execute(ledger_url, "SELECT token, core_h, cpu_h, cost_usd FROM usage") == [
        ("hh-a", 4.0, 2.0, 0.25)
    ]


def test_jobs_from_before_can_be_searched_for(ledger_url: str) -> None:
    migrate.upgrade(ledger_url, "0006")
    execute(
        ledger_url,
        "INSERT INTO jobs (token, dag_id, run_id, group_id, map_index, generation, attempt, request, "
        "submitted_by, cluster, partition, run_dir, intent_at, state, reason, sentence, tasks, node_names, "
        "restarts, settled_at, outcome) VALUES ('hh-a', 'hpc_job', 'r', '', -1, 0, '0', "
        """'{"name": "Wing", "project": null, "script": "x"}', 'alice', 'onprem', 'batch', '', """
        "'2026-03-29 12:00:00', 'completed', '', '', '{}', '[]', 0, '2026-03-29 13:00:00', 'completed')",
    )
    migrate.upgrade(ledger_url)
    ledger = Ledger(ledger_url)
    search = JobSearch("wing", submitted_by="alice", outcome=JobState.COMPLETED)
    assert [row.token for row in ledger.ended_jobs({"hpc_job"}, search, limit=9)] == ["hh-a"]
    ledger.close()
    migrate.downgrade(ledger_url, "0006")
    assert execute(ledger_url, "SELECT token FROM jobs") == [("hh-a",)]


def test_requests_of_before_are_settled_from_the_lives_of_their_nodes(ledger_url: str) -> None:
    migrate.upgrade(ledger_url, "0006")
    execute(
        ledger_url,
        "INSERT INTO scale_requests (request_id, cluster, nodearray, names, for_jobs, asked_at, answered_at, "
        "added, message) VALUES ('r', 'azure', 'htc', '[\"htc-1\"]', '[]', '2026-03-29 12:00:00', "
        "'2026-03-29 12:00:00', 1, '')",
    )
    execute(
        ledger_url,
        "INSERT INTO node_lives (cluster, node_id, name, nodearray, vm_size, asked_at, up_at, seen_at) "
        "VALUES ('azure', 'id', 'htc-1', 'htc', 'F16', '2026-03-29 12:00:00', '2026-03-29 12:01:00', "
        "'2026-03-29 12:01:00')",
    )
    migrate.upgrade(ledger_url)
    ledger = Ledger(ledger_url)
    ledger.settle_requests("azure")
    (row,) = ledger.scale_requests("azure")
    ledger.close()
    assert (row.outcome, row.came) == ("came", 1)
    migrate.downgrade(ledger_url, "0006")
    assert execute(ledger_url, "SELECT name FROM node_lives") == [("htc-1",)]


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    engine = make_engine(url)
    try:
        with engine.begin() as connection:
            done = connection.exec_driver_sql(statement)
            return [tuple(row) for row in done] if done.returns_rows else []
    finally:
        engine.dispose()


def test_upgrades_at_once_wait_for_each_other(ledger_server: Postgres) -> None:
    url = empty(ledger_server)
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(Ledger(url).migrate) for _ in range(4)]
    assert [each.exception() for each in done] == [None] * 4
    assert migrate.differences(url) == []


def test_a_missing_column_is_noticed(ledger_url: str) -> None:
    """The comparison above proves nothing unless it can fail."""
    migrate.upgrade(ledger_url)
    engine = make_engine(ledger_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE scale_requests DROP COLUMN message")
    engine.dispose()
    assert len(migrate.differences(ledger_url)) == 1


def test_the_command_upgrades_shows_and_downgrades(
    ledger_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upgrade", "--url", ledger_url]) == 0
    assert main(["current", "--url", ledger_url]) == 0
    assert capsys.readouterr().out == f"The ledger is at revision {NEWEST}.\n" * 2
    assert main(["downgrade", "--url", ledger_url]) == 2
    assert "Name the revision" in capsys.readouterr().err
    assert main(["downgrade", "base", "--url", ledger_url]) == 0
    assert "base (no tables)" in capsys.readouterr().out


def test_the_command_without_a_database_says_what_it_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    assert main(["upgrade"]) == 2
    assert URL_VARIABLE in capsys.readouterr().err


def test_the_command_says_that_a_database_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["upgrade", "--url", "postgresql://ledger:secret@127.0.0.1:1/ledger"]) == 2
    said = capsys.readouterr().err
    assert "does not answer" in said
    assert "secret" not in said
