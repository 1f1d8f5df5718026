"""Airflow on this machine: its components in one of two shapes, kept alive by one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import psycopg

from lab import processes, workers
from lab.airflow_api import AirflowApi
from lab.airflow_settings import Place, api_connection, environment
from lab.errors import LabError, tail
from lab.keys import Keys, load_or_make
from lab.layout import PROJECT
from lab.shapes import FAB

Progress = Callable[[str], None]

SERVER = "airflow"  # the process that starts the others and keeps them alive
START_DEADLINE_S = 180.0


class Airflow:
    """One Airflow; its connections get ``hybrid_hpc_api``, the way to its own REST API."""

    def __init__(self, place: Place) -> None:
        self.folder = place.home
        self.url = place.url
        self.shape = place.shape
        self.keys = load_or_make(place.home, place.shape.users)
        ways = {**place.connections, "hybrid_hpc_api": _way_back(place, self.keys)}
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
        self._run("its tables", "airflow", "db", "migrate")
        if self.shape.auth_manager == FAB:
            self.make_logins()
        stamp.write_text(self._schema())

    def make_logins(self) -> None:
        """Make the roles and the users of a shape whose logins FAB looks after; repeating it is harmless."""
        users = {
            user: {"role": role, "password": self.keys.passwords[user]}
            for user, role in self.shape.users.items()
        }
        code = f"{self._place.include}{os.pathsep}{self._place.plugins}"
        more = {"HYBRID_HPC_FIRST_USERS": json.dumps(users), "PYTHONPATH": code}
        self._run("its logins", "hybrid_hpc_airflow.logins", more=more)

    def start(self) -> None:
        """Start it when it does not run; returns at once."""
        argv = [sys.executable, "-m", "lab.airflow_server", str(self.folder), self.shape.name]
        processes.start(self.folder, SERVER, argv, env=self.environment(), cwd=PROJECT)

    def wait(self, *dag_ids: str, since: datetime) -> None:
        """Wait until every component has given a sign of life, and every DAG was read, after ``since``.

        Raises LabError with the end of the log of what died, or with the error that keeps a DAG out.
        """
        api = self.api()
        self._until_nothing_is_late(lambda: [] if api.answers() else ["api-server"])
        api.warm_up()
        self._until_nothing_is_late(lambda: self._late(api, dag_ids, since))
        api.close()

    def revive(self) -> bool:
        """Start it again when it has died; True when it had."""
        if processes.alive(self.folder, SERVER):
            return False
        self.start()
        return True

    def _run(self, what: str, module: str, *arguments: str, more: Mapping[str, str] | None = None) -> None:
        """Run a module once in a component's environment, to make ``what``."""
        log = self.folder / "log" / "migrate.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        argv, env = [sys.executable, "-m", module, *arguments], self.environment() | dict(more or {})
        with log.open("ab") as output:
            done = subprocess.run(argv, stdout=output, stderr=output, env=env, cwd=self.folder, check=False)
        if done.returncode != 0:
            raise LabError(f"Airflow cannot make {what}.\nThe end of {log}:\n{tail(log)}")

    def _schema(self) -> str:
        """Airflow's version, its database's and the shape: all must be those of the last migration."""
        address = self._place.database_url.replace("postgresql+psycopg", "postgresql")
        try:
            with psycopg.connect(address) as connection:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except psycopg.errors.UndefinedTable:
            row = None
        return f"{version('apache-airflow-core')} {row and row[0]} {self.shape.name}"

    def _late(self, api: AirflowApi, dag_ids: Sequence[str], since: datetime) -> list[str]:
        """Name what has not shown itself since then: components first, DAGs when those are all there."""
        try:
            return self._late_parts(api, since) or _late_dags(api, dag_ids, since)
        except httpx.HTTPError:
            return ["api-server"]

    def _late_parts(self, api: AirflowApi, since: datetime) -> list[str]:
        beats = api.beating(since)
        late = [kind for kind in beats if beats[kind] < self.shape.counts[kind]]
        return late or (self._late_workers() if self.shape.spread else [])

    def _late_workers(self) -> list[str]:
        there = workers.answering(self._place.broker_url)
        return [
            name for name, kind in self.shape.components.items() if kind == "worker" and name not in there
        ]

    def _check_alive(self) -> None:
        if not processes.alive(self.folder, SERVER):
            logs = [self.folder / "log" / f"{name}.log" for name in (SERVER, *self.shape.components)]
            ends = [f"The end of {log}:\n{tail(log, 12)}" for log in logs]
            raise LabError("\n".join(["Airflow ended by itself.", *ends]))

    def _until_nothing_is_late(self, late: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + START_DEADLINE_S
        while names := late():
            self._check_alive()
            if time.monotonic() > deadline:
                logs = [
                    f"see {self.folder / 'log' / name}.log" for name in names if name in self.shape.components
                ]
                raise LabError("\n".join([f"waited {START_DEADLINE_S:g} s for {', '.join(names)}.", *logs]))
            time.sleep(0.2)


def _way_back(place: Place, keys: Keys) -> str:
    return api_connection("127.0.0.1", place.port, place.shape.api_user, keys)


def take_down(home: Path) -> None:
    """End the Airflow of that folder, also what is left of a killed one; HPC jobs that run go on."""
    processes.stop(home, SERVER, grace_s=20)
    processes.stop_all(home)


def _late_dags(api: AirflowApi, dag_ids: Sequence[str], since: datetime) -> list[str]:
    """Name the DAGs that were not read since then.

    Raises LabError when a file cannot be imported: waiting does not help.
    """
    late = [dag_id for dag_id in dag_ids if not _after(api.parsed_at(dag_id), since)]
    if errors := api.import_errors(since) if late else {}:
        reasons = [f"{file} cannot be imported:\n{error}" for file, error in errors.items()]
        raise LabError("\n".join(reasons))
    return late


def _after(beat: datetime | None, since: datetime) -> bool:
    return beat is not None and beat.astimezone(UTC) >= since
