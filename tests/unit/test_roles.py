"""Promises about the table of roles, and about reading the first users."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hybrid_hpc_airflow.logins import VARIABLE, WrongUsers, first_users
from hybrid_hpc_airflow.roles import ROLES, rights, stale


def test_a_table_is_read_as_pairs_of_action_and_resource() -> None:
    assert rights({"DAGs": "read menu", "Pools": "edit"}) == {
        ("can_read", "DAGs"),
        ("menu_access", "DAGs"),
        ("can_edit", "Pools"),
    }


@pytest.mark.parametrize("role", ["Scientist", "Approver", "Service"])
def test_those_who_are_no_operators_reach_nothing_that_is_not_a_dags(role: str) -> None:
    resources = {resource for _, resource in rights(ROLES[role])}
    assert not resources & {"Connections", "Variables", "Pools", "Configurations", "Users", "Roles"}
    assert ("can_delete", "DAG Runs") not in rights(ROLES[role])


def test_nobody_but_an_admin_sees_variables_or_changes_connections_and_users() -> None:
    for table in ROLES.values():
        assert not {right for right in rights(table) if right[1] in {"Variables", "Users", "Roles"}}
        assert {action for action, resource in rights(table) if resource == "Connections"} <= {
            "can_read",
            "menu_access",
        }


def test_a_scientist_answers_no_approval_and_an_approver_and_an_operator_do() -> None:
    assert {name for name in ROLES if ("can_edit", "HITL Detail") in rights(ROLES[name])} == {
        "Approver",
        "Operator",
    }


def test_an_approver_triggers_and_changes_no_run() -> None:
    changed = {resource for action, resource in rights(ROLES["Approver"]) if action != "can_read"}
    assert not changed & {"DAG Runs", "Task Instances"}


def test_what_is_not_in_the_table_is_taken_away_but_for_rights_on_single_dags() -> None:
    held = [
        ("can_read", "DAGs"),
        ("can_edit", "Variables"),
        ("can_edit", "DAG:pipeline"),
        ("can_read", "Pools"),
    ]
    assert stale(held, {"DAGs": "read"}) == {("can_edit", "Variables"), ("can_read", "Pools")}


def test_without_the_variable_there_are_no_users() -> None:
    assert first_users({}) == first_users({VARIABLE: ""}) == {}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("{", "JSON"),
        (json.dumps({"ada": {"role": "Admin"}}), "ada.password: Field required"),
        (json.dumps({"ada": {"role": "Admin", "password": "hunter2"}}), "ada.password"),
        (json.dumps({"ada": {"role": "", "password": "hunter2hunter2"}}), "ada.role"),
        (json.dumps({"ada": {"role": "Admin", "password": "hunter2hunter2", "mail": 1}}), "ada.mail"),
    ],
)
def test_wrong_users_are_named_and_no_password_is_told(value: Any, told: str) -> None:
    with pytest.raises(WrongUsers) as error:
        first_users({VARIABLE: value})
    assert told in str(error.value)
    assert VARIABLE in str(error.value)
    assert "hunter2" not in str(error.value)
