"""Airflow's settings in the lab, as environment variables: nothing listens beyond loopback (pure)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.airflow_options import Options, Where, joined, options, variables
from lab.keys import Keys
from lab.shapes import ONE_MACHINE, SIMPLE, Shape

DROPPED = ("AIRFLOW", "PYTHONPATH", "PYTHONHOME")  # another Airflow's settings in the user's shell


@dataclass(frozen=True, slots=True)
class Place:
    """Where one Airflow lives; ``connections`` are Airflow connections as JSON by id."""

    home: Path  # AIRFLOW_HOME
    port: int  # of the API and the UI; the two after it stay unused
    database_url: str
    dags: Path
    plugins: Path
    include: Path
    connections: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, str] = field(default_factory=dict)  # more environment
    shape: Shape = ONE_MACHINE
    broker_url: str = ""  # of a shape that is spread

    @property
    def url(self) -> str:
        """The UI's address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"


def environment(place: Place, keys: Keys, inherited: Mapping[str, str]) -> dict[str, str]:
    """Give the whole environment of a component."""
    ours = {name: value for name, value in inherited.items() if not name.startswith(DROPPED)}
    settings = variables(joined(options(place.shape, _where(place), keys), _own(place), _logins(place)))
    connections = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in place.connections.items()}
    return {**ours, **_process(place, inherited), **settings, **connections, **place.extra}


def api_connection(host: str, port: int, user: str, keys: Keys) -> str:
    """Give the Airflow connection to this Airflow's own REST API, as the user of our own tasks."""
    address = {"conn_type": "http", "schema": "http", "host": host, "port": port}
    return json.dumps({**address, "login": user, "password": keys.passwords[user]})


def ledger_connection(host: str, port: int, user: str, password: str, database: str) -> str:
    """Give the Airflow connection to the ledger's database."""
    address = {"conn_type": "postgres", "host": host, "port": port, "login": user, "password": password}
    return json.dumps({**address, "schema": database})


def _process(place: Place, inherited: Mapping[str, str]) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(place.home),
        "PYTHONPATH": str(place.include),
        "PATH": f"{Path(sys.executable).parent}:{inherited.get('PATH', '/usr/bin:/bin')}",
        "SPT_NOENV": "1",  # else setproctitle overwrites the environment by which a left-over is found
        "PYTHONUNBUFFERED": "1",  # else the log of what died lacks its last lines
        "NO_COLOR": "1",
    }


def _where(place: Place) -> Where:
    logs = place.home / "logs"
    return Where(
        base_url=place.url,
        execution_url=f"{place.url}/execution/",
        database_url=place.database_url,
        broker_url=place.broker_url,
        dags=str(place.dags),
        plugins=str(place.plugins),
        logs=str(logs),
        logins=str(place.include / "logins" / "database.py"),
        parallelism="8",
        concurrency="4",
    )


def _own(place: Place) -> Options:
    """The options of a machine that is somebody's own: loopback only, and quick to see a change."""
    return {
        "core": {
            "hostname_callable": "socket.gethostname",  # the default asks DNS
            "mp_start_method": "fork",
            "test_connection": "Enabled",  # the button in a connection's form
        },
        "api": {"host": "127.0.0.1", "port": str(place.port), "workers": "1"},
        "scheduler": {"scheduler_idle_sleep_time": "0.1"},  # the wait between two tasks of a job
        "dag_processor": {
            "refresh_interval": "5",
            "bundle_refresh_check_interval": "2",
            "parsing_processes": "1",
            "dag_bundle_storage_path": str(place.home / "bundles"),  # else below /tmp
        },
        "logging": {
            "worker_log_server_port": str(place.port + 1),  # nobody listens: the logs are read as files
            "trigger_log_server_port": str(place.port + 2),
        },
    }


def _logins(place: Place) -> Options:
    if place.shape.auth_manager != SIMPLE:
        return {}
    users = ",".join(f"{user}:{role}" for user, role in place.shape.users.items())
    passwords = str(place.home / "passwords.json")
    return {"core": {"simple_auth_manager_users": users, "simple_auth_manager_passwords_file": passwords}}
