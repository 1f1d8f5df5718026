"""Airflow on this machine: api-server, scheduler, dag-processor and triggerer, kept alive by one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import psycopg

from lab import processes
from lab.airflow_api import AirflowApi
from lab.airflow_server import COMPONENTS
from lab.airflow_settings import Place, api_connection, environment
from lab.errors import LabError, tail
from lab.keys import load_or_make
from lab.layout import PROJECT

Progress = Callable[[str], None]

SERVER = "airflow"  # the process that starts the others and keeps them alive
START_DEADLINE_S = 180.0


class Airflow:
    """One Airflow; its connections get ``hybrid_hpc_api``, the way to its own REST API."""

    def __init__(self, place: Place) -> None:
        self.folder = place.home
        self.url = place.url
        self.keys = load_or_make(place.home)
        ways = {**place.connections, "hybrid_hpc_api": api_connection(place, self.keys)}
        self._place = replace(place, connections=ways)

    def environment(self) -> dict[str, str]:
        """Give what a component, or an ``airflow`` command of a person, must have as its environment."""
        return environment(self._place, self.keys, os.environ)

    def api(self, user: str = "admin") -> AirflowApi:
        """Give that user's way to the REST API."""
        return AirflowApi(self.url, user, self.keys.passwords[user])

    def migrate(self, progress: Progress) -> None:
        """Bring the metadata database to this version of Airflow; one that is there already costs nothing."""
        stamp = self.folder / "migrated"
        if stamp.is_file() and stamp.read_text() == self._schema():
            return
        progress("Airflow: making its tables")
        self._migrate()
        stamp.write_text(self._schema())

    def start(self) -> None:
        """Start it when it does not run; returns at once."""
        argv = [sys.executable, "-m", "lab.airflow_server", str(self.folder)]
        processes.start(self.folder, SERVER, argv, env=self.environment(), cwd=PROJECT)

    def wait(self, *dag_ids: str, since: datetime) -> None:
        """Wait until every component has given a sign of life, and every DAG was read, after ``since``.

        Raises LabError with the end of the log of what died, or with the error that keeps a DAG out.
        """
        api = self.api()
        self._until_nothing_is_late(lambda: [] if api.answers() else ["api-server"])
        api.warm_up()
        self._until_nothing_is_late(lambda: _late(api, dag_ids, since))
        api.close()

    def revive(self) -> bool:
        """Start it again when it has died; True when it had."""
        if processes.alive(self.folder, SERVER):
            return False
        self.start()
        return True

    def _migrate(self) -> None:
        log = self.folder / "log" / "migrate.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-m", "airflow", "db", "migrate"]
        with log.open("wb") as output:
            done = subprocess.run(
                argv, stdout=output, stderr=output, env=self.environment(), cwd=self.folder, check=False
            )
        if done.returncode != 0:
            raise LabError(f"Airflow cannot make its tables.\nThe end of {log}:\n{tail(log)}")

    def _schema(self) -> str:
        """Airflow's version and its database's: both must be those of the last migration."""
        address = self._place.database_url.replace("postgresql+psycopg", "postgresql")
        try:
            with psycopg.connect(address) as connection:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
        return f"{version('apache-airflow-core')} {row and row[0]}"

    def _check_alive(self) -> None:
        if not processes.alive(self.folder, SERVER):
            logs = [self.folder / "log" / f"{name}.log" for name in (SERVER, *COMPONENTS)]
            ends = [f"The end of {log}:\n{tail(log, 12)}" for log in logs]
            raise LabError("\n".join(["Airflow ended by itself.", *ends]))

    def _until_nothing_is_late(self, late: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while names := late():
            self._check_alive()
            if time.monotonic() > deadline:
                logs = [f"see {self.folder / 'log' / name}.log" for name in names if name in COMPONENTS]
                raise LabError("\n".join([f"waited {START_DEADLINE_S:g} s for {', '.join(names)}.", *logs]))
            time.sleep(0.2)


def take_down(home: Path) -> None:
    """End the Airflow of that folder, also what is left of a killed one; HPC jobs that run go on."""
    processes.stop(home, SERVER, grace_s=20)
    processes.stop_all(home)


def _late(api: AirflowApi, dag_ids: Sequence[str], since: datetime) -> list[str]:
    """Name what has not shown itself since then: components first, DAGs when those are all there.

    Raises LabError when a file cannot be imported: waiting does not help.
    """
    try:
        parts = [part.replace("_", "-") for part, beat in api.heartbeats().items() if not _after(beat, since)]
        late = parts or [dag_id for dag_id in dag_ids if not _after(api.parsed_at(dag_id), since)]
        errors = {} if parts or not late else api.import_errors(since)
    except httpx.HTTPError:
        return ["api-server"]
    if errors:
        reasons = [f"{file} cannot be imported:\n{error}" for file, error in errors.items()]
        raise LabError("\n".join(reasons))
    return late


def _after(beat: datetime | None, since: datetime) -> bool:
    return beat is not None and beat.astimezone(UTC) >= since
