"""Promises about who may approve at a centre, asked of the real FAB: by user name, or by role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx
import pytest

from hybrid_hpc.months import month_name
from lab.stack import Stack
from tests.centre.logins import Person, logged_in
from tests.chaos.airflow_world import AirflowWorld
from tests.e2e.house import House
from tests.e2e.scientist import Run, Scientist

JOB = {"script": "#!/bin/bash\necho done\n", "cluster": "onprem", "walltime": "10"}
USERS = {"alan": ["Scientist"], "grace": ["Scientist", "Approver"], "hedy": ["Approver"]}


@pytest.fixture(scope="module")
def house(world: AirflowWorld) -> House:
    return world.house


@pytest.fixture(scope="module")
def users(centre: Stack, admin: Person) -> Iterator[Mapping[str, Scientist]]:
    """alan asks; budgets.yaml names grace, and the role of the operator."""
    airflow = centre.airflow
    operator = Scientist(airflow.url, "operator", airflow.keys.passwords["operator"])
    with logged_in(centre, admin, USERS) as logins:
        yield logins | {"operator": operator}
    operator.close()


@pytest.fixture(scope="module")
def asked(house: House, users: Mapping[str, Scientist]) -> Mapping[str, Run]:
    """alan's job of each project, which waits for an approval."""
    runs = {project: users["alan"].start(**JOB, name="dear", project=project) for project in PROJECTS}
    for run in runs.values():
        house.until_state(run, "approve", "awaiting_input")
    return runs


PROJECTS = ("proj-alpha", "proj-beta")
NO_RIGHT, NOT_ASKED = "Forbidden", "not a respondent"


@pytest.mark.parametrize(
    ("project", "name", "why"),
    [
        ("proj-beta", "alan", NO_RIGHT),
        ("proj-alpha", "alan", NO_RIGHT),
        ("proj-beta", "hedy", NOT_ASKED),
        ("proj-beta", "operator", NOT_ASKED),
        ("proj-alpha", "grace", NOT_ASKED),
    ],
)
def test_who_is_not_named_approves_nothing_and_who_asks_least_of_all(
    house: House, users: Mapping[str, Scientist], asked: Mapping[str, Run], project: str, name: str, why: str
) -> None:
    with pytest.raises(httpx.HTTPStatusError, match=why) as refused:
        users[name].answer(asked[project], "Approve")
    assert refused.value.response.status_code == httpx.codes.FORBIDDEN
    assert house.ledger.latest_job(*asked[project], "") is None, "it was sent before anybody approved it"


def test_who_is_named_by_user_name_or_by_role_answers_and_that_counts(
    house: House, users: Mapping[str, Scientist], asked: Mapping[str, Run]
) -> None:
    approved, refused = asked["proj-beta"], asked["proj-alpha"]
    users["grace"].answer(approved, "Approve")
    users["operator"].answer(refused, "Refuse")
    assert house.ended(approved, refused) == ["success", "failed"], house.seen(approved)
    row = house.job(approved)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}
    assert row.submitted_by == "alan"
    assert house.ledger.latest_job(*refused, "") is None, "it was sent though it was refused"
    answers = house.ledger.answered_approvals(month_name(house.ledger.now()), 10)
    given = {(each.run_id, each.answered_by, each.approved) for each in answers}
    assert given >= {(approved.run_id, "grace", True), (refused.run_id, "operator", False)}
