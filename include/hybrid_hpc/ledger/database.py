"""One database: its engine, short transactions, and its failures told as `Unavailable`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase

from hybrid_hpc.errors import Unavailable

CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30
UNDEFINED_TABLE = "42P01"


def utc_now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


class Database:
    """Transactions of at most half a minute over a small pool, from any thread.

    Every failure to answer is `Unavailable`. Nothing is connected before the first transaction.
    """

    def __init__(self, url: str, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._engine = make_engine(url)
        self._now = clock

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with unavailable(), self._engine.begin() as connection:
            yield connection

    def now(self) -> datetime:
        """The clock by which rows are written."""
        return self._now()

    def close(self) -> None:
        """Ends every connection; the next call makes new ones."""
        self._engine.dispose()


def make_engine(url: str, *, statement_timeout_s: int = STATEMENT_TIMEOUT_S) -> Engine:
    """An engine for a PostgreSQL (``postgresql://`` means psycopg 3) or SQLite database."""
    where = make_url(url)
    if where.drivername in ("postgres", "postgresql"):
        where = where.set(drivername="postgresql+psycopg")
    if where.get_backend_name() == "sqlite":
        return _sqlite_engine(where)
    options = f"-c statement_timeout={statement_timeout_s * 1000} -c timezone=UTC"
    return create_engine(
        where,
        pool_pre_ping=True,
        pool_size=2,
        max_overflow=6,
        pool_timeout=STATEMENT_TIMEOUT_S,
        hide_parameters=True,  # a request's environment must not reach a log by an error message
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "tcp_user_timeout": STATEMENT_TIMEOUT_S * 1000,  # a host that vanished says nothing
            "application_name": "hybrid_hpc",
            "options": options,
        },
    )


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": CONNECT_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA synchronous=OFF")  # SQLite is for unit tests: fast, not durable

    return engine


@contextmanager
def unavailable() -> Iterator[None]:
    """Turns a database that does not answer, or has no tables yet, into `Unavailable`."""
    try:
        yield
    except DBAPIError as error:
        if _has_no_tables(error):
            raise Unavailable(
                "the ledger's database has no tables yet: run `python -m hybrid_hpc.ledger upgrade`"
            ) from error
        if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
            raise Unavailable(f"the ledger's database does not answer: {_first_line(error)}") from error
        raise
    except PoolTimeoutError as error:
        raise Unavailable("the ledger's database is busy: no connection became free") from error


def _has_no_tables(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state == UNDEFINED_TABLE or str(error.orig).startswith("no such table")


def _first_line(error: DBAPIError) -> str:
    return (str(error.orig).strip() or type(error.orig).__name__).splitlines()[0]


def table(of: type[DeclarativeBase]) -> Table:
    """The plain table of a declared one."""
    found = of.__table__
    assert isinstance(found, Table)  # noqa: S101  narrows for the type checker
    return found


def insert(connection: Connection, into: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that knows ON CONFLICT, in the connection's dialect."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(into)
    return postgresql.insert(into)


def one_at_a_time(connection: Connection, what: str) -> None:
    """First in a transaction: others that say the same wait for its end (SQLite: all that write)."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(what, 0))))
