"""What a person has answered to a try of a task that Airflow has tried again before it could read that.

Airflow 3.3 may fail a try that goes on within seconds of its pause ("state mismatch"), and the next one would
ask anew. A task cannot read answers itself: they are read through Airflow's REST API, by the connection
``hybrid_hpc_api``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException

from hybrid_hpc_airflow.notes import open_api

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)


def earlier_answer(context: Context, since: datetime) -> Mapping[str, Any] | None:
    """The answer to an earlier try of this task, given after ``since``; None without one that can be read.

    It has ``chosen_options`` and ``responded_by_user``.
    """
    import httpx

    if context["ti"].try_number < 2:
        return None
    try:
        with open_api() as api:
            return next(_answers(api, context["ti"], since), None)
    except (AirflowException, httpx.HTTPError, KeyError) as error:
        log.warning("whether an earlier try was answered cannot be read: %s", error)
        return None


def _answers(api: httpx.Client, ti: Any, since: datetime) -> Iterator[Mapping[str, Any]]:
    """Of this try, whose question may be the one that was answered, and of the one before."""
    path = (
        f"/api/v2/dags/{ti.dag_id}/dagRuns/{ti.run_id}/taskInstances/{ti.task_id}/{ti.map_index}/hitlDetails"
    )
    for where in (path, f"{path}/tries/{ti.try_number - 1}"):
        answer = api.get(where)
        found: dict[str, Any] = answer.json() if answer.is_success else {}
        at = found.get("responded_at")
        if at and datetime.fromisoformat(at) >= since:
            yield found
