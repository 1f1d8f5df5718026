"""The decision as a note on the DAG run's page, written through Airflow's own REST API.

Tasks have no other way to a run's note. Without the connection ``hybrid_hpc_api`` there is none, and the
run goes on: the decision stands in the log and in the ledger anyway.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from hybrid_hpc_airflow.connections import API

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
TIMEOUT_S = 10.0


def write_note(dag_id: str, run_id: str, text: str) -> bool:
    """Sets the note of a run; False, with the reason in the log, when that is not possible."""
    import httpx

    try:
        with open_api() as api:
            api.patch(
                f"/api/v2/dags/{dag_id}/dagRuns/{run_id}",
                params={"update_mask": "note"},
                json={"note": text[:1000]},
            ).raise_for_status()
    except AirflowException:
        log.info("no connection %s: the decision is not written to the run's note", API)
        return False
    except (httpx.HTTPError, KeyError) as error:
        log.warning("the run's note could not be written: %s", error)
        return False
    return True


@contextmanager
def open_api() -> Iterator[httpx.Client]:
    """Airflow's REST API, logged in. Raises AirflowException without a connection, else httpx.HTTPError."""
    import httpx

    conn = BaseHook.get_connection(API)
    base_url = f"{conn.schema or 'http'}://{conn.host}:{conn.port}"
    with httpx.Client(base_url=base_url, timeout=TIMEOUT_S) as api:
        login = {"username": conn.login, "password": conn.password}
        token = api.post("/auth/token", json=login).raise_for_status().json()["access_token"]
        api.headers["Authorization"] = f"Bearer {token}"
        yield api
