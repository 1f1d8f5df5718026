"""Promises about a job that would exceed its project's budget: a person is asked, and the answer stands."""

from __future__ import annotations

import httpx
import pytest

from hybrid_hpc.months import month_name
from tests.e2e.house import House
from tests.e2e.scientist import Run, Scientist

JOB = {"script": "#!/bin/bash\necho done\n", "project": "proj-beta", "cluster": "onprem", "walltime": "10"}


@pytest.fixture(scope="module")
def admin(house: House) -> Scientist:
    airflow = house.stack.airflow
    return Scientist(airflow.url, "admin", airflow.keys.passwords["admin"])


def test_a_job_over_its_budget_waits_for_an_approver_whose_answer_lets_it_run_or_ends_it(
    house: House, admin: Scientist
) -> None:
    approved, refused = (house.scientist.start(name=name, **JOB) for name in ("approved", "refused"))
    for run in (approved, refused):
        house.until_state(run, "approve", "awaiting_input")
        assert house.ledger.latest_job(*run, "") is None, "it was sent before anybody approved it"
    asked = admin.question(approved)
    assert asked["subject"] == "proj-beta: approved would exceed its budget: at most under 0.01 USD"
    assert "scientist" in asked["body"]
    with pytest.raises(httpx.HTTPStatusError, match="not a respondent"):
        house.scientist.answer(approved, "Approve")
    admin.answer(approved, "Approve")
    admin.answer(refused, "Refuse")

    assert house.ended(approved, refused) == ["success", "failed"], house.seen(approved)
    _ran_once(house, approved)
    assert house.ledger.latest_job(*refused, "") is None, "it was sent though it was refused"
    assert "refused by admin: proj-beta has 0.00 USD of 0.00 USD left" in house.scientist.told(
        refused, "approve"
    )
    assert str(house.scientist.run(*refused)["note"]).startswith("refused by admin")
    answers = house.ledger.answered_approvals(month_name(house.ledger.now()), 10)
    assert {(each.run_id, each.answered_by, each.approved) for each in answers} >= {
        (approved.run_id, "admin", True),
        (refused.run_id, "admin", False),
    }
    idle = {each.run_id for each in house.ledger.idle_reservations()}
    assert not idle & {approved.run_id, refused.run_id}, "what was reserved is free again"


def _ran_once(house: House, run: Run) -> None:
    row = house.job(run)
    assert house.accounting("onprem", row.token) == {row.native_id: "COMPLETED"}
    assert house.seen(run)["approve"] == "success"
