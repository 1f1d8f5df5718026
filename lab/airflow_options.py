"""Airflow's options as this project needs them, wherever it runs: in the lab and in containers (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lab.keys import Keys
from lab.shapes import Shape

Options = dict[str, dict[str, str]]  # by section, then by name, as in airflow.cfg


@dataclass(frozen=True, slots=True)
class Where:
    """Where an Airflow has what, and how much it does at once.

    ``parallelism`` bounds the tasks of one scheduler, ``concurrency`` those of one Celery worker.
    """

    base_url: str
    execution_url: str
    database_url: str
    broker_url: str
    dags: str
    plugins: str
    logs: str
    logins: str  # the file with FAB's own settings
    parallelism: str
    concurrency: str


def options(shape: Shape, where: Where, keys: Keys) -> Options:
    """Give the options that do not depend on the kind of machine."""
    return {
        "core": _core(shape, where, keys),
        "database": {
            "sql_alchemy_conn": where.database_url,
            "sql_alchemy_conn_async": where.database_url,  # else asyncpg, which is not installed
        },
        "api": {
            "base_url": where.base_url,
            "secret_key": keys.api_secret_key,
            "instance_name": "Hybrid HPC",
        },
        "api_auth": {"jwt_secret": keys.jwt_secret, "jwt_issuer": "hybrid-hpc"},
        "workers": _workers(),
        "logging": {
            "namespace_levels": "asyncssh=WARNING py.warnings=ERROR",  # else most of a task's log is theirs
            "base_log_folder": where.logs,
            "dag_processor_child_process_log_directory": f"{where.logs}/dag_processor",
        },
        "usage_data_collection": {"enabled": "False"},
        **(_spread(where) if shape.spread else {}),
    }


def variables(given: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Give options as environment variables."""
    return {
        f"AIRFLOW__{section}__{name}".upper(): value
        for section, found in given.items()
        for name, value in found.items()
    }


def joined(*parts: Mapping[str, Mapping[str, str]]) -> Options:
    """Join options section by section; the last word counts."""
    sections = {section for part in parts for section in part}
    return {
        section: {name: value for part in parts for name, value in part.get(section, {}).items()}
        for section in sorted(sections)
    }


def _core(shape: Shape, where: Where, keys: Keys) -> dict[str, str]:
    return {
        "executor": shape.executor,
        "auth_manager": shape.auth_manager,
        "parallelism": where.parallelism,
        "dags_folder": where.dags,
        "plugins_folder": where.plugins,
        "load_examples": "False",
        "dags_are_paused_at_creation": "False",
        "max_active_runs_per_dag": "1000",  # a waiting job is a running DAG run
        "max_active_tasks_per_dag": "1000",
        "fernet_key": keys.fernet_key,
        "execution_api_server_url": where.execution_url,
    }


def _workers() -> dict[str, str]:
    return {
        "execution_api_timeout": "30",  # a busy machine answers late; the default fails the task
        # A supervisor that misses the very moment of its task's end waits one heartbeat more, and holds
        # its slot for that long (Airflow 3.3); five seconds by default.
        "min_heartbeat_interval": "1",
        "max_failed_heartbeats": "60",
    }


def _spread(where: Where) -> Options:
    return {
        "celery": {
            "broker_url": where.broker_url,
            "result_backend": f"db+{where.database_url}",
            "worker_concurrency": where.concurrency,
            "operation_timeout": "10",  # a busy machine sends late; after a second the default gives up
        },
        # A message that is delivered again is refused by Airflow; which task was lost is seen by its heart.
        "celery_broker_transport_options": {"visibility_timeout": "21600"},
        "scheduler": {"orphaned_tasks_check_interval": "60"},  # of a scheduler that was killed
        "fab": {"config_file": where.logins},
    }
