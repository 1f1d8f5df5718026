"""Who may see what. Airflow mounts a plugin's app without any authentication: all of it is here.

The pages are for whoever may read the runs of ``hpc_job``; jobs of other DAGs are shown only to those who may
read the runs of these, too.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, status

from hybrid_hpc_airflow.web.views import MayRead

DAG_ID = "hpc_job"


def reader(user: GetUserDep) -> MayRead:
    """Says of a DAG id whether this user may read its runs. 401 without a user, 403 without the right."""

    @cache
    def may_read(dag_id: str) -> bool:
        return _may_read(user, dag_id)

    if not may_read(DAG_ID):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"you may not read the runs of {DAG_ID}")
    return may_read


MayReadDep = Annotated[MayRead, Depends(reader)]


def _may_read(user: BaseUser, dag_id: str) -> bool:
    # Not AuthManagerDep: it looks for the auth manager in the state of this app, and it is the outer one's.
    return get_auth_manager().is_authorized_dag(
        method="GET",
        access_entity=DagAccessEntity.RUN,
        details=DagDetails(id=dag_id, team_name=_team(dag_id)),
        user=user,
    )


def _team(dag_id: str) -> str | None:
    """The team of a DAG, None in an Airflow without teams. It blocks: a query of Airflow's database."""
    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    from airflow.models.dag import DagModel

    name: str | None = DagModel.get_team_name(dag_id)
    return name
