"""What docker-compose.yaml says, from the same settings as the lab's own processes (pure)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from lab.airflow_options import Options, Where, joined, options, variables
from lab.airflow_settings import api_connection, ledger_connection
from lab.keys import Keys
from lab.nodes import CLUSTERS as LAB_CLUSTERS
from lab.shapes import CENTRE, COMMANDS

HOME = "/opt/airflow"
SECRETS = (  # what .env must hold; lab/make_env.py makes them
    "POSTGRES_PASSWORD",
    "LEDGER_PASSWORD",
    "REDIS_PASSWORD",
    "FERNET_KEY",
    "API_SECRET_KEY",
    "JWT_SECRET",
    "ADMIN_PASSWORD",
    "SERVICE_PASSWORD",
)
RESULTS = f"{HOME}/results"
CLUSTERS = f"{HOME}/clusters.yaml"
BUDGETS = f"{HOME}/budgets.yaml"
LOGINS = f"{HOME}/logins.py"
LEDGER_URL = "postgresql+psycopg://ledger:${LEDGER_PASSWORD}@postgres/ledger"
WHERE = Where(
    base_url="${BASE_URL:-http://localhost:8080}",
    execution_url="http://api-server:8080/execution/",
    database_url="postgresql+psycopg://airflow:${POSTGRES_PASSWORD}@postgres/airflow",
    broker_url="redis://:${REDIS_PASSWORD}@redis:6379/0",
    dags=f"{HOME}/dags",
    plugins=f"{HOME}/plugins",
    logs=f"{HOME}/logs",
    logins=LOGINS,
    parallelism="${PARALLELISM:-32}",
    concurrency="${WORKER_CONCURRENCY:-8}",
)
# What only containers have: the health check of the scheduler is asked by Docker.
OWN: Options = {"scheduler": {"enable_health_check": "True"}}


@dataclass(frozen=True, slots=True)
class Service:
    """One of Airflow's services: ``replicas`` and the limits may name a variable of .env."""

    name: str
    command: tuple[str, ...]
    replicas: str
    cpus: str
    memory: str
    health: str
    grace: str = "30s"  # between TERM and KILL


TALK_TO_CLUSTERS = ("worker", "triggerer")  # all others have no way to the lab's networks
LAB_NAMES = [cluster.name for cluster in LAB_CLUSTERS]
JOB = "airflow jobs check --local --job-type"  # a sign of life of this container's own job
SERVICES = (
    Service(
        "api-server",
        COMMANDS["api-server"],
        replicas="1",
        cpus="2",
        memory="3G",
        health="curl --fail --silent http://localhost:8080/api/v2/monitor/health",
    ),
    Service(
        "scheduler",
        COMMANDS["scheduler"],
        replicas="${SCHEDULERS:-2}",
        cpus="2",
        memory="2G",
        health="curl --fail --silent http://localhost:8974/health",
    ),
    Service(
        "dag-processor",
        COMMANDS["dag-processor"],
        replicas="1",
        cpus="2",
        memory="2G",
        health=f"{JOB} DagProcessorJob",
    ),
    Service(
        "triggerer",
        COMMANDS["triggerer"],
        replicas="${TRIGGERERS:-2}",
        cpus="1",
        memory="2G",
        health=f"{JOB} TriggererJob",
    ),
    Service(
        "worker",
        COMMANDS["worker"],
        replicas="${WORKERS:-2}",
        cpus="4",
        memory="6G",
        # $$: the container's own variable, and not one of .env
        health="celery --app airflow.providers.celery.executors.celery_executor.app"
        ' inspect ping --destination "celery@$$HOSTNAME"',
        grace="5m",  # a worker that is told to end finishes its tasks
    ),
)


def environment() -> dict[str, str]:
    """Give the environment of every one of Airflow's services; secrets are named, never held."""
    keys = _keys()
    return {
        **variables(joined(options(CENTRE, WHERE, keys), OWN)),
        "AIRFLOW_CONN_HYBRID_HPC_API": api_connection("api-server", 8080, CENTRE.api_user, keys),
        "AIRFLOW_CONN_HYBRID_HPC_LEDGER": ledger_connection(
            "postgres", 5432, "ledger", "${LEDGER_PASSWORD}", "ledger"
        ),
        "AIRFLOW_VAR_HYBRID_HPC_REPORTS": f"{RESULTS}/reports",
        "HYBRID_HPC_BUDGETS": BUDGETS,
        "HYBRID_HPC_CLUSTERS": CLUSTERS,
        "HYBRID_HPC_RESULTS": RESULTS,
        "PYTHONPATH": f"{HOME}/include",
    }


def first_steps() -> dict[str, str]:
    """Give what the init job needs besides: the ledger's tables, our roles, the first users."""
    keys = _keys()
    passwords = keys.passwords.items()
    users = {name: {"role": CENTRE.users[name], "password": password} for name, password in passwords}
    return {
        "HYBRID_HPC_FIRST_USERS": json.dumps(users),
        "HYBRID_HPC_LEDGER_URL": LEDGER_URL,
        "PYTHONPATH": f"{HOME}/include:{HOME}/plugins",
    }


def required() -> Mapping[str, str]:
    """Give each secret as compose asks for it: without it nothing starts."""
    return {name: f"${{{name}:?run python3 lab/make_env.py}}" for name in SECRETS}


def _keys() -> Keys:
    return Keys(
        fernet_key=required()["FERNET_KEY"],
        jwt_secret=required()["JWT_SECRET"],
        api_secret_key=required()["API_SECRET_KEY"],
        passwords={"admin": required()["ADMIN_PASSWORD"], "service": required()["SERVICE_PASSWORD"]},
    )
