"""Airflow's settings in the lab, as environment variables: nothing listens beyond loopback (pure)."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.keys import USERS, Keys

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

    @property
    def url(self) -> str:
        """The UI's address, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"


def environment(place: Place, keys: Keys, inherited: Mapping[str, str]) -> dict[str, str]:
    """Give the whole environment of a component."""
    ours = {name: value for name, value in inherited.items() if not name.startswith(DROPPED)}
    settings = {
        f"AIRFLOW__{section}__{name}".upper(): value
        for section, options in _settings(place, keys).items()
        for name, value in options.items()
    }
    connections = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in place.connections.items()}
    return {**ours, **_process(place, inherited), **settings, **connections, **place.extra}


def api_connection(place: Place, keys: Keys) -> str:
    """Give the Airflow connection to this Airflow's own REST API, as its admin."""
    connection = {
        "conn_type": "http",
        "schema": "http",
        "host": "127.0.0.1",
        "port": place.port,
        "login": "admin",
        "password": keys.passwords["admin"],
    }
    return json.dumps(connection)


def _process(place: Place, inherited: Mapping[str, str]) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(place.home),
        "PYTHONPATH": str(place.include),
        "PATH": f"{Path(sys.executable).parent}:{inherited.get('PATH', '/usr/bin:/bin')}",
        "SPT_NOENV": "1",  # else setproctitle overwrites the environment by which a left-over is found
        "PYTHONUNBUFFERED": "1",  # else the log of what died lacks its last lines
        "NO_COLOR": "1",
    }


def _settings(place: Place, keys: Keys) -> dict[str, dict[str, str]]:
    return {
        "core": _core(place, keys),
        "database": {
            "sql_alchemy_conn": place.database_url,
            "sql_alchemy_conn_async": place.database_url,  # else asyncpg, which is not installed
        },
        "api": {
            "host": "127.0.0.1",
            "port": str(place.port),
            "base_url": place.url,
            "secret_key": keys.api_secret_key,
            "workers": "1",
            "instance_name": "Hybrid HPC",
        },
        "api_auth": {"jwt_secret": keys.jwt_secret, "jwt_issuer": "hybrid-hpc-lab"},
        "workers": _workers(),
        "scheduler": {"scheduler_idle_sleep_time": "0.1"},  # the wait between two tasks of a job
        "dag_processor": {
            "refresh_interval": "5",
            "bundle_refresh_check_interval": "2",
            "parsing_processes": "1",
            "dag_bundle_storage_path": str(place.home / "bundles"),  # else below /tmp
        },
        "logging": {
            "namespace_levels": "asyncssh=WARNING py.warnings=ERROR",  # else most of a task's log is theirs
            "base_log_folder": str(place.home / "logs"),
            "dag_processor_child_process_log_directory": str(place.home / "logs" / "dag_processor"),
            "worker_log_server_port": str(place.port + 1),  # nobody listens: the logs are read as files
            "trigger_log_server_port": str(place.port + 2),
        },
        "usage_data_collection": {"enabled": "False"},
    }


def _workers() -> dict[str, str]:
    return {
        "execution_api_timeout": "30",  # a busy laptop answers late; the default fails the task
        # A supervisor that misses the very moment of its task's end waits one heartbeat more, and holds
        # its slot for that long (Airflow 3.3); five seconds by default.
        "min_heartbeat_interval": "1",
        "max_failed_heartbeats": "60",
    }


def _core(place: Place, keys: Keys) -> dict[str, str]:
    return {
        "executor": "LocalExecutor",
        "parallelism": "8",
        "dags_folder": str(place.dags),
        "plugins_folder": str(place.plugins),
        "load_examples": "False",
        "dags_are_paused_at_creation": "False",
        "max_active_runs_per_dag": "1000",  # a waiting job is a running DAG run
        "max_active_tasks_per_dag": "1000",
        "fernet_key": keys.fernet_key,
        "execution_api_server_url": f"{place.url}/execution/",
        "hostname_callable": "socket.gethostname",  # the default asks DNS
        "simple_auth_manager_users": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "simple_auth_manager_passwords_file": str(place.home / "passwords.json"),
        "mp_start_method": "fork",
        "test_connection": "Enabled",  # the button in a connection's form
    }
