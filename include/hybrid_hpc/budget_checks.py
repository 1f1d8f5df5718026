"""What the doctor says of budgets.yaml: names that no cluster knows, and who may approve."""

from __future__ import annotations

from collections.abc import Iterator

from hybrid_hpc.budget_models import Budgets
from hybrid_hpc.clusters import Clusters
from hybrid_hpc.doctor import Finding
from hybrid_hpc.placement.words import counted

WHERE = "budgets"
REMEDY = (
    "Correct the name in budgets.yaml (your own one is named in HYBRID_HPC_BUDGETS), or name it under "
    "`projects` of a cluster in clusters.yaml."
)


def examine_budgets(budgets: Budgets, clusters: Clusters) -> Iterator[Finding]:
    """One finding a check; none at all without a budget."""
    if not budgets.projects and not budgets.default:
        return
    strangers = _strangers(budgets, clusters)
    if strangers:
        yield Finding(WHERE, "projects", False, f"no cluster lets {', '.join(strangers)} in", REMEDY)
    else:
        others = "each other project has one, too" if budgets.default else "the others have none"
        found = f"{counted(len(budgets.projects), 'project')} with a budget; {others}"
        yield Finding(WHERE, "projects", True, found)
    if budgets.ask:
        yield Finding(WHERE, "approvers", True, _approvers(budgets))


def _strangers(budgets: Budgets, clusters: Clusters) -> list[str]:
    """Projects that can send no job: every cluster names those that may, and they are not among them."""
    if any(cluster.projects is None for cluster in clusters.clusters.values()):
        return []
    return sorted(budgets.projects.keys() - set(clusters.projects))


def _approvers(budgets: Budgets) -> str:
    if not all(budget.approvers for budget in budgets.ask):
        return "whoever may answer for a DAG may approve what exceeds a budget: name approvers for fewer"
    names = sorted({name for budget in budgets.ask for name in budget.approvers})
    return f"{', '.join(names)} may approve what exceeds a budget"
