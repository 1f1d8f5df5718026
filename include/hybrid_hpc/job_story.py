"""What a job's life says to those who watch the whole: its times, and the steps of its trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from hybrid_hpc import telemetry
from hybrid_hpc.ledger import JobRow
from hybrid_hpc.usage.placed import forecast_of


def tell(row: JobRow, decision: Mapping[str, Any] | None) -> None:
    """Of a job that is settled, once. Its start and end are by the cluster's clock."""
    where = {"cluster": row.cluster, "partition": row.partition}
    telemetry.count("hybrid_hpc.jobs.ended", cluster=row.cluster, state=row.state.value)
    for name, begun, ended in _steps(row):
        took_s = max((ended - begun).total_seconds(), 0.0)
        if name == "queued":
            telemetry.measure("hybrid_hpc.job.queue_time", took_s, **where)
        else:
            telemetry.measure("hybrid_hpc.job.run_time", took_s, state=row.state.value, **where)
        telemetry.past_span(f"hpc.job.{name}", begun, ended, token=row.token, **where)
    if decision and row.started_at:
        _tell_forecast(row, decision, row.started_at)


def _steps(row: JobRow) -> Iterator[tuple[str, datetime, datetime]]:
    begun = row.released_at
    over = row.ended_at or row.settled_at
    if begun and (row.started_at or over):
        yield "queued", begun, row.started_at or over or begun
    if row.started_at and over:
        yield "ran", row.started_at, over


def _tell_forecast(row: JobRow, decision: Mapping[str, Any], started_at: datetime) -> None:
    starts_in_s, _ = forecast_of(decision)
    if starts_in_s is not None:
        came_s = (started_at - datetime.fromisoformat(decision["decided_at"])).total_seconds()
        late_s = came_s - starts_in_s
        side = "late" if late_s > 0 else "early"
        telemetry.measure("hybrid_hpc.forecast.error", abs(late_s), cluster=row.cluster, side=side)
