"""The doctor warns of prices that are off, and fails nothing for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typer.testing import CliRunner

from hybrid_hpc.__main__ import app
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.site import Site
from tests.unit.doctor_world import World
from tests.unit.price_world import price


def warnings(monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[str]:
    """What the doctor warns of in healthy clusters, with these connections."""

    async def open_site(cluster: Cluster) -> Site:
        return await World(cluster.name).open_site(cluster)

    module = cast(Any, SimpleNamespace(open_site=open_site, **more))
    monkeypatch.setitem(sys.modules, "fake_connections", module)
    monkeypatch.setenv("HYBRID_HPC_CONNECTIONS", "fake_connections")
    result = CliRunner().invoke(app, ["doctor", "azure"])
    assert result.exit_code == 0
    assert not [line for line in result.output.splitlines() if line.startswith("FAIL")]
    return [line for line in result.output.splitlines() if line.startswith("warn")]


def test_without_a_ledger_the_shipped_prices_count_and_their_age_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (line,) = warnings(monkeypatch)
    assert "azure      prices" in line
    assert "days ago => Unpause the DAG hpc_prices" in line


def test_a_price_that_the_ledger_knows_better_is_told_with_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    ledger.migrate()
    sizes = {"Standard_F16s_v2": 0.9, "Standard_HB120rs_v3": 3.6, "Standard_NC24ads_A100_v4": 3.67}
    ledger.save_prices([price(size, usd, as_of=utc_now().date()) for size, usd in sizes.items()])
    (line,) = warnings(monkeypatch, open_ledger=lambda: ledger)
    ledger.close()
    assert "htc: Standard_F16s_v2 costs 0.67 USD per hour in clusters.yaml, 0.90 in eastus" in line
    assert "=> Correct the price in clusters.yaml" in line
