"""A promise about secrets: they are in no log, in no XCom and nowhere in the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import make_url

from lab import cloud
from tests.e2e.house import House


@pytest.fixture(scope="module")
def secrets(house: House) -> dict[str, str]:
    """Every password and key of the stack by name."""
    keys, layout = house.stack.airflow.keys, house.stack.lab.layout
    of_airflow = {f"{user}'s password": text for user, text in keys.passwords.items()}
    return {
        **of_airflow,
        "fernet key": keys.fernet_key,
        "JWT secret": keys.jwt_secret,
        "API secret": keys.api_secret_key,
        "CycleCloud's password": cloud.password(layout),
        "accounting's password": (layout.folder / "db" / "password").read_text(),
        **{f"{name} database's password": _password(house, name) for name in ("ledger", "airflow")},
    }


@pytest.fixture(scope="module", autouse=True)
def _something_was_logged(house: House) -> None:
    """One job on each cluster that fails: tracebacks tell most."""
    terms = {"script": "#!/bin/bash\nexit 1\n", "walltime": "10"}
    runs = [house.scientist.start(name="fails", cluster=name, **terms) for name in ("onprem", "azure")]
    assert house.ended(*runs) == ["failed", "failed"]


def test_no_log_holds_a_secret(house: House, secrets: dict[str, str]) -> None:
    logs = list(_logs(house.stack.folder))
    found = {
        (name, str(path.relative_to(house.stack.folder)))
        for path in logs
        for name in _held(path.read_text(errors="replace"), secrets)
    }
    assert {"triggerer.log", "onprem-sshd.log", "cyclecloud.log"} <= {path.name for path in logs}
    assert found == set()


@pytest.mark.parametrize("database", ["ledger", "airflow"])
def test_no_table_holds_a_secret(house: House, secrets: dict[str, str], database: str) -> None:
    url = house.stack.postgres.url(database).replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(url) as connection:
        tables = [str(row[0]) for row in connection.execute(_TABLES)]
        found = {
            (name, table)
            for table in tables
            for row in connection.execute(f'SELECT t::text FROM "{table}" t')  # noqa: S608
            for name in _held(row[0], secrets)
        }
    assert tables
    assert found == set()


def _password(house: House, database: str) -> str:
    return str(make_url(house.stack.postgres.url(database)).password)


_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"


def _logs(folder: Path) -> Iterator[Path]:
    """Every log file: Airflow's components', its tasks', the lab's."""
    for path in folder.rglob("*"):
        is_log = path.suffix == ".log" or "logs" in path.parts or "log" in path.parts
        if is_log and path.is_file() and not path.is_symlink():
            yield path


def _held(text: str, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if secret in text or quote(secret, safe="") in text]
