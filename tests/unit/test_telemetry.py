"""Promises about metrics and traces: what a job's life says, in bounded words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hybrid_hpc import job_story, telemetry
from hybrid_hpc.errors import Unreachable
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import JobRow, Ledger
from lab.layout import PROJECT
from tests.unit.ledger_databases import NOW
from tests.unit.web_world import add_job, change

DECISION = {
    "cluster": "azure",
    "decided_at": NOW.isoformat(),
    "verdicts": [{"cluster": "azure", "best": {"starts_in_s": 60.0, "cost_usd": 1.0}}],
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader])
    monkeypatch.setattr(metrics, "get_meter", provider.get_meter)
    return reader


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
    yield exporter
    provider.shutdown()


def points(read: InMemoryMetricReader) -> dict[str, list[Any]]:
    told = read.get_metrics_data()
    assert told
    found = [
        metric for each in told.resource_metrics for scope in each.scope_metrics for metric in scope.metrics
    ]
    return {metric.name: list(metric.data.data_points) for metric in found}


@pytest.fixture
def row(tmp_path: Path) -> Iterator[JobRow]:
    """A job that waited for 90 s and ran for 60 s."""
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    ledger.migrate()
    token = add_job(ledger, 1, JobState.COMPLETED).token
    at = {"released_at": 5, "started_at": 95, "ended_at": 155}
    yield change(ledger, token, **{name: NOW + timedelta(seconds=late) for name, late in at.items()})
    ledger.close()


def test_a_jobs_life_is_told_in_seconds_with_the_error_of_its_forecast(
    read: InMemoryMetricReader, row: JobRow
) -> None:
    job_story.tell(row, DECISION)
    told = points(read)
    assert told["hybrid_hpc.job.queue_time"][0].sum == 90.0
    assert told["hybrid_hpc.job.run_time"][0].sum == 60.0
    assert told["hybrid_hpc.forecast.error"][0].sum == 35.0
    assert told["hybrid_hpc.forecast.error"][0].attributes["side"] == "late"
    assert told["hybrid_hpc.jobs.ended"][0].attributes["state"] == "completed"


def test_nothing_that_names_a_person_or_a_job_is_in_a_metric(read: InMemoryMetricReader, row: JobRow) -> None:
    job_story.tell(row, DECISION)
    allowed = {"cluster", "partition", "state", "side"}
    for name, found in points(read).items():
        assert all(set(point.attributes) <= allowed for point in found), name


def test_a_job_that_never_started_has_waited_and_did_not_run(read: InMemoryMetricReader, row: JobRow) -> None:
    job_story.tell(replace(row, started_at=None, state=JobState.CANCELLED), None)
    told = points(read)
    assert told["hybrid_hpc.job.queue_time"][0].sum == 150.0
    assert "hybrid_hpc.job.run_time" not in told
    assert "hybrid_hpc.forecast.error" not in told


def test_how_long_a_submission_took_is_told_with_how_it_ended(read: InMemoryMetricReader) -> None:
    with telemetry.measured("hybrid_hpc.job.submit_time", cluster="onprem"):
        pass
    with pytest.raises(Unreachable), telemetry.measured("hybrid_hpc.job.submit_time", cluster="onprem"):
        raise Unreachable("away")
    outcomes = {point.attributes["outcome"] for point in points(read)["hybrid_hpc.job.submit_time"]}
    assert outcomes == {"ok", "Unreachable"}


def test_every_metric_that_is_told_is_in_the_docstring_and_no_other() -> None:
    documented = set(re.findall(r"hybrid_hpc\.[a-z_.]+", telemetry.__doc__ or ""))
    code = "\n".join(file.read_text() for file in (PROJECT / "include" / "hybrid_hpc").rglob("*.py"))
    told = set(re.findall(r"""telemetry\.(?:count|measure|measured|stand)\(\s*"([a-z_.]+)""", code))
    assert told == documented
    assert set(telemetry._UNITS) <= documented


def test_steps_are_told_within_a_trace_and_begin_none(spans: InMemorySpanExporter, row: JobRow) -> None:
    with telemetry.span("hpc.head_node.run", cluster="onprem"):
        pass
    job_story.tell(row, None)
    assert not spans.get_finished_spans()
    with trace.get_tracer("a task").start_as_current_span("worker.collect"):
        job_story.tell(row, None)
        with telemetry.span("hpc.head_node.run", cluster="onprem"):
            pass
    found = {span.name: span for span in spans.get_finished_spans()}
    assert set(found) == {"hpc.job.queued", "hpc.job.ran", "hpc.head_node.run", "worker.collect"}
    queued = found["hpc.job.queued"]
    assert queued.end_time and queued.start_time
    assert (queued.end_time - queued.start_time) / 1e9 == pytest.approx(90.0)
    assert queued.parent
    assert found["worker.collect"].context
    assert queued.parent.span_id == found["worker.collect"].context.span_id


def test_an_end_before_the_beginning_is_told_as_no_time_at_all(spans: InMemorySpanExporter) -> None:
    """The cluster's clock and ours differ."""
    with trace.get_tracer("a task").start_as_current_span("worker.collect"):
        telemetry.past_span("hpc.job.queued", NOW, NOW - timedelta(seconds=3))
    (queued,) = [span for span in spans.get_finished_spans() if span.name == "hpc.job.queued"]
    assert queued.start_time == queued.end_time
