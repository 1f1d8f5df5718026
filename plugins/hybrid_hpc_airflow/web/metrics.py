"""What Prometheus is told: made of the ledger at each scrape, so that no process keeps a count of its own.

No label is a person or a job, and there are at most `MOST_PROJECTS` projects: the number of series is
bounded. Counters begin anew with each month.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hybrid_hpc.clusters import Clusters
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.months import this_month
from hybrid_hpc.usage.costs import HOUR_S
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.selection import Selection, usage_by
from hybrid_hpc_airflow.web.cluster_reading import read_ways
from hybrid_hpc_airflow.web.views import stage_of

PREFIX = "hybrid_hpc"
MOST_PROJECTS = 100  # by core-hours; what is left counts as `OTHERS`
OTHERS = "(others)"
SAMPLE_STANDS = timedelta(minutes=30)  # an older sample says nothing of now
WAITS = {"0.5": "wait_p50_s", "0.9": "wait_p90_s", "0.95": "wait_p95_s"}
Values = Mapping[Any, float]  # by the labels' values, a tuple
NODE_STATES = ("up", "booting", "off", "draining", "down")


def metrics_text(ledger: Ledger, clusters: Clusters, now: datetime) -> bytes:
    """Prometheus' text format; raises `Unavailable` when the ledger does not answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(LedgerCollector(ledger, clusters, now))
    return generate_latest(registry)


class LedgerCollector(Collector):
    """Everything, as the ledger has it at ``now``."""

    def __init__(self, ledger: Ledger, clusters: Clusters, now: datetime) -> None:
        self._ledger = ledger
        self._clusters = clusters
        self._now = now
        self._month = this_month(now)

    def describe(self) -> list[Metric]:
        """Nothing: registering it asks the ledger nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield self._open_jobs()
        yield from self._samples()
        yield from self._usage()
        yield self._waits()
        yield self._scale_requests()
        yield self._breakers()
        yield self._alerts()
        yield self._collection_age()
        yield from self._forecasts()

    def _open_jobs(self) -> Metric:
        counts: Counter[tuple[str, str]] = Counter()
        for each in self._ledger.open_counts():
            stage = stage_of(each.state, recorded=each.recorded)
            counts[each.cluster, stage.value] += each.jobs
        return _gauge("open_jobs", "Jobs of ours that have not been settled.", ("cluster", "stage"), counts)

    def _samples(self) -> Iterator[Metric]:
        found = self._ledger.newest_samples(self._now - SAMPLE_STANDS)
        yield _gauge("queued_jobs", "Everybody's jobs in the queue.", ("cluster", "state"), _queued(found))
        nodes = {
            (each.cluster, state): getattr(each, f"nodes_{state}") for each in found for state in NODE_STATES
        }
        yield _gauge("nodes", "Nodes by state.", ("cluster", "state"), nodes)
        for name, told in _OF_SAMPLE.items():
            yield _gauge(name, told, ("cluster",), {(each.cluster,): getattr(each, name) for each in found})

    def _usage(self) -> Iterator[Metric]:
        table = _few_projects(usage_by(self._ledger, Selection(self._month), ["cluster", "project"]))
        for name, (column, factor, told) in _OF_USAGE.items():
            values = (table[column] * factor).to_dict()
            yield _counter(name, f"{told}, this month.", ("cluster", "project"), values)

    def _waits(self) -> Metric:
        table = usage_by(self._ledger, Selection(self._month), ["cluster"])
        values = {
            (cluster, quantile): wait_s
            for quantile, column in WAITS.items()
            for cluster, wait_s in table[column].dropna().items()
        }
        told = "How long jobs that ended this month had waited."
        return _gauge("wait_seconds", told, ("cluster", "quantile"), values)

    def _scale_requests(self) -> Metric:
        outcomes = self._ledger.scale_outcomes(self._month.since)
        told = "Requests for nodes this month by what came of them."
        return _counter("scale_requests", told, ("cluster", "outcome"), outcomes)

    def _breakers(self) -> Metric:
        ways = read_ways(self._ledger, self._clusters)
        values = {(way.cluster, way.way): way.state == "open" for way in ways}
        return _gauge("breaker_open", "1: nobody goes that way for now.", ("cluster", "way"), values)

    def _alerts(self) -> Metric:
        counts = Counter((alert.cluster, alert.kind) for alert in self._ledger.alerts())
        return _gauge("alerts", "Alerts that stand.", ("cluster", "kind"), counts)

    def _collection_age(self) -> Metric:
        values = {
            (mark.cluster, mark.source): (self._now - mark.collected.until).total_seconds()
            for mark in self._ledger.watermarks()
            if mark.collected
            and mark.cluster in self._clusters.clusters  # one that was given up never will be
        }
        told = "How long ago the usage that was collected last ends."
        return _gauge("collection_age_seconds", told, ("cluster", "source"), values)

    def _forecasts(self) -> Iterator[Metric]:
        """As of the last report: to read every placement of a month would take seconds at each scrape."""
        finding = self._ledger.findings().get("forecasts")
        rows = finding.found if finding else ()
        for name, (column, told) in _OF_FORECASTS.items():
            values = {
                (row["cluster"], row["partition"]): row[column] for row in rows if row[column] is not None
            }
            yield _gauge(name, f"{told}, as of the last report.", ("cluster", "partition"), values)


_OF_SAMPLE = {
    "cores": "Cores that can compute.",
    "cores_busy": "Cores that jobs keep.",
    "cores_waiting": "Cores that waiting jobs ask for.",
    "gpus": "GPUs of nodes that can compute.",
    "gpus_busy": "GPUs that jobs keep.",
}
_OF_USAGE = {
    "jobs_ended": ("jobs", 1.0, "Jobs that ended"),
    "jobs_failed": ("failed", 1.0, "Jobs that failed"),
    "core_seconds": ("core_h", HOUR_S, "Core-seconds that jobs kept"),
    "gpu_seconds": ("gpu_h", HOUR_S, "GPU-seconds that jobs kept"),
    "cost_usd": ("cost_usd", 1.0, "What jobs cost, in USD"),
}
_OF_FORECASTS = {
    "forecast_error_seconds": ("error_p50_s", "Median of how far off the forecast start was"),
    "forecast_bias_seconds": ("bias_s", "Median of the start less its forecast: above 0 too hopeful"),
}


def _queued(samples: list[SampleRow]) -> Values:
    states = ("running", "waiting", "held")
    return {(each.cluster, state): getattr(each, f"jobs_{state}") for each in samples for state in states}


def _few_projects(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that counters tell; the projects with the most core-hours by name, the rest together."""
    sums = table[[column for column, _, _ in _OF_USAGE.values()]].reset_index()
    largest = sums.groupby("project")["core_h"].sum().nlargest(MOST_PROJECTS).index
    named = sums["project"].where(sums["project"].isin(largest), OTHERS)
    return sums.assign(project=named).groupby(["cluster", "project"]).sum()


def _gauge(name: str, told: str, labels: tuple[str, ...], values: Values) -> Metric:
    return _filled(GaugeMetricFamily(f"{PREFIX}_{name}", told, labels=labels), values)


def _counter(name: str, told: str, labels: tuple[str, ...], values: Values) -> Metric:
    """The format adds ``_total`` to the name."""
    return _filled(CounterMetricFamily(f"{PREFIX}_{name}", told, labels=labels), values)


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values) -> Metric:
    for labels in sorted(values):
        family.add_metric(list(labels), float(values[labels]))
    return family
