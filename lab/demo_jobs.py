"""The demo's jobs on their way: triggered through Airflow's REST API, followed in Airflow and the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import DecisionRow, JobRow, Ledger
from lab.airflow_api import FINISHED, AirflowApi
from lab.demo_samples import STAGES, Sample, Stage

DAG_ID = "hpc_job"
DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One sample and what is known of it; ``run_state`` is '' until it was triggered."""

    sample: Sample
    run_id: str
    run_state: str = ""
    decision: DecisionRow | None = None
    row: JobRow | None = None

    @property
    def finished(self) -> bool:
        """True when its DAG run has ended."""
        return self.run_state in FINISHED

    def reached(self, stage: Stage) -> bool:
        """Say whether it got so far; a run that has ended holds nobody up."""
        return self.finished or STAGES.index(stage) <= self._stage()

    def queued_s(self, now: datetime) -> float | None:
        """Seconds between the release to the scheduler and the start; None before the release."""
        if self.row is None or self.row.released_at is None:
            return None
        until = self.row.started_at or self.row.ended_at or now
        return max(0.0, (until - self.row.released_at).total_seconds())

    def _stage(self) -> int:
        if self.row is None or self.row.released_at is None:
            return -1
        state = self.row.outcome or self.row.state
        return STAGES.index("running" if state.started else "submitted")


class DemoJobs:
    """The samples of one demo. ``watch`` triggers each when its time has come and tells how all fare."""

    def __init__(self, samples: Sequence[Sample], api: AirflowApi, ledger: Ledger) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        self.jobs = {sample.name: DemoJob(sample, f"demo-{stamp}-{sample.name}") for sample in samples}
        self._api = api
        self._ledger = ledger

    def watch(self, between: Callable[[], object], *, step_s: float = 0.5) -> Iterator[list[DemoJob]]:
        """Give all jobs every half second until every run has ended, or `DEADLINE_S` have passed.

        ``between`` is called once a round. Raises httpx.HTTPError when the API does not answer.
        """
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            self._trigger_due()
            self.jobs = {name: self._look(job) for name, job in self.jobs.items()}
            yield list(self.jobs.values())
            if all(job.finished for job in self.jobs.values()):
                return
            between()
            time.sleep(step_s)

    def _trigger_due(self) -> None:
        for name, job in self.jobs.items():
            if not job.run_state and _is_due(job.sample, self.jobs):
                self._api.trigger(DAG_ID, job.run_id, job.sample.conf)
                self.jobs[name] = replace(job, run_state="queued")

    def _look(self, job: DemoJob) -> DemoJob:
        if not job.run_state or (job.finished and job.row and job.row.settled):
            return job
        key = JobKey(DAG_ID, job.run_id)
        return replace(
            job,
            run_state=self._api.run(DAG_ID, job.run_id)["state"],
            decision=job.decision or self._ledger.latest_decision(key),
            row=self._ledger.latest_job(DAG_ID, job.run_id, ""),
        )


def _is_due(sample: Sample, jobs: Mapping[str, DemoJob]) -> bool:
    return all(jobs[name].reached(stage) for name, stage in sample.after.items())


@dataclass(frozen=True, slots=True)
class Collected:
    """What a job left, as a person finds it: in the log of ``collect``, and the files that came back."""

    output: str
    failure: str
    files: tuple[Path, ...]


def collected(job: DemoJob, api: AirflowApi, results: Path) -> Collected:
    """Read what a job that has ended left behind."""
    tries = {task["task_id"]: task["try_number"] for task in api.tasks(DAG_ID, job.run_id)}
    lines = api.log(DAG_ID, job.run_id, "collect", tries["collect"]) if tries.get("collect") else []
    output = next((line for line in lines if line.startswith("output of the job")), "")
    failure = next((line for line in lines if line.startswith("job ")), "")
    token = job.row.token if job.row else "none"
    files = sorted(path for path in (results / token).rglob("*") if path.is_file())
    return Collected(output.partition("\n")[2].rstrip(), failure, tuple(files))


def outcome(job: DemoJob) -> JobState:
    """How the job ended, as the ledger has it; unknown while it has no such entry."""
    return (job.row and job.row.outcome) or JobState.UNKNOWN
