"""Who may see what. Airflow mounts a plugin's app without any authentication: all of it is here.

The pages are for whoever may read the runs of ``hpc_job``; jobs of other DAGs are shown only to those who may
read the runs of these, too.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Query, status

from hybrid_hpc_airflow.web.views import MayRead, Whose

DAG_ID = "hpc_job"


def reader(user: GetUserDep) -> MayRead:
    """Says of a DAG id whether this user may read its runs. 401 without a user, 403 without the right."""

    @cache
    def may_read(dag_id: str) -> bool:
        return _may_read(user, dag_id)

    if not may_read(DAG_ID):
        raise HTTPException(status.HTTP_403_FORBIDDEN, f"you may not read the runs of {DAG_ID}")
    return may_read


def whose_jobs(user: GetUserDep, whose: Annotated[Literal["mine", "all"] | None, Query()] = None) -> Whose:
    """Whose jobs are asked for. Unless the address says it: one's own for who submits, else everybody's.

    Everybody's are for those who run the site, and for those who may only look.
    """
    mine = whose == "mine" if whose else _may_submit(user) and not runs_the_site(user)
    return Whose(person=user.get_name(), mine=mine)


def person(user: GetUserDep) -> str:
    """Who looks at the page, by the name under which Airflow notes who triggered a run."""
    return user.get_name()


MayReadDep = Annotated[MayRead, Depends(reader)]
PersonDep = Annotated[str, Depends(person)]
WhoseDep = Annotated[Whose, Depends(whose_jobs)]


def runs_the_site(user: BaseUser) -> bool:
    """True for who may read Airflow's connections: an Op or an Admin, and no User or Viewer.

    Such a person can reach the clusters' accounting anyhow. (Airflow's configuration a Viewer may read.)
    """
    return get_auth_manager().is_authorized_connection(method="GET", user=user)


def _may_read(user: BaseUser, dag_id: str) -> bool:
    # Not AuthManagerDep: it looks for the auth manager in the state of this app, and it is the outer one's.
    return get_auth_manager().is_authorized_dag(
        method="GET",
        access_entity=DagAccessEntity.RUN,
        details=DagDetails(id=dag_id, team_name=_team(dag_id)),
        user=user,
    )


def _may_submit(user: BaseUser) -> bool:
    return get_auth_manager().is_authorized_dag(
        method="POST",
        access_entity=DagAccessEntity.RUN,
        details=DagDetails(id=DAG_ID, team_name=_team(DAG_ID)),
        user=user,
    )


def _team(dag_id: str) -> str | None:
    """The team of a DAG, None in an Airflow without teams. It blocks: a query of Airflow's database."""
    if not conf.getboolean("core", "multi_team", fallback=False):
        return None
    from airflow.models.dag import DagModel

    name: str | None = DagModel.get_team_name(dag_id)
    return name
