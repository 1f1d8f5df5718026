"""Random histories of submissions, and what must hold after every step of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from functools import partial
from typing import ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import Job, JobRow
from hybrid_hpc.schedulers.slurm_words import STATES
from tests.chaos.protocol_cluster import ENDS, ClusterJob, has_our_prefix
from tests.chaos.protocol_turns import Process
from tests.chaos.protocol_world import (
    REQUEST,
    CountingLedger,
    Fate,
    Submitting,
    World,
    cancelled,
    polled,
    settled,
)
from tests.crash_points import POINTS

T = TypeVar("T")

PICK = st.integers(0, 7)
WHICH = st.integers(0, 1)  # of two jobs
FATE = st.sampled_from((*Fate, Fate.ANSWERED, Fate.ANSWERED))
TURNS = st.sampled_from((0, 3, 9, 15, 30, 3000))
DIES_AT = st.sampled_from(("", "", "", *POINTS))
MOMENTS_S = (1.0, 10.0, 60.0, 100.0, 151.0, 400.0, 4000.0)
JUMPS_S = (-30.0, -5.0, 60.0, 200.0, 3600.0)


class Trouble(Enum):
    """What befalls a cluster beside its nodes."""

    WRAPPED = "all ids were used, they begin again"
    REBUILT = "everything is gone, ids begin again"
    PAST_LOST = "the accounting forgets what has ended"
    LAGS = "the accounting learns nothing for a while"
    DOWN = "the accounting does not answer"
    OVER = "the accounting answers, and knows all"


def picked(number: int, some: Sequence[T]) -> T:
    return some[number % len(some)]


class Tries(RuleBasedStateMachine):
    """Tries at two jobs by any protocol: lost replies, deaths, late arrivals, several alive at once."""

    protocol: ClassVar[Submitting]
    ledger: ClassVar[CountingLedger]
    most_at_once = 4

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.ledger)
        self.newest = [0, 0]  # attempts; each clear of a task makes another
        self.ledger._now = self.world.now
        self.ledger.empty()

    def job(self, which: int, attempt: int) -> Job:
        key = JobKey("dag", f"run {which}", generation=attempt)
        return Job(key, REQUEST, "onprem", "batch", "alice", attempt=f"onprem.0.{attempt}")

    def at_work(self) -> list[Process]:
        return [process for process in self.world.processes if process.alive]

    def has_room(self) -> bool:
        return len(self.at_work()) < self.most_at_once

    def has_work(self) -> bool:
        return bool(self.at_work())

    def worker(self, pick: int) -> Process:
        return self.at_work()[pick % len(self.at_work())]

    def try_once(self, job: Job, fates: Sequence[Fate] = (), dies_at: str = "") -> Process:
        what = f"try {job.key.run_id} {job.attempt}"
        return self.world.start(what, partial(self.protocol.attempt, job), fates=fates, dies_at=dies_at)

    @initialize(fate=FATE, dies_at=DIES_AT, turns=TURNS)
    def the_first_try_begins(self, fate: Fate, dies_at: str, turns: int) -> None:
        self.a_try_begins(0, fate, dies_at, turns)

    @precondition(has_room)
    @rule(which=WHICH, fate=FATE, dies_at=DIES_AT, turns=TURNS)
    def a_try_begins(self, which: int, fate: Fate, dies_at: str, turns: int) -> None:
        self.try_once(self.job(which, self.newest[which]), [fate], dies_at).go(turns)

    @precondition(has_room)
    @rule(which=WHICH, turns=st.integers(6, 12))
    def a_try_freezes_while_it_submits(self, which: int, turns: int) -> None:
        """For longer than anybody waits for it; it may wake later."""
        self.try_once(self.job(which, self.newest[which])).go(turns)
        self.world.pass_by(200)

    @precondition(has_work)
    @rule(pick=PICK, turns=TURNS)
    def it_goes_on(self, pick: int, turns: int) -> None:
        self.worker(pick).go(turns)

    @precondition(has_work)
    @rule(pick=PICK)
    def it_dies(self, pick: int) -> None:
        self.worker(pick).kill()

    @rule(seconds=st.sampled_from(MOMENTS_S))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_by(seconds)

    @precondition(lambda self: self.world.cluster.waiting())
    @rule(pick=PICK)
    def a_job_starts(self, pick: int) -> None:
        self.world.cluster.start(picked(pick, self.world.cluster.waiting()))

    @precondition(lambda self: self.world.cluster.running())
    @rule(pick=PICK, state=st.sampled_from(ENDS))
    def a_job_ends(self, pick: int, state: str) -> None:
        self.world.cluster.end(picked(pick, self.world.cluster.running()), state)

    @invariant()
    def a_token_runs_at_most_once(self) -> None:
        begun = [job.name for job in self.world.ours() if job.ran]
        assert len(begun) == len(set(begun)), f"ran twice: {begun}"

    def teardown(self) -> None:
        self.world.kill_all()


class OurTries(Tries):
    """The product's own protocol with all that can befall it; in the end everything comes to rest."""

    def __init__(self) -> None:
        super().__init__()
        self.wished: set[str] = set()  # by the user
        self._read: tuple[int, list[JobRow]] = (-1, [])
        self.at_the_end: dict[str, JobRow] = {}  # settled rows, as they first were

    def rows(self) -> list[JobRow]:
        """Every row; read anew only when something was written."""
        if self._read[0] != self.ledger.writes:
            self._read = self.ledger.writes, self.ledger.all_jobs()
        return self._read[1]

    def open_rows(self) -> list[JobRow]:
        return [row for row in self.rows() if not row.settled]

    # What people and processes do

    @precondition(lambda self: self.has_room() and any(self.newest))
    @rule(which=WHICH, fate=FATE, turns=TURNS)
    def a_zombie_goes_on(self, which: int, fate: Fate, turns: int) -> None:
        """A worker that was given up wakes: its attempt was cleared since."""
        job = self.job(which, max(self.newest[which] - 1, 0))
        if self.ledger.attempted(job):
            self.try_once(job, [fate]).go(turns)

    @precondition(Tries.has_work)
    @rule(pick=PICK)
    def its_next_reply_is_lost(self, pick: int) -> None:
        self.worker(pick).link.cut_next = True

    @precondition(lambda self: sum(self.newest) < 4)
    @rule(which=WHICH)
    def the_user_clears(self, which: int) -> None:
        """A worker without an intent ends here: see the expected failures in test_protocol."""
        if not self.ledger.attempted(self.job(which, self.newest[which])):
            for process in self.at_work():
                if process.what.startswith(f"try run {which} "):
                    process.kill()
        self.newest[which] += 1

    @precondition(lambda self: self.has_room() and self.open_rows())
    @rule(pick=PICK, turns=TURNS)
    def the_user_cancels(self, pick: int, turns: int) -> None:
        row = picked(pick, self.open_rows())
        self.wished.add(row.token)
        self.ledger.request_cancel(row.token, "alice", "wrong input")
        self.world.start("cancel", partial(cancelled, self.world, row)).go(turns)

    @precondition(Tries.has_room)
    @rule(turns=TURNS)
    def a_poll_begins(self, turns: int) -> None:
        self.world.start("poll", partial(polled, self.world)).go(turns)

    @precondition(lambda self: self.has_room() and self.released_rows())
    @rule(pick=PICK, turns=TURNS)
    def somebody_collects(self, pick: int, turns: int) -> None:
        row = picked(pick, self.released_rows())
        self.world.start("settle", partial(settled, self.world, row)).go(turns)

    def released_rows(self) -> list[JobRow]:
        return [row for row in self.open_rows() if row.released_at]

    @rule(seconds=st.sampled_from(JUMPS_S))
    def our_clock_jumps(self, seconds: float) -> None:
        self.world.jump(seconds)

    # What becomes of the cluster

    @precondition(lambda self: self.world.cluster.running())
    @rule(pick=PICK, requeued=st.booleans())
    def a_node_fails(self, pick: int, requeued: bool) -> None:
        job = picked(pick, self.world.cluster.running())
        if requeued:
            self.world.cluster.requeue(job)
        else:
            self.world.cluster.end(job, "NODE_FAIL")

    @precondition(lambda self: self.left_over())
    @rule(pick=PICK)
    def an_administrator_cancels(self, pick: int) -> None:
        self.world.cluster.end(picked(pick, self.left_over()), "CANCELLED")

    @rule(what=st.sampled_from(Trouble))
    def the_cluster_has_trouble(self, what: Trouble) -> None:
        cluster = self.world.cluster
        if what in (Trouble.WRAPPED, Trouble.REBUILT):
            self.ids_begin_again(rebuilt=what is Trouble.REBUILT)
        elif what is Trouble.PAST_LOST:
            cluster.accounting_from = cluster.time
        elif what is Trouble.LAGS:
            cluster.accounting_until = cluster.accounting_until or cluster.time
        else:
            cluster.database_down = what is Trouble.DOWN
            cluster.accounting_until = None

    def ids_begin_again(self, *, rebuilt: bool) -> None:
        """And somebody else's jobs get the first ones, under the account that we use."""
        cluster = self.world.cluster
        if rebuilt:
            cluster.rebuild()
        cluster.next_id = 1
        for _ in range(2):
            cluster.take("somebody", ours=False, held=True)
            cluster.start(cluster.take("somebody", ours=False, held=False))

    # What must hold

    @invariant()
    def no_stranger_is_touched(self) -> None:
        assert not self.world.cluster.strangers_hurt, self.world.cluster.strangers_hurt

    @invariant()
    def the_ledger_is_right(self) -> None:
        rows = self.rows()
        self.every_job_of_ours_is_recorded_or_held_or_over(rows)
        self.a_settled_row_never_changes(rows)
        self.no_state_is_final_without_evidence(rows)

    def every_job_of_ours_is_recorded_or_held_or_over(self, rows: Sequence[JobRow]) -> None:
        recorded = {(row.token, row.native_id) for row in rows}
        loose = [job for job in self.left_over() if (job.name, job.native_id) not in recorded]
        assert all(job.held for job in loose), loose

    def a_settled_row_never_changes(self, rows: Sequence[JobRow]) -> None:
        for row in rows:
            if row.token in self.at_the_end:
                assert row == self.at_the_end[row.token]
            if row.settled:
                self.at_the_end.setdefault(row.token, row)

    def no_state_is_final_without_evidence(self, rows: Sequence[JobRow]) -> None:
        for row in rows:
            if row.state.final:
                assert self.evidence(row), row

    def evidence(self, row: JobRow) -> bool:
        """True when what the row says is what happened."""
        if row.evidence == "refusal":
            return row.token in self.world.refused
        if row.evidence == "never sent":
            return not self.world.ran(row.token)
        jobs = [job for job in self.world.ours() if (job.native_id, job.name) == (row.native_id, row.token)]
        if row.evidence == "exit record":
            return any(job.exit_code == row.exit_code for job in jobs)
        if row.settled:  # then it was the last that happened to the job
            return any(STATES.get(job.state) is row.state for job in jobs)
        return any(STATES.get(state) is row.state for job in jobs for _, state in _seen(job))

    # Rest: nothing fails any more

    def teardown(self) -> None:
        try:
            self.come_to_rest()
            self.a_token_runs_at_most_once()
            self.no_stranger_is_touched()
            self.the_ledger_is_right()
            self.nothing_is_lost()
            self.what_is_left_was_late_or_its_sender_failed()
        finally:
            super().teardown()

    def come_to_rest(self) -> None:
        cluster = self.world.cluster
        cluster.database_down, cluster.accounting_until = False, None
        for process in self.at_work():
            process.go()
        self.world.pass_by(500)  # whatever is still on its way arrives
        for which in range(2):
            if self.tried(which):
                self.try_once(self.job(which, self.newest[which])).go()
        for _ in range(2):
            self.all_jobs_end()
            self.world.start("poll", partial(polled, self.world)).go()
            self.world.pass_by(MOMENTS_S[2])
            self.settle_all()

    def tried(self, which: int) -> bool:
        return bool(self.ledger.latest_job("dag", f"run {which}", ""))

    def all_jobs_end(self) -> None:
        for job in self.world.cluster.waiting():
            self.world.cluster.start(job)
        for job in self.world.cluster.running():
            self.world.cluster.end(job, "COMPLETED")

    def settle_all(self) -> None:
        for row in self.open_rows():
            if row.native_id:
                self.world.start("settle", partial(settled, self.world, row)).go()
            elif row.cancel_wished:
                self.world.start("cancel", partial(cancelled, self.world, row)).go()

    def nothing_is_lost(self) -> None:
        for which in range(2):
            row = self.ledger.attempted(self.job(which, self.newest[which]))
            if row is None or row.token in self.wished | self.world.refused:
                continue
            jobs = [job for job in self.world.ours() if job.name == row.token]
            if not any(job.wiped or job.outsider for job in jobs):
                assert [job.native_id for job in jobs if job.ran] == [row.native_id], row

    def what_is_left_was_late_or_its_sender_failed(self) -> None:
        """Held, and for the reconcile DAG to sweep.

        Who is in doubt finds their job again, unless another try froze before it sent its own, for longer
        than anybody waited for it: then that one may be recorded in between.
        """
        recorded = {(row.token, row.native_id) for row in self.rows()}
        for job in self.left_over():
            assert job.held, job
            assert (job.name, job.native_id) not in recorded, job
            assert not job.in_doubt or job.name in self.world.overslept, job
            assert not (job.sender and job.sender.succeeded), job

    def left_over(self) -> list[ClusterJob]:
        return [job for job in self.world.cluster.queue() if has_our_prefix(job) and not job.ended]


def _seen(job: ClusterJob) -> Iterator[tuple[float, str]]:
    for life in job.lives:
        yield from life.seen
