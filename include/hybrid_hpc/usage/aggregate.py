"""Usage added up: frames in, frames out (pure, pandas).

``by`` names the columns to add up by: cluster, partition, project, person, and ``piece`` for the time. What
jobs used counts when they used it; that they waited, failed and were jobs at all counts when they ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

from hybrid_hpc.jobs import JobState
from hybrid_hpc.usage.costs import HOUR_S
from hybrid_hpc.usage.frames import SPREAD

BOUND_S = 10.0  # a job's slowdown counts as if it had run for so long at least
REQUEUED = "requeued"  # how a life ended after which the scheduler has run the job again
NO_FAILURE = frozenset({JobState.COMPLETED.value, JobState.CANCELLED.value, REQUEUED})
QUANTILES = {  # by column: of which measure of a life, and which part of the lives lies below
    "wait_p50_s": ("wait_s", 0.5),
    "wait_p90_s": ("wait_s", 0.9),
    "wait_p95_s": ("wait_s", 0.95),
    "slowdown_p50": ("slowdown", 0.5),
}
COUNTS = ("jobs", "failed", "memory_known")
SUMS = (*COUNTS, *SPREAD, "used_core_h", "had_core_h", "memory")


def totals(parts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """What `spread` gives, added up. Index: ``by``. Columns:

    ``jobs`` that ended (one that lost its node and was run again counts twice), ``failed`` of them (cancelled
    ones are no failure); ``core_h``, ``cpu_h``, ``gpu_h``, ``cost_usd``; ``wait_p50_s``, ``wait_p90_s``,
    ``wait_p95_s``; ``slowdown_p50``: waiting and running against running, for at least `BOUND_S`;
    ``cpu_efficiency`` and ``memory_efficiency``, used against asked for, of what has ended (the memory of the
    largest process on each node, so it may have been more).
    """
    ended = _ended(parts[parts["ended_here"]]).groupby(list(by))
    ranks = {name: ended[measure].quantile(part) for name, (measure, part) in QUANTILES.items()}
    return table_of(sums(parts, by), pd.DataFrame(ranks))


def sums(parts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The part of `totals` that can be added up further. Index: ``by``; columns `SUMS`.

    ``used_core_h`` and ``had_core_h`` are of what has ended; ``memory`` is the sum of the parts of their
    memory that ``memory_known`` lives used.
    """
    used = parts.groupby(list(by))[list(SPREAD)].sum()
    ended = _ended(parts[parts["ended_here"]]).groupby(list(by))
    counts = ended[list(COUNTS)].sum().reindex(used.index, fill_value=0)
    others = ended[["used_core_h", "had_core_h", "memory"]].sum().reindex(used.index, fill_value=0.0)
    return counts.join([used, others])[list(SUMS)]


def table_of(added: pd.DataFrame, ranks: pd.DataFrame) -> pd.DataFrame:
    """The columns of `totals`, of `sums` and of the ranks named in `QUANTILES`, both with the same index."""
    rates = {
        "cpu_efficiency": added["used_core_h"] / added["had_core_h"].replace(0.0, np.nan),
        "memory_efficiency": added["memory"] / added["memory_known"].replace(0, np.nan),
    }
    return added[[*COUNTS[:2], *SPREAD]].join([ranks, pd.DataFrame(rates)])


def _ended(ended: pd.DataFrame) -> pd.DataFrame:
    """The same with what counts once for each life."""
    cause = causes(ended)
    asked_mib = ended["memory_asked_mib"].where(ended["memory_asked_mib"] > 0)
    memory = ended["max_rss_mib"] * ended["nodes"].clip(lower=1) / asked_mib
    return ended.assign(
        jobs=(cause != REQUEUED).astype(int),
        failed=(~cause.isin(NO_FAILURE)).astype(int),
        slowdown=slowdown(ended),
        used_core_h=ended["cpu_s"] / HOUR_S,
        had_core_h=ended["cores"] * ended["elapsed_s"] / HOUR_S,
        memory=memory,
        memory_known=memory.notna().astype(int),
    )


def failures(parts: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """How many lives ended in each way but *completed*. Index: ``by``; a column per cause that there was."""
    ended = parts[parts["ended_here"]]
    ended = ended.assign(cause=causes(ended))
    others = ended[ended["cause"] != JobState.COMPLETED.value]
    return others.groupby([*by, "cause"]).size().unstack("cause", fill_value=0)


def cloud_share(parts: pd.DataFrame, elastic: Collection[str], by: Sequence[str]) -> pd.DataFrame:
    """Which part went to elastic clusters, 0 to 1. Index: ``by``; columns jobs, core_h, gpu_h, cost_usd."""
    counted = parts.assign(jobs=parts["ended_here"].astype(float))
    columns = ["jobs", "core_h", "gpu_h", "cost_usd"]
    there = counted[columns].where(counted["cluster"].isin(list(elastic)), 0.0)
    keys = [counted[name] for name in by]
    whole = counted.groupby(keys)[columns].sum()
    return there.groupby(keys).sum() / whole.replace(0.0, np.nan)


def causes(ended: pd.DataFrame) -> pd.Series:
    """How each life ended: its state, or `REQUEUED`."""
    states = ended["state"].astype(str)
    return states.where(states != JobState.PENDING.value, REQUEUED)


def slowdown(jobs: pd.DataFrame) -> pd.Series:
    """Waiting and running against running, at least 1; NaN for a life that never started."""
    ran_s = jobs["elapsed_s"].clip(lower=BOUND_S)
    return ((jobs["wait_s"] + jobs["elapsed_s"]) / ran_s).clip(lower=1.0)


def usage_table(frame: pd.DataFrame) -> str:
    """An aggregate as text for a log."""
    if frame.empty:
        return "nothing"
    return str(frame.reset_index().to_string(index=False, na_rep="", float_format="{:,.2f}".format))
