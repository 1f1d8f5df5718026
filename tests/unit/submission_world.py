"""One job, a scheduler in memory and a ledger, and tries that meet faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import Job, JobRow, Ledger
from hybrid_hpc.ownership import cancel
from hybrid_hpc.request import JobRequest
from hybrid_hpc.submission import Patience, submit
from tests.unit.submission_fakes import Clock, FakeHeadNode, FakeScheduler, Fate, Killed, Queue, QueueJob

REQUEST = JobRequest(name="test", script="#!/bin/bash\nhostname\n")


def no_crash(point: str) -> None:
    """Nothing dies here."""


def crash_at(wanted: str) -> Callable[[str], None]:
    def at(point: str) -> None:
        if point == wanted:
            raise Killed(point)

    return at


@dataclass
class World:
    """One job, one scheduler in memory and one ledger, on one clock."""

    ledger: Ledger
    clock: Clock
    queue: Queue
    job: Job
    runner: asyncio.Runner

    def head_node(self, *fates: Fate) -> FakeHeadNode:
        return FakeHeadNode(self.queue, fates)

    def submit(
        self,
        *fates: Fate,
        crash: Callable[[str], None] = no_crash,
        job: Job | None = None,
        patience: Patience | None = None,
    ) -> JobRow:
        steps = submit(
            job or self.job,
            scheduler=FakeScheduler(),
            head_node=self.head_node(*fates),
            ledger=self.ledger,
            patience=patience or Patience(now=self.clock.now, sleep=self.clock.sleep),
            crash=crash,
        )
        return self.runner.run(steps)

    def cancel(self, row: JobRow) -> JobRow:
        steps = cancel(
            row,
            scheduler=FakeScheduler(),
            head_node=self.head_node(),
            ledger=self.ledger,
            now=self.clock.now,
        )
        return self.runner.run(steps)

    def row(self) -> JobRow:
        row = self.ledger.attempted(self.job)
        assert row
        return row

    def ran(self) -> list[QueueJob]:
        return [job for job in self.queue.jobs if job.ran]

    def try_with(self, fault: object) -> None:
        """One try that meets a fault: a fate of its submission, or a death at a named point."""
        fates = [fault] if isinstance(fault, Fate) else []
        crash = crash_at(fault) if isinstance(fault, str) else no_crash
        with suppress(Killed, Unavailable):
            self.submit(*fates, crash=crash)

    def another(self, run_id: str) -> World:
        clock = Clock()
        job = Job(JobKey("dag", run_id), REQUEST, "onprem", "batch", "alice")
        ledger = self.ledger
        ledger._now = clock.now  # one clock for the steps and the ledger
        return World(ledger, clock, Queue(clock), job, self.runner)
