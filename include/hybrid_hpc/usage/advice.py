"""What people could ask for less of, in sentences (pure, pandas).

Only what is sure: a job whose memory is spread over many processes may have used more than its largest one
shows, so it counts as if every core had run a process of that size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from hybrid_hpc.endings import duration_text, memory_text

LEAST_JOBS = 5
WASTE = 0.5  # what is used of it, below which something is said
WHO = ["cluster", "project", "person"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What one person could ask for less of on one cluster, for one project."""

    cluster: str
    project: str
    person: str
    sentence: str


def advice(jobs: pd.DataFrame) -> list[str]:
    """A sentence for each group of jobs of one person, alike in what they asked for, that used much less."""
    return [each.sentence for each in advice_of(jobs)]


def advice_of(jobs: pd.DataFrame) -> list[Advice]:
    """The same with whom it is for."""
    ran = jobs[jobs["ended_at"].notna() & (jobs["elapsed_s"] > 0)]
    return [*_about_memory(ran), *_about_cores(ran), *_about_walltime(ran)]


def _about_memory(ran: pd.DataFrame) -> Iterator[Advice]:
    known = ran.dropna(subset=["memory_asked_mib", "max_rss_mib"])
    known = known.assign(at_most_mib=known["max_rss_mib"] * known["cores"].clip(lower=1))
    for who, group in known.groupby([*WHO, "memory_asked_mib"]):
        asked, most = group["memory_asked_mib"].iloc[0], group["max_rss_mib"].max()
        if len(group) >= LEAST_JOBS and group["at_most_mib"].max() < WASTE * asked:
            used = f"the largest process used {memory_text(most)} at most"
            yield _to(who, f"asked for {memory_text(asked)}, {used} in {len(group)} jobs")


def _about_cores(ran: pd.DataFrame) -> Iterator[Advice]:
    several = ran[(ran["cores"] > 1) & (ran["cpu_s"] > 0)]
    several = several.assign(busy=several["cpu_s"] / several["elapsed_s"])
    for who, group in several.groupby([*WHO, "cores"]):
        cores, most = group["cores"].iloc[0], group["busy"].max()
        if len(group) >= LEAST_JOBS and most < WASTE * cores:
            yield _to(who, f"asked for {cores} cores, {most:.1f} were busy at most in {len(group)} jobs")


def _about_walltime(ran: pd.DataFrame) -> Iterator[Advice]:
    limited = ran.dropna(subset=["walltime_s"])
    for who, group in limited.groupby([*WHO, "walltime_s"]):
        asked, most = group["walltime_s"].iloc[0], group["elapsed_s"].max()
        if len(group) >= LEAST_JOBS and most < WASTE * asked:
            ran_s = f"the longest of {len(group)} jobs ran {duration_text(most)}"
            yield _to(who, f"asked for {duration_text(asked)}, {ran_s}: with less they may start sooner")


def _to(who: object, told: str) -> Advice:
    cluster, project, person, *_ = map(str, who if isinstance(who, tuple) else (who,))
    name = f"{cluster}: {person} ({project})" if project else f"{cluster}: {person}"
    return Advice(cluster, project, person, f"{name} {told}")
