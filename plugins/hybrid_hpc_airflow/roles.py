"""Who may do what at a centre: the roles as a table, in the words of Flask AppBuilder (pure).

``Admin`` and ``Viewer`` are Airflow's own. A right on runs, tasks, logs and the like counts only for DAGs
that the role may read, so a Scientist's reach no further than `hpc_job` and the pipelines whose authors
name the role in ``access_control``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Right = tuple[str, str]  # action and resource
Table = Mapping[str, str]  # the words of `ACTIONS` by resource

ACTIONS = {
    "read": "can_read",
    "create": "can_create",
    "edit": "can_edit",
    "delete": "can_delete",
    "menu": "menu_access",
}
ONE_DAG = ("DAG:", "DAG Run:")  # how resources begin that belong to a single DAG

_EVERYBODY: Table = {
    "Website": "read",
    "Plugins": "read",  # else the page HPC is not in the menu
    "Documentation": "menu",
    "Docs": "menu",
    "My Profile": "read edit",
    "My Password": "read edit",
    "DAGs": "menu",
    "DAG Code": "read",
    "DAG Dependencies": "read",
    "DAG Versions": "read",
    "DAG Warnings": "read",
    "Task Logs": "read",
    "XComs": "read",
}
ROLES: Mapping[str, Table] = {
    # triggers jobs, looks at them, fails and clears them; answers no approval, sees no connection
    "Scientist": {
        **_EVERYBODY,
        "DAG:hpc_job": "read edit",
        "DAG Runs": "read create edit",
        "Task Instances": "read edit",
        "HITL Detail": "read menu",
    },
    # answers the approvals of budgets, beside another role or alone; triggers nothing
    "Approver": {
        **_EVERYBODY,
        "DAG:hpc_job": "read edit",
        "DAG Runs": "read",
        "Task Instances": "read",
        "HITL Detail": "read edit menu",
    },
    # everything that has to do with DAGs, and pools; looks at connections, whose passwords Airflow hides
    "Operator": {
        **_EVERYBODY,
        "DAGs": "read edit delete menu",
        "DAG Runs": "read create edit delete menu",
        "Task Instances": "read create edit delete menu",
        "XComs": "read menu",
        "HITL Detail": "read edit menu",
        "Assets": "read create edit delete menu",
        "Asset Aliases": "read",
        "Backfills": "read create edit delete",
        "Pools": "read create edit delete menu",
        "Connections": "read menu",
        "Audit Logs": "read menu",
        "Cluster Activity": "read menu",
        "ImportError": "read",
        "Jobs": "read menu",
        "Triggers": "read",
        "Providers": "read menu",
        "Admin": "menu",
        "Browse": "menu",
    },
    # what our own tasks do through the REST API: the decision becomes the run's note, and an answer to a try
    # that Airflow has lost is read. FAB itself gives every role the right to see the website.
    "Service": {
        "DAGs": "read edit",
        "DAG Runs": "read edit",
        "HITL Detail": "read",
        "Website": "read",
    },
}


def rights(table: Table) -> frozenset[Right]:
    """Give a role's rights as pairs of action and resource."""
    return frozenset((ACTIONS[word], resource) for resource, words in table.items() for word in words.split())


def stale(held: Iterable[Right], table: Table) -> frozenset[Right]:
    """Give what a role holds and its table does not have.

    Rights on single DAGs are not among it: authors give them in ``access_control``.
    """
    wanted = rights(table)
    return frozenset(right for right in held if right not in wanted and not right[1].startswith(ONE_DAG))
