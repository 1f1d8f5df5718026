"""An empty ledger on each kind of database (pytest plugin)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_hpc.ledger import Ledger
from lab.postgres import Postgres
from lab.processes import free_base_port
from tests.unit.ledger_databases import NOW, empty


@pytest.fixture(scope="session")
def ledger_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of its own, gone at the end."""
    made = Postgres(tmp_path_factory.mktemp("postgres"), free_base_port(1), databases=("ledger",))
    made.up()
    yield made
    made.down()


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/100%.db"
    server: Postgres = request.getfixturevalue("ledger_server")
    return empty(server)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger with all its tables, whose clock stands still."""
    made = Ledger(ledger_url, clock=lambda: NOW)
    made.migrate()
    yield made
    made.close()
