"""The ledger's migrations, run from code: there is no alembic.ini to find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.engine import URL

from hybrid_hpc.ledger.database import make_engine
from hybrid_hpc.ledger.tables import Base

MIGRATIONS = Path(__file__).parent / "migrations"
ONE_AT_A_TIME = 7_423_001  # key of PostgreSQL's advisory lock
MIGRATION_TIMEOUT_S = 3600


def upgrade(url: str | URL, revision: str = "head") -> None:
    """Brings the tables up to ``revision``; several at once wait for each other."""
    with _config(url) as config:
        command.upgrade(config, revision)


def downgrade(url: str | URL, revision: str) -> None:
    """Takes the tables back to ``revision``; ``base`` removes them all, with what is in them."""
    with _config(url) as config:
        command.downgrade(config, revision)


def current(url: str | URL) -> str | None:
    """The revision that the database is at, None for an empty one."""
    with _connection(url) as connection:
        return MigrationContext.configure(connection).get_current_revision()


def differences(url: str | URL) -> list[Any]:
    """What the tables in the database lack or have too much against `tables`; [] when they are equal."""
    with _connection(url) as connection:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))


@contextmanager
def _config(url: str | URL) -> Iterator[Config]:
    with _connection(url) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ONE_AT_A_TIME})
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        yield config


@contextmanager
def _connection(url: str | URL) -> Iterator[Connection]:
    engine = make_engine(_text(url), statement_timeout_s=MIGRATION_TIMEOUT_S)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def _text(url: str | URL) -> str:
    return url if isinstance(url, str) else url.render_as_string(hide_password=False)
