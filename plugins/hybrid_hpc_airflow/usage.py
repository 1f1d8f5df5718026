"""The tasks of ``hpc_usage``: one collects a cluster's usage, one tells what was used on all."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import HybridHpcError

if TYPE_CHECKING:
    from hybrid_hpc.usage.collect import CollectedUsage
    from hybrid_hpc.usage.windows import Window

WINDOW_PARAMS = {
    "since": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Since",
        description="Left empty, what is missing is collected, and the last 7 days are told.",
    ),
    "until": Param(
        None,
        type=["null", "string"],
        format="date-time",
        title="Until",
        description="The end of that piece of the past; left empty, now.",
    ),
}


class CollectUsageOperator(BaseOperator):
    """Collects the usage of one cluster into the ledger: what is missing, or the window of the run's params.

    Raises `AirflowException` with the reason when something does not answer. What did answer is kept, and
    the gap is in the ledger.
    """

    ui_color = "#e1eef2"

    def __init__(self, *, cluster: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cluster = cluster

    def execute(self, context: Context) -> dict[str, int]:
        """How many rows came from each source."""
        window = read_window(context["params"], datetime.now(UTC))
        try:
            collected = asyncio.run(self._collect(window))
        except HybridHpcError as error:
            raise AirflowException(f"no usage of {self.cluster} was collected: {error}") from error
        if collected.silent:
            raise AirflowException(collected.sentence())
        self.log.info("%s", collected.sentence())
        return dict(collected.rows)

    async def _collect(self, window: Window | None) -> CollectedUsage:
        from hybrid_hpc.usage.collect import collect_usage
        from hybrid_hpc_airflow.connections import open_ledger_async, open_site

        ledger = await open_ledger_async()
        site = await open_site(load_clusters().cluster(self.cluster))
        try:
            return await collect_usage(site, ledger, window)
        finally:
            await site.close()


class UsageReportOperator(BaseOperator):
    """Rolls up what has been collected, then tells what was used: tables in the log.

    Told is the window of the run's params, else the last ``days``; of the latter the page *Usage* shows what
    takes all jobs to find.
    """

    ui_color = "#e1eef2"

    def __init__(self, *, days: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.days = days

    def execute(self, context: Context) -> list[dict[Hashable, Any]]:
        """The totals by cluster and project, named as in `hybrid_hpc.usage.aggregate.totals`."""
        from hybrid_hpc.usage.report import UsageReport
        from hybrid_hpc.usage.rollup import roll_up
        from hybrid_hpc.usage.windows import Window
        from hybrid_hpc_airflow.connections import open_ledger

        now, ledger = datetime.now(UTC), open_ledger()
        asked = read_window(context["params"], now)
        window = asked or Window(now - timedelta(days=self.days), now)
        self.log.info("rolled up %d days of clusters anew", roll_up(ledger))
        report = UsageReport(ledger, window)
        if asked is None:
            ledger.save_findings(window, report.findings(load_clusters().clusters.values()))
        self.log.info("from %s to %s UTC\n\n%s", *map(_minute, (window.since, window.until)), report.text())
        return report.rows()


def read_window(params: Mapping[str, Any], now: datetime) -> Window | None:
    """The window that a person asks for; None: none. Raises `AirflowFailException` for one that is not."""
    from hybrid_hpc.usage.windows import Window

    since, until = (_moment(params.get(name)) for name in ("since", "until"))
    if since is None and until is None:
        return None
    if since is None:
        raise AirflowFailException("'until' needs a 'since' before it")
    window = Window(since, min(until or now, now))
    if window.until <= window.since:
        raise AirflowFailException(
            f"'since' must lie before 'until' and before now, {now:%Y-%m-%d %H:%M} UTC"
        )
    return window


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
