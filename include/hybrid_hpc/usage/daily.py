"""What the days and months of one cluster come to, in rows that can be added up further (pure, pandas).

The figures are those of `aggregate.sums` and `capacity.stood`; waits and slowdowns are counts in `buckets`.
Each row is there once for each of the `cuts`, and says '' for the columns that its cut does not tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd

from hybrid_hpc.jobs import JobState
from hybrid_hpc.usage.aggregate import SUMS, causes, slowdown, sums
from hybrid_hpc.usage.buckets import bucket_of, packed, unpacked
from hybrid_hpc.usage.capacity import stood
from hybrid_hpc.usage.cuts import ALL, CUTS
from hybrid_hpc.usage.days import DAY, MONTH, window_of
from hybrid_hpc.usage.frames import frame_of, jobs_frame, spread
from hybrid_hpc.usage.rows import UsageRow
from hybrid_hpc.usage.samples import SampleRow
from hybrid_hpc.usage.windows import Window

ALWAYS = ("day", "cluster")
GROUP = (*ALWAYS, *CUTS[ALL])
PACKED = {"wait_s": "waits", "slowdown": "slowdowns"}  # by measure: the column of its counts


def days_of_usage(
    days: Sequence[date], lives: Iterable[UsageRow], samples: Iterable[SampleRow]
) -> dict[str, list[Any]]:
    """Each of the days, of every life that touches one and of every sample of them, all of one cluster.

    Rows by what they tell: ``usage``, by whom, the columns `aggregate.SUMS` and those of `PACKED`;
    ``causes``, by whom and cause, how many lives; ``samples``, by partition, what they stood for
    (`capacity.STOOD`).
    """
    windows = [window_of(day) for day in days]
    frames = {**_of_lives(jobs_frame(lives), windows), **_of_samples(frame_of(SampleRow, samples), windows)}
    return {name: _rows(frame.assign(span=DAY)) for name, frame in frames.items()}


def month_of_usage(first: date, days: Sequence[Any]) -> list[Any]:
    """The ``usage`` of a month from that of its days, of one cluster: named tuples of all its columns."""
    if not days:
        return []
    frame = pd.DataFrame(days, columns=days[0]._fields).assign(day=first)
    by = ["cut", *GROUP]
    added = frame.groupby(by)[list(SUMS)].sum()
    counts = {column: _added_up(frame, by, column) for column in PACKED.values()}
    return _rows(_with_counts(added, counts).reset_index().assign(span=MONTH))


def _added_up(frame: pd.DataFrame, by: Sequence[str], column: str) -> pd.Series:
    places, buckets, lives = unpacked(frame[column].to_list())
    keys = [frame[name].iloc[places].reset_index(drop=True) for name in by]
    return packed(pd.Series(buckets), pd.Series(lives), keys)


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples(index=False))


def _of_lives(jobs: pd.DataFrame, windows: Sequence[Window]) -> dict[str, pd.DataFrame]:
    if jobs.empty:
        return {}
    parts = spread(jobs, windows)
    parts = parts.assign(day=parts["piece"].dt.date)
    ended = parts[parts["ended_here"]]
    used, causes = sums(parts, GROUP), _causes(ended)
    buckets = {measure: _buckets(ended, measure) for measure in PACKED}
    return {
        "usage": pd.concat([_usage_of(cut, used, buckets) for cut in CUTS]),
        "causes": pd.concat([_causes_of(cut, causes) for cut in CUTS]),
    }


def _usage_of(cut: str, used: pd.DataFrame, buckets: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    by = [*ALWAYS, *CUTS[cut]]
    counts = {
        PACKED[measure]: packed(each["bucket"], each["lives"], [each[name] for name in by])
        for measure, each in buckets.items()
    }
    return _of_cut(cut, _with_counts(used.groupby(level=by).sum(), counts))


def _with_counts(added: pd.DataFrame, counts: Mapping[str, pd.Series]) -> pd.DataFrame:
    """The columns of `PACKED` beside the others; a group in which nothing has ended has empty ones."""
    return added.assign(**{name: each.reindex(added.index, fill_value=b"") for name, each in counts.items()})


def _causes_of(cut: str, causes: pd.DataFrame) -> pd.DataFrame:
    return _of_cut(cut, causes.groupby([*ALWAYS, *CUTS[cut], "cause"])[["lives"]].sum())


def _of_cut(cut: str, added: pd.DataFrame) -> pd.DataFrame:
    untold = {name: "" for name in CUTS[ALL] if name not in CUTS[cut]}
    return added.reset_index().assign(cut=cut, **untold)


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
    known = ended.assign(value=values).dropna(subset=["value"])
    return _counted(known.assign(bucket=bucket_of(known["value"])), "bucket")


def _causes(ended: pd.DataFrame) -> pd.DataFrame:
    told = ended.assign(cause=causes(ended))
    return _counted(told[told["cause"] != JobState.COMPLETED.value], "cause")


def _counted(lives: pd.DataFrame, by: str) -> pd.DataFrame:
    return lives.groupby([*GROUP, by]).size().rename("lives").reset_index()
