"""Makes the roles of roles.py and the first users in Airflow's database, where FAB looks after the logins.

``python -m hybrid_hpc_airflow.logins``, after ``airflow db migrate`` and at every upgrade. Repeating it is
harmless: roles become what the table says, users that are there keep their password and their roles.
``HYBRID_HPC_FIRST_USERS`` has the users: ``{"admin": {"role": "Admin", "password": "..."}}``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from hybrid_hpc_airflow.roles import ROLES, Table, rights, stale

VARIABLE = "HYBRID_HPC_FIRST_USERS"


class FirstUser(BaseModel):
    """A user to be made when there is none of that name."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    role: str = Field(min_length=1)
    password: str = Field(min_length=8)


class WrongUsers(Exception):
    """The first users cannot be read, or ask for a role that is not there; the message says which."""


_USERS = TypeAdapter(dict[str, FirstUser])


def main() -> int:
    """Make roles and users; gives the exit status."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    try:
        users = first_users(os.environ)
        with get_application_builder() as builder:
            _make(builder, users)
    except WrongUsers as error:
        sys.stderr.write(f"logins: {error}\n")
        return 1
    return 0


def _make(builder: Any, users: Mapping[str, FirstUser]) -> None:
    builder.add_permissions(update_perms=True)
    builder.sm.sync_roles()  # Airflow's own
    make_roles(builder.sm, ROLES)
    make_users(builder.sm, users)


def first_users(environment: Mapping[str, str]) -> dict[str, FirstUser]:
    """Read the users from the environment. Raises WrongUsers, which never tells a password."""
    try:
        return _USERS.validate_json(environment.get(VARIABLE) or "{}")
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'JSON'}: {fault['msg']}" for fault in error.errors()]
        raise WrongUsers(f"{VARIABLE}: {'; '.join(faults)}") from None


def make_roles(manager: Any, roles: Mapping[str, Table]) -> None:
    """Make each role what its table says; rights on single DAGs that it was given besides stay."""
    for name, table in roles.items():
        role = manager.add_role(name)
        held = {(right.action.name, right.resource.name): right for right in role.permissions}
        for right in stale(held, table):
            manager.remove_permission_from_role(role, held[right])
        for right in sorted(rights(table) - held.keys()):
            manager.add_permission_to_role(role, manager.create_permission(*right))


def make_users(manager: Any, users: Mapping[str, FirstUser]) -> None:
    """Make the users that are not there. Raises WrongUsers for a role that nobody has made."""
    for name, user in users.items():
        if manager.find_user(username=name):
            continue
        role = manager.find_role(user.role)
        if role is None:
            raise WrongUsers(f"{VARIABLE}: {name}: there is no role {user.role}")
        made = manager.add_user(name, name, "", f"{name}@localhost", role, password=user.password)
        if not made:
            raise WrongUsers(f"{VARIABLE}: {name} could not be made; see the log above")


if __name__ == "__main__":
    sys.exit(main())
