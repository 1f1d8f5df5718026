"""A job that is to be submitted (pytest plugin)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import Job, Ledger
from tests.unit.submission_fakes import Clock, Queue
from tests.unit.submission_world import REQUEST, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A job for onprem and an empty ledger."""
    clock = Clock()
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=clock.now)
    ledger.migrate()
    job = Job(JobKey("dag", "run"), REQUEST, "onprem", "batch", "alice", directives={"qos": "high"})
    with asyncio.Runner() as runner:
        yield World(ledger, clock, Queue(clock), job, runner)
    ledger.close()
