"""What the ledger's tests share."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from hybrid_hpc.ledger.database import make_engine
from lab.postgres import Postgres

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def empty(server: Postgres) -> str:
    """Takes every table out of the server's database; gives its URL."""
    url = server.url("ledger")
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return url
