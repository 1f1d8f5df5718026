"""Secrets are in no log, XCom, rendered template or ledger row, on no command line and in no job's folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]
import psycopg
import pytest
from sqlalchemy import make_url

from lab import cloud, ssh
from tests.e2e.house import House

LOOK_AGAIN_S = 0.02  # sbatch lives for longer


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
        "SSH key": _body(ssh.ssh_folder(layout) / "id_ed25519"),
        **{
            f"{c.name}'s munge key": (layout.folder / c.name / "munge" / "key").read_text()
            for c in layout.clusters
        },
    }


@pytest.fixture(scope="module", autouse=True)
def command_lines(house: House) -> set[str]:
    """Every command line that was seen while a job on each cluster failed: tracebacks tell most.

    It outputs its environment and arguments, so that what it was given would be seen.
    """
    script = "#!/bin/bash\nenv\ntr '\\0' ' ' </proc/$PPID/cmdline\nsleep 5\nexit 1\n"
    with _watched_processes() as seen:
        terms = {"script": script, "walltime": "10", "outputs": ["*"]}
        runs = [house.scientist.start(name="fails", cluster=name, **terms) for name in ("onprem", "azure")]
        assert house.ended(*runs) == ["failed", "failed"]
    return seen


def test_no_log_holds_a_secret(house: House, secrets: dict[str, str]) -> None:
    logs = list(_logs(house.stack.folder))
    found = {
        (name, str(path.relative_to(house.stack.folder)))
        for path in logs
        for name in _held(path.read_text(errors="replace"), secrets)
    }
    assert {"triggerer.log", "onprem-sshd.log", "cyclecloud.log"} <= {path.name for path in logs}
    assert found == set()


def test_no_process_shows_a_secret_in_its_command_line(
    command_lines: set[str], secrets: dict[str, str]
) -> None:
    for program in ("slurmctld", "sshd", "slurm_script", "airflow"):
        assert any(program in line for line in command_lines), program
    assert {(name, line) for line in command_lines for name in _held(line, secrets)} == set()


def test_no_file_of_a_job_holds_a_secret(house: House, secrets: dict[str, str]) -> None:
    """Its run directory there, and what came back here: its own environment is in its output."""
    folders = [house.site(name).files for name in ("onprem", "azure")] + [house.stack.results]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"script", "output.log"} <= {path.name for path in files}
    found = {(name, path) for path in files for name in _held(path.read_text(errors="replace"), secrets)}
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


@contextmanager
def _watched_processes() -> Iterator[set[str]]:
    """Looks at the command lines of all processes until the end, as anybody on the machine can."""
    seen, over = set[str](), threading.Event()

    def watch() -> None:
        while not over.wait(LOOK_AGAIN_S):
            seen.update(
                " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])
            )

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def _body(key: Path) -> str:
    """The line with the secret of an ed25519 key: those before it are of all keys, or public."""
    return key.read_text().splitlines()[-3]


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
