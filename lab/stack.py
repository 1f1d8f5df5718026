"""Everything on one machine: PostgreSQL, two clusters with CycleCloud, the ledger, Airflow and its Redis."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from sqlalchemy import URL, make_url

from hybrid_hpc.ledger.migrate import upgrade
from lab import processes
from lab.airflow import Airflow, take_down
from lab.airflow_settings import Place, ledger_connection
from lab.lab import Lab
from lab.layout import PROJECT
from lab.nodes import PORTS as LAB_PORTS
from lab.postgres import Postgres
from lab.redis import Redis
from lab.settings import LabSettings
from lab.shapes import ONE_MACHINE, Shape

Progress = Callable[[str], None]

FOLDER = PROJECT / ".lab" / "run"
POSTGRES_PORT = 3  # Airflow has the three before it
REDIS_PORT = 4
LAB_PORT = 10
PORTS = LAB_PORT + LAB_PORTS


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What can be set. ``base_port`` None: BASE_PORT, the ports of last time, or free ones.

    ``dag_ids`` are waited for; ``lab`` is lab/settings.py's, but for its port; ``environment`` is more of it
    for Airflow's components; ``shape`` says which these are.
    """

    base_port: int | None = None
    lab: LabSettings = field(default_factory=LabSettings)
    dags: Path = PROJECT / "dags"
    plugins: Path = PROJECT / "plugins"
    packages: Path = PROJECT / ".lab"
    dag_ids: tuple[str, ...] = ("hpc_job",)
    environment: Mapping[str, str] = field(default_factory=dict)
    shape: Shape = ONE_MACHINE


class Stack:
    """All of it in one folder; runs, jobs, accounting and passwords stay from one time to the next."""

    def __init__(self, folder: Path = FOLDER, settings: StackSettings | None = None) -> None:
        self.folder = folder.resolve()
        self.settings = settings or StackSettings()

    def up(self, progress: Progress = lambda _: None) -> None:
        """Bring up what does not run, and wait until all of it serves.

        ``progress`` is told each step at its beginning. Raises LabError: what is missing and what to do.
        """
        self._choose_ports()
        progress("PostgreSQL")
        self.postgres.up(progress)
        with ThreadPoolExecutor() as pool:
            tables = pool.submit(self._make_tables, progress)
            self.lab.up(progress)
            tables.result()
        if self.settings.shape.spread:
            progress("Redis")
            self.redis.up(progress)
        progress(f"Airflow: {', '.join(self.settings.shape.components)}")
        since = datetime.now(UTC)
        self.airflow.start()
        self.airflow.wait(*self.settings.dag_ids, since=since)

    def down(self) -> None:
        """End every process of the folder, a crashed run's too; nothing is forgotten."""
        take_down(self.folder / "airflow")
        Lab(self.folder / "lab", packages=self.settings.packages).down()
        processes.stop_all(self.folder / "redis")
        if self._ports_file.is_file():
            self.postgres.down()

    def forget(self) -> None:
        """Remove every run, job, log and password; only after `down`."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def base_port(self) -> int:
        """The first of the stack's `PORTS` ports."""
        return int(self._ports_file.read_text())

    @cached_property
    def postgres(self) -> Postgres:
        """The server of Airflow's database and of the ledger."""
        return Postgres(self.folder / "postgres", self.base_port + POSTGRES_PORT)

    @cached_property
    def redis(self) -> Redis:
        """The broker of a shape that is spread."""
        port = self.base_port + REDIS_PORT
        return Redis(self.folder / "redis", port, packages=self.settings.packages)

    @cached_property
    def lab(self) -> Lab:
        """The two clusters."""
        settings = replace(self.settings.lab, base_port=self.base_port + LAB_PORT)
        return Lab(self.folder / "lab", settings, packages=self.settings.packages)

    @property
    def airflow(self) -> Airflow:
        """Airflow as it is while the lab is up, whose connections it is given."""
        return self._airflow(self.lab.environment())

    @property
    def results(self) -> Path:
        """Where output files that jobs brought back are, a folder per job's token."""
        return self.folder / "results"

    @property
    def ledger_url(self) -> str:
        """The ledger's database, password included."""
        return self._url("ledger").render_as_string(hide_password=False)

    def _make_tables(self, progress: Progress) -> None:
        upgrade(self.ledger_url)
        self._airflow({}).migrate(progress)

    def _airflow(self, lab: Mapping[str, str]) -> Airflow:
        place = Place(
            home=self.folder / "airflow",
            port=self.base_port,
            database_url=self._url("airflow").render_as_string(hide_password=False),
            dags=self.settings.dags,
            plugins=self.settings.plugins,
            include=PROJECT / "include",
            connections={"hybrid_hpc_ledger": _connection(self._url("ledger"))},
            shape=self.settings.shape,
            broker_url=self.redis.url if self.settings.shape.spread else "",
            extra={**lab, "HYBRID_HPC_RESULTS": str(self.results), **self.settings.environment},
        )
        return Airflow(place)

    def _url(self, database: str) -> URL:
        return make_url(self.postgres.url(database))

    @property
    def _ports_file(self) -> Path:
        return self.folder / "base_port"

    def _choose_ports(self) -> None:
        """Keep the ports of last time, so that the UI's address stays, unless others took them since."""
        self.folder.mkdir(parents=True, exist_ok=True)
        base_port = self.settings.base_port or (
            None if os.environ.get("BASE_PORT") else _usable(self._ports_file, self._anything_runs())
        )
        self._ports_file.write_text(str(base_port or processes.free_base_port(PORTS)))

    def _anything_runs(self) -> bool:
        folders = [self.folder / name for name in ("airflow", "lab", "postgres", "redis")]
        return any(processes.alive(folder, name) for folder in folders for name in processes.names(folder))


def _usable(ports_file: Path, in_use_by_us: bool) -> int | None:
    if not ports_file.is_file():
        return None
    base_port = int(ports_file.read_text())
    taken = any(map(processes.listens, range(base_port, base_port + PORTS)))
    return base_port if in_use_by_us or not taken else None


def _connection(url: URL) -> str:
    host, user, password, database = map(str, (url.host, url.username, url.password, url.database))
    return ledger_connection(host, int(url.port or 0), user, password, database)
