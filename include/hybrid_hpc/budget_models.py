"""What budgets.yaml says, as data. Money in USD, work in core-hours, both for a calendar month in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_hpc.cluster_models import Line, ProjectName, Usd

WhenSpent = Literal["on_premises_only", "ask", "refuse"]
CoreHours = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Budget(_Data):
    """What one project may take in a month, and what becomes of a job that would exceed it.

    A limit that is None is none. ``when_spent``: such a job goes on premises only, waits until a person has
    approved it, or is refused. ``approvers``: names of Airflow's users, and at a centre ``role:Operator``;
    empty: whoever may answer for the DAG.
    """

    usd: Usd | None = None
    core_h: CoreHours | None = None
    notice_at_percent: float = Field(80, gt=0, le=100)
    when_spent: WhenSpent = "refuse"
    approvers: tuple[Line, ...] = ()
    answer_within_h: float = Field(72, gt=0, le=8_760)


class Budgets(_Data):
    """All of budgets.yaml. ``default`` is each other project's own budget; None: they have no limit."""

    default: Budget | None = None
    projects: Mapping[ProjectName, Budget] = {}

    def of(self, project: str | None) -> Budget | None:
        """The budget of a project, None without a limit; jobs of no project share one ``default``."""
        return self.projects.get(project or "", self.default)

    @property
    def ask(self) -> tuple[Budget, ...]:
        """The budgets by which a person may be asked."""
        budgets = [*self.projects.values(), *filter(None, [self.default])]
        return tuple(budget for budget in budgets if budget.when_spent == "ask")
