"""What the days of one cluster come to, in rows that can be added up to any longer time (pure, pandas).

The figures are those of `aggregate.sums` and `capacity.stood`; waits and slowdowns are counts in `buckets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

import pandas as pd

from hybrid_hpc.jobs import JobState
from hybrid_hpc.usage.aggregate import QUANTILES, causes, slowdown, sums
from hybrid_hpc.usage.buckets import bucket_of
from hybrid_hpc.usage.capacity import stood
from hybrid_hpc.usage.days import DAY, window_of
from hybrid_hpc.usage.frames import frame_of, jobs_frame, spread
from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.windows import Window

GROUP = ("day", "cluster", "partition", "project", "person")
MEASURES = tuple(dict.fromkeys(measure for measure, _ in QUANTILES.values()))


def days_of_usage(
    days: Sequence[date], lives: Iterable[UsageRow], samples: Iterable[SampleRow]
) -> dict[str, list[Any]]:
    """Each of the days, of every life that touches one and of every sample of them, all of one cluster.

    Rows by what they tell: ``usage``, by whom, the columns `aggregate.SUMS`; ``buckets``, by whom, measure
    and bucket, and ``causes``, by whom and cause, how many lives; ``samples``, by partition, what they
    stood for (`capacity.STOOD`).
    """
    windows = [window_of(day) for day in days]
    frames = {**_of_lives(jobs_frame(lives), windows), **_of_samples(frame_of(SampleRow, samples), windows)}
    return {name: list(frame.assign(span=DAY).itertuples(index=False)) for name, frame in frames.items()}


def _of_lives(jobs: pd.DataFrame, windows: Sequence[Window]) -> dict[str, pd.DataFrame]:
    if jobs.empty:
        return {}
    parts = spread(jobs, windows)
    parts = parts.assign(day=parts["piece"].dt.date)
    ended = parts[parts["ended_here"]]
    return {
        "usage": sums(parts, GROUP).reset_index(),
        "buckets": pd.concat([_buckets(ended, measure) for measure in MEASURES]),
        "causes": _causes(ended),
    }


def _of_samples(samples: pd.DataFrame, windows: Sequence[Window]) -> dict[str, pd.DataFrame]:
    """A sample of the evening stands until midnight; what lies before a day's first one has none."""
    of_days = ((window, samples[_within(samples["moment"], window)]) for window in windows)
    told = [
        stood(here, window).reset_index().assign(day=window.since.date())
        for window, here in of_days
        if not here.empty
    ]
    return {"samples": pd.concat(told)} if told else {}


def _within(moments: pd.Series, window: Window) -> pd.Series:
    return (moments >= pd.Timestamp(window.since)) & (moments < pd.Timestamp(window.until))


def _buckets(ended: pd.DataFrame, measure: str) -> pd.DataFrame:
    values = ended["wait_s"] if measure == "wait_s" else slowdown(ended)
    known = ended.assign(measure=measure, value=values).dropna(subset=["value"])
    return _counted(known.assign(bucket=bucket_of(known["value"])), "measure", "bucket")


def _causes(ended: pd.DataFrame) -> pd.DataFrame:
    told = ended.assign(cause=causes(ended))
    return _counted(told[told["cause"] != JobState.COMPLETED.value], "cause")


def _counted(lives: pd.DataFrame, *by: str) -> pd.DataFrame:
    return lives.groupby([*GROUP, *by]).size().rename("lives").reset_index()
