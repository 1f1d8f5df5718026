"""What the page *Usage* shows and its API answers (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc_airflow.web.views import View


class TotalsView(View):
    """One line of the table; None where there is nothing to tell. As `hybrid_hpc.usage.aggregate.totals`."""

    jobs: int
    failed: int
    core_h: float
    cpu_h: float
    gpu_h: float
    cost_usd: float
    wait_p50_s: float | None
    wait_p90_s: float | None
    wait_p95_s: float | None
    slowdown_p50: float | None
    cpu_efficiency: float | None
    memory_efficiency: float | None


class LineView(TotalsView):
    """One line, of what it is; ``name`` is a day for a period, '' where the jobs named none."""

    name: str


class CapacityView(View):
    """One cluster beside its jobs; None where it has no VMs, or was not seen."""

    cluster: str
    utilisation: float | None  # busy cores against all that were up, 0 to 1
    seen: float  # the part of the time for which there are samples, 0 to 1
    job_core_h: float
    vm_core_h: float | None
    boot_core_h: float | None
    idle_core_h: float | None
    head_core_h: float | None
    other_core_h: float | None
    vm_usd: float | None


class GapView(View):
    """A time for which a source of a cluster was not collected: nothing is known of it."""

    cluster: str
    source: str
    since: datetime
    until: datetime
    why: str


class SeriesView(View):
    """What a chart draws in one colour; None where nothing is known, which is no zero."""

    name: str
    values: tuple[float | None, ...]


class ChartView(View):
    """One chart; ``kind``: bars on each other, lines, or rows side by side.

    ``along``: names, or the dates on which pieces of time begin, which end on the dates ``until``.
    """

    id: str
    title: str
    note: str = ""
    kind: str
    unit: str
    along: tuple[str, ...]
    until: tuple[str, ...] = ()
    series: tuple[SeriesView, ...]
    gaps: tuple[tuple[str, str], ...] = ()

    @property
    def empty(self) -> bool:
        """True when there is nothing to draw."""
        return not any(value for each in self.series for value in each.values)


class FoundView(View):
    """What the last report found, which takes all jobs: of its own window, whatever is asked for."""

    since: datetime
    until: datetime
    advice: tuple[str, ...]
    charts: tuple[ChartView, ...]


class UsageJobView(View):
    """One life of a job that has ended."""

    cluster: str
    native_id: str
    task: str
    token: str
    name: str
    person: str
    project: str
    partition: str
    state: str
    nodes: int
    cores: int
    gpus: int
    submitted_at: datetime
    started_at: datetime | None
    ended_at: datetime
    wait_s: float | None
    elapsed_s: float
    core_h: float
    gpu_h: float
    cost_usd: float

    @classmethod
    def of(cls, row: UsageRow) -> UsageJobView:
        """What the ledger has of it, but for what only its own page tells."""
        return cls.model_validate(row)


class UsageView(View):
    """All of the usage that is asked for."""

    now: datetime
    first: str
    last: str
    totals: TotalsView
    elastic_share: float | None  # of core-hours, 0 to 1
    elastic_usd_share: float | None
    lines: tuple[LineView, ...]
    capacity: tuple[CapacityView, ...]
    charts: tuple[ChartView, ...]
    gaps: tuple[GapView, ...]
    to_roll_up: int  # days of clusters that the figures lack, or have of an earlier collection
    found: FoundView | None
    names: Mapping[str, tuple[str, ...]]  # that can be asked for, by column

    @property
    def charts_json(self) -> list[dict[str, Any]]:
        """Every chart, for the page's script."""
        found = self.found.charts if self.found else ()
        return [chart.model_dump(mode="json") for chart in (*self.charts, *found)]


class UsageJobsView(View):
    """Jobs that have ended, the latest first; ``after`` asks for those that follow, '': there are none."""

    jobs: tuple[UsageJobView, ...]
    after: str
