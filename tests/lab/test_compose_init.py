"""The init job of docker-compose.yaml does its work: its steps, in its environment, on a real PostgreSQL."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from hybrid_hpc_airflow.roles import ROLES
from lab import compose, compose_settings, make_env
from lab.layout import PROJECT
from lab.postgres import Postgres
from lab.processes import free_base_port


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    server = Postgres(tmp_path_factory.mktemp("compose") / "postgres", free_base_port(1))
    server.up()
    yield server
    server.down()


@pytest.fixture(scope="module")
def secrets(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An .env as lab/make_env.py makes it, with the passwords of this PostgreSQL."""
    file = tmp_path_factory.mktemp("env") / ".env"
    make_env.complete(file)
    made = dict(re.findall(r"^(\w+)=(.*)$", file.read_text(), re.MULTILINE))
    passwords = {"POSTGRES_PASSWORD": "airflow", "LEDGER_PASSWORD": "ledger"}
    return made | {
        name: (postgres.folder / f"{user}.password").read_text() for name, user in passwords.items()
    }


def filled_in(text: str, values: Mapping[str, str]) -> str:
    """As compose does it: ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?message}``."""

    def value(found: re.Match[str]) -> str:
        name, sign, rest = found.groups()
        return values.get(name) or (rest if sign == ":-" else pytest.fail(f"{name} is not set"))

    return re.sub(r"\$\{(\w+)(:-|:\?)?([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def done(
    postgres: Postgres, secrets: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """The steps, run with this machine's paths in place of the container's."""
    init: dict[str, Any] = yaml.safe_load(compose.FILE.read_text())["services"]["init"]
    home = tmp_path_factory.mktemp("home")
    given = {
        name: here(filled_in(text, secrets), postgres, home) for name, text in init["environment"].items()
    }
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {"PATH": path, "AIRFLOW_HOME": str(home), "HOME": str(home), **given}
    return subprocess.run(init["command"], env=env, cwd=home, capture_output=True, text=True, check=False)


def here(text: str, postgres: Postgres, home: Path) -> str:
    text = text.replace("@postgres/", f"@127.0.0.1:{postgres.port}/")
    text = text.replace(compose_settings.LOGINS, str(PROJECT / "include/logins/database.py"))
    text = text.replace(f"{compose_settings.HOME}/logs", str(home / "logs"))
    return text.replace(compose_settings.HOME, str(PROJECT))


def asked(postgres: Postgres, database: str, query: str) -> set[tuple[Any, ...]]:
    with psycopg.connect(postgres.url(database).replace("+psycopg", "")) as connection:
        return set(connection.execute(query).fetchall())


def test_it_ends_well_and_tells_no_secret(
    done: subprocess.CompletedProcess[str], secrets: dict[str, str]
) -> None:
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-3000:]
    assert not [name for name in compose_settings.SECRETS if secrets[name] in told]


def test_the_roles_and_the_first_users_are_there(
    done: subprocess.CompletedProcess[str], postgres: Postgres
) -> None:
    roles = {name for (name,) in asked(postgres, "airflow", "SELECT name FROM ab_role")}
    assert {*ROLES, "Admin", "Viewer"} <= roles
    query = (
        "SELECT u.username, r.name FROM ab_user u JOIN ab_user_role ur ON ur.user_id = u.id"
        " JOIN ab_role r ON r.id = ur.role_id"
    )
    assert asked(postgres, "airflow", query) == {("admin", "Admin"), ("service", "Service")}


def test_the_ledger_has_its_tables(done: subprocess.CompletedProcess[str], postgres: Postgres) -> None:
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    assert {("jobs",), ("decisions",)} <= asked(postgres, "ledger", query)
