"""Metrics and spans by OpenTelemetry's API, exported by whoever runs this: Airflow, by its own settings.

Attributes are few and bounded: cluster, partition, how it ended. Never a person, a job's name, a command's
arguments: a metric of each is a series of its own, and what is in a trace is read by many. The token of a job
is in spans alone.

::

    hybrid_hpc.job.queue_time      s         cluster, partition         from the release to the start
    hybrid_hpc.job.submit_time     s         cluster, outcome           from the intent to the release
    hybrid_hpc.job.run_time        s         cluster, partition, state
    hybrid_hpc.jobs.ended          {job}     cluster, state
    hybrid_hpc.forecast.error      s         cluster, side              start forecast against start, absolute
    hybrid_hpc.polls               {poll}    cluster, outcome
    hybrid_hpc.ssh.connections     {connection}  cluster, outcome
    hybrid_hpc.scale.requests      {request} cluster, outcome
    hybrid_hpc.scale.nodes         {node}    cluster, outcome           asked for, added
    hybrid_hpc.breaker.open        1         target                     1 while nobody may connect
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from opentelemetry import metrics, trace

SCOPE = "hybrid_hpc"
Value = str | int | float | bool
_UNITS = {
    "hybrid_hpc.jobs.ended": "{job}",
    "hybrid_hpc.polls": "{poll}",
    "hybrid_hpc.ssh.connections": "{connection}",
    "hybrid_hpc.scale.requests": "{request}",
    "hybrid_hpc.scale.nodes": "{node}",
}


def count(name: str, number: int = 1, **attributes: Value) -> None:
    """Adds to a counter."""
    _meter().create_counter(name, unit=_UNITS[name]).add(number, attributes)


def measure(name: str, seconds: float, **attributes: Value) -> None:
    """One value of a histogram."""
    _meter().create_histogram(name, unit="s").record(seconds, attributes)


def stand(name: str, value: float, **attributes: Value) -> None:
    """The value that a gauge has from now on."""
    _meter().create_gauge(name).set(value, attributes)


@contextmanager
def measured(name: str, **attributes: Value) -> Iterator[None]:
    """Measures how long the block takes; ``outcome`` is ``ok``, or the name of the error that it raises."""
    began = time.monotonic()
    outcome = "ok"
    try:
        yield
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        measure(name, time.monotonic() - began, outcome=outcome, **attributes)


@contextmanager
def span(name: str, **attributes: Value) -> Iterator[None]:
    """A step of what is traced already. It begins no trace: a poll every few seconds is no story."""
    if not trace.get_current_span().is_recording():
        yield
        return
    with trace.get_tracer(SCOPE).start_as_current_span(name, attributes=attributes):
        yield


def past_span(name: str, begun: datetime, ended: datetime, **attributes: Value) -> None:
    """A step that is over, told afterwards by those who know when it was."""
    if trace.get_current_span().is_recording():
        told = trace.get_tracer(SCOPE).start_span(name, start_time=_nanoseconds(begun), attributes=attributes)
        told.end(_nanoseconds(max(begun, ended)))


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000


def _meter() -> metrics.Meter:
    # Not kept: Airflow makes a provider of its own in every process that it forks.
    return metrics.get_meter(SCOPE)
