"""Promises about who may answer a question under FAB: its users are named by id, by user name or by role."""

from __future__ import annotations

import pytest
from airflow.providers.fab.auth_manager.models import Role, User

from hybrid_hpc_airflow.answering import NamesFabAuthManager, names_of
from lab.shapes import FAB

GRACE = User(id=17, username="grace", roles=[Role(name="Scientist"), Role(name="Approver")])


def may_answer(named: set[str]) -> bool:
    manager = NamesFabAuthManager()  # type: ignore[no-untyped-call]
    return manager.is_authorized_hitl_task(assigned_users=named, user=GRACE)


@pytest.mark.parametrize("named", ["grace", "17", "role:Approver", "role:Scientist"])
def test_who_is_named_by_user_name_id_or_role_may_answer(named: str) -> None:
    assert may_answer({"hedy", named})


@pytest.mark.parametrize("named", ["Grace", "1", "Approver", "role:Operator", "role:", "role:approver"])
def test_nobody_else_may(named: str) -> None:
    assert not may_answer({"hedy", named})


def test_a_user_whose_name_is_a_number_is_not_taken_for_the_one_with_that_id() -> None:
    assert "17" not in names_of(User(id=18, username="17", roles=[]))


def test_a_user_whose_name_looks_like_a_role_is_not_taken_for_one_who_has_it() -> None:
    assert names_of(User(id=18, username="role:Operator", roles=[])) == {"18"}


def test_airflow_still_takes_it_for_fab() -> None:
    """It gives rights on single DAGs, and clears FAB's sessions, only where it reads that name."""
    assert "FabAuthManager" in FAB
    assert f"{NamesFabAuthManager.__module__}.{NamesFabAuthManager.__qualname__}" == FAB
