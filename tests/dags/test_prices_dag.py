"""hpc_prices: off until somebody wants it; what it brings is kept, what it cannot bring is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.ledger import Ledger
from tests.unit.price_world import PriceServer, item, page, price_server


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger", lambda: made)
    yield made
    made.close()


def refresh(server: PriceServer) -> int:
    from hybrid_hpc_airflow.prices import RefreshPricesOperator  # noqa: PLC0415

    return RefreshPricesOperator(task_id="refresh_prices", address=server.url).execute({})


def test_it_is_paused_until_somebody_unpauses_it_and_runs_weekly(dagbag: Any) -> None:
    dag = dagbag.dags["hpc_prices"]
    assert dag.is_paused_upon_creation
    assert dag.timetable.expression == "30 5 * * 1"
    assert dag.task_ids == ["refresh_prices"]


def test_what_came_is_in_the_ledger_and_what_did_not_in_the_log(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    with price_server(page([item()]), page([])) as server:
        assert refresh(server) == 1
    assert [(row.meter, row.usd) for row in ledger.newest_prices()] == [("Standard_F16s_v2", 0.677)]
    assert re.search(r"Azure tells no price of: .*Standard_HB120rs_v3 in eastus", capsys.readouterr().out)


def test_without_an_answer_nothing_is_written_and_the_task_says_why(ledger: Ledger) -> None:
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    with (
        price_server(page([item()]), (400, b"", {})) as server,
        pytest.raises(AirflowFailException, match=r"no prices were brought: .* answers 400"),
    ):
        refresh(server)
    assert ledger.newest_prices() == []
