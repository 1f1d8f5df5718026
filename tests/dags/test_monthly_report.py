"""hpc_monthly_report: the month before, or the one asked for, as a file that is whole or as before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.months import month_before
from tests.unit.usage_world import life


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    made.save_usage([life(cost_usd=1.25)])
    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger", lambda: made)
    yield made
    made.close()


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Airflow's variables, and a home of its own."""
    found: dict[str, str] = {}

    def get(name: str, default: str | None = None) -> str | None:
        return found.get(name, default)

    monkeypatch.setattr("hybrid_hpc_airflow.monthly.Variable.get", get)
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "home"))
    return found


def write(folder: Path | str = "", **params: Any) -> Path:
    from hybrid_hpc_airflow.monthly import MonthlyReportOperator  # noqa: PLC0415

    task = MonthlyReportOperator(task_id="write_report", folder=str(folder))
    return Path(task.execute({"params": {"month": None, "persons": True, **params}}))


def test_it_runs_on_the_first_of_each_month_and_takes_a_month_by_hand(dagbag: Any) -> None:
    dag = dagbag.dags["hpc_monthly_report"]
    assert dag.timetable.expression == "0 6 1 * *"
    assert dag.params["month"] is None
    pattern = dag.params.get_param("month").schema["pattern"]
    assert [bool(re.match(pattern, text)) for text in ("2026-03", "2026-13", "2026-3", "x2026-03")] == [
        True,
        False,
        False,
        False,
    ]


@pytest.mark.usefixtures("ledger", "variables")
def test_the_file_is_that_of_the_month_and_the_log_says_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "out", month="2026-03")
    assert file == tmp_path / "out" / "hpc-2026-03.html"
    html = file.read_text()
    assert "<h1>HPC usage in 2026-03</h1>" in html
    assert "alice" in html
    assert file.stat().st_mode & 0o777 == 0o640
    said = capsys.readouterr().out
    assert "onprem: 1 jobs, 4.0 core-hours, 1.25 USD" in said
    assert f"written to {file}" in said


@pytest.mark.usefixtures("ledger", "variables")
def test_without_a_month_it_is_the_one_before_and_without_persons_none_is_named(tmp_path: Path) -> None:
    month = month_before(datetime.now(UTC))
    assert write(tmp_path / "out").name == f"hpc-{month}.html"
    assert "alice" not in write(tmp_path / "out", month="2026-03", persons=False).read_text()


@pytest.mark.usefixtures("ledger")
def test_the_folder_is_the_variables_else_below_airflows_home(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    assert write(month="2026-03").parent == tmp_path / "home" / "reports"
    variables["hybrid_hpc_reports"] = str(tmp_path / "shared")
    assert write(month="2026-03").parent == tmp_path / "shared"


@pytest.mark.usefixtures("variables")
def test_twice_is_once_and_nothing_else_is_left(ledger: Ledger, tmp_path: Path) -> None:
    write(tmp_path / "out", month="2026-03")
    ledger.save_usage([life(native_id="18", cost_usd=1.0)])
    file = write(tmp_path / "out", month="2026-03")
    assert list((tmp_path / "out").iterdir()) == [file]
    assert "2.25" in file.read_text()


@pytest.mark.usefixtures("ledger", "variables")
def test_what_is_no_month_fails_for_good_in_words(tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowFailException, match="Write year and month: 2026-03"):
        write(tmp_path, month="March")


@pytest.mark.usefixtures("ledger", "variables")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    (tmp_path / "file").write_text("")
    with pytest.raises(AirflowException, match=r"no report was written: .*file"):
        write(tmp_path / "file" / "out", month="2026-03")


@pytest.mark.usefixtures("variables")
def test_without_a_ledger_the_file_stays_as_it_was(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    file = write(tmp_path / "out", month="2026-03")
    before = file.read_text()
    gone = Ledger(f"sqlite:///{tmp_path}/no/such/folder/x.db")
    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger", lambda: gone)
    with pytest.raises(AirflowException, match=r"no report was written: the ledger"):
        write(tmp_path / "out", month="2026-03")
    assert file.read_text() == before
