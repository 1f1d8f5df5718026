"""Promises about who may do what at a centre, asked of the real FAB through Airflow's REST API."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from lab.stack import Stack
from tests.centre.logins import Person, make_user
from tests.e2e.scientist import Scientist

STRANGER = "stranger"
DAGS = ["hpc_job", "hpc_monthly_report", "hpc_nodes_azure", "hpc_prices", "hpc_reconcile", "hpc_usage"]
PAGES = ["HPC", "Now", "Jobs", "Usage", "Budgets", "HPC job"]
JOB = {"name": "allowed", "script": "true", "cluster": "onprem", "walltime": "5"}


@pytest.fixture(scope="module")
def people(centre: Stack, admin: Person) -> Iterator[dict[str, Person]]:
    """One of every role, and a stranger, who may log in and nothing more."""
    airflow = centre.airflow
    rights = [{"action": {"name": "can_read"}, "resource": {"name": "Website"}}]
    assert admin.tries("POST", "/auth/fab/v1/roles", name=STRANGER, actions=rights) in {200, 201}
    known = airflow.keys.passwords | {STRANGER: make_user(airflow, admin, STRANGER, STRANGER)}
    people = {name: Person(airflow, name, password) for name, password in known.items()}
    yield people
    for person in people.values():
        person.close()


def test_the_page_is_for_those_who_may_read_the_job_dag(centre: Stack, people: dict[str, Person]) -> None:
    statuses = {name: person.tries("GET", "/hpc/") for name, person in people.items()}
    assert statuses.pop(STRANGER) == 403
    assert set(statuses.values()) == {200}
    assert httpx.get(f"{centre.airflow.url}/hpc/").status_code == 401


def test_a_scientist_sees_and_triggers_the_job_dag_and_no_other(people: dict[str, Person]) -> None:
    scientist = people["scientist"]
    assert [dag["dag_id"] for dag in scientist.sees("/api/v2/dags")["dags"]] == ["hpc_job"]
    assert scientist.triggers("hpc_job", **JOB) == 200
    assert scientist.triggers("hpc_usage") == 403
    assert scientist.tries("GET", "/api/v2/dags/hpc_usage/dagRuns") == 403


def test_a_scientist_may_fail_a_run_and_read_its_log_but_not_delete_it(
    centre: Stack, people: dict[str, Person]
) -> None:
    person = people["scientist"]
    api = Scientist(centre.airflow.url, "scientist", centre.airflow.keys.passwords["scientist"])
    run = api.start(**JOB)
    assert person.tries("GET", f"/api/v2{run.path}/taskInstances") == 200
    assert person.tries("PATCH", f"/api/v2{run.path}", state="failed") == 200
    assert person.tries("DELETE", f"/api/v2{run.path}") == 403
    assert api.state(run) == "failed"
    api.close()


@pytest.mark.parametrize("what", ["connections", "variables", "pools", "eventLogs"])
def test_a_scientist_sees_nothing_of_how_it_is_run(people: dict[str, Person], what: str) -> None:
    assert people["scientist"].tries("GET", f"/api/v2/{what}") == 403


def test_the_pages_are_in_a_scientists_menu(people: dict[str, Person]) -> None:
    plugins = people["scientist"].sees("/api/v2/plugins")["plugins"]
    assert [view["name"] for plugin in plugins for view in plugin["external_views"]] == PAGES


def test_an_operator_runs_every_dag_and_pool_and_only_looks_at_connections(people: dict[str, Person]) -> None:
    operator = people["operator"]
    assert sorted(dag["dag_id"] for dag in operator.sees("/api/v2/dags")["dags"]) == DAGS
    assert operator.tries("PATCH", "/api/v2/dags/hpc_usage", is_paused=False) == 200
    assert operator.tries("POST", "/api/v2/pools", name="operators", slots=1) == 201
    assert operator.tries("DELETE", "/api/v2/pools/operators") == 204
    assert operator.tries("GET", "/api/v2/connections") == 200
    assert operator.tries("POST", "/api/v2/connections", connection_id="new", conn_type="http") == 403
    assert operator.tries("GET", "/api/v2/variables") == 403
    assert operator.tries("GET", "/auth/fab/v1/users") == 403


def test_a_viewer_triggers_nothing_and_the_service_account_only_writes_notes_and_reads_answers(
    people: dict[str, Person],
) -> None:
    assert people["viewer"].triggers("hpc_job", **JOB) == 403
    service = people["service"]
    assert service.triggers("hpc_job", **JOB) == 403
    assert service.tries("PATCH", "/api/v2/dags/hpc_job/dagRuns/none", note="x") == 404
    question = "/api/v2/dags/hpc_job/dagRuns/none/taskInstances/approve/-1/hitlDetails"
    assert service.tries("GET", question) == 404
    assert service.tries("PATCH", question, chosen_options=["Approve"]) == 403
    assert {service.tries("GET", f"/api/v2/{what}") for what in ("connections", "variables", "pools")} == {
        403
    }


def rights_of_all(admin: Person) -> dict[str, set[tuple[str, str]]]:
    roles = admin.sees("/auth/fab/v1/roles?limit=100")["roles"]
    return {
        role["name"]: {(right["action"]["name"], right["resource"]["name"]) for right in role["actions"]}
        for role in roles
    }


def test_making_the_logins_again_changes_nothing(centre: Stack, people: dict[str, Person]) -> None:
    before = rights_of_all(people["admin"])
    centre.airflow.make_logins()
    assert rights_of_all(people["admin"]) == before
    Person(centre.airflow, "scientist", centre.airflow.keys.passwords["scientist"]).close()
