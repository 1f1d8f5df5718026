"""FAB's auth manager, with one thing more: a question may say by user name, or by role, who answers it.

Airflow assigns a question to ids of users, and FAB's ids are the numbers of rows that no page shows. Named in
``[core] auth_manager``; Airflow looks there for *FabAuthManager*, in the name of a subclass, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager

if TYPE_CHECKING:
    from airflow.providers.fab.auth_manager.models import User

ROLE = "role:"


class NamesFabAuthManager(FabAuthManager):
    """Whom ``assigned_users`` names by id, by user name or as ``role:Operator`` may answer."""

    def is_authorized_hitl_task(self, *, assigned_users: set[str], user: User) -> bool:
        """True for who is named; the right to answer for the DAG was asked for before."""
        return not names_of(user).isdisjoint(assigned_users)


def names_of(user: User) -> set[str]:
    """What a question may call a user.

    A user name that could be another one's id, or a role, is none of them.
    """
    name = user.get_name()
    names = set() if name.isdecimal() or name.startswith(ROLE) else {name}
    return {user.get_id(), *(f"{ROLE}{role.name}" for role in user.roles)} | names
