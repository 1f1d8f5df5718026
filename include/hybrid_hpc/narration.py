"""Where a job stands, in a sentence for the person whose job it is (pure).

A `Line` has a ``stage`` that changes only when there is something new to tell, and a ``text`` that may
hold an age; a log writes one line per stage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from hybrid_hpc.jobs import JobState
from hybrid_hpc.schedulers.base import Load, QueuedJob
from hybrid_hpc.supply import LIMIT, SILENT


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to tell; lines of equal ``stage`` tell the same.

    ``blocked``: not a matter of room; what keeps the job from starting may never go away by itself.
    """

    stage: str
    text: str
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Booting:
    """A job's nodes that were asked for and are not there yet: since when, where they stand, of which size.

    ``phases``: how many are how far, the least far first. ``usual_s``: how long their boot takes, learnt from
    earlier ones (``learnt``) or as clusters.yaml says; None: nobody knows. ``differs``: what the scheduler
    and CycleCloud see differently about them.
    """

    nodes: int
    asked_ago_s: float
    phases: tuple[tuple[str, int], ...] = ()
    vm_size: str = ""
    usual_s: float | None = None
    learnt: bool = False
    differs: str = ""

    @property
    def late(self) -> bool:
        """True when they take far longer than usual."""
        return self.usual_s is not None and self.asked_ago_s > max(3 * self.usual_s, self.usual_s + LATE_S)

    @property
    def stage(self) -> str:
        """Changes when there is something new to tell."""
        late = " late" if self.late else ""
        return f"booting {self.nodes} {self.phases} {self.vm_size}{late} {self.differs}".rstrip()

    @property
    def text(self) -> str:
        """``2 nodes booting (Standard_F16s_v2), asked 12 s ago, usually up after 9 s``."""
        plural = "node" if self.nodes == 1 else "nodes"
        size = f" ({self.vm_size})" if self.vm_size else ""
        ago = f"asked {span(self.asked_ago_s)} ago"
        differs = f"; {self.differs}" if self.differs else ""
        return f"{self.nodes} {plural} {self._where()}{size}, {ago}{self._usually()}{differs}"

    def _where(self) -> str:
        if len(self.phases) > 1:
            return f"on the way: {', '.join(f'{count} {phase}' for phase, count in self.phases)}"
        return self.phases[0][0] if self.phases else "booting"

    def _usually(self) -> str:
        if self.usual_s is None:
            return ""
        usual = span(self.usual_s)
        if self.late:
            return (
                f", far longer than the {usual} that it {'usually takes' if self.learnt else 'should take'}"
            )
        return f", {'usually' if self.learnt else 'expected'} up after {usual}"


def span(seconds: float) -> str:
    """``95 s``, ``7 min``."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# Slurm's reason codes, as sentences (slurm.conf(5), squeue(1) "JOB REASON CODES").
REASONS: Mapping[str, str] = {
    "AssocGrpCPUMinutesLimit": "the project has used up its core-hours on this cluster",
    "AssocGrpCpuLimit": "the project already uses as many cores as it may on this cluster",
    "AssocMaxJobsLimit": "you already run as many jobs as you may on this cluster",
    "BadConstraints": "no node of its partition can ever hold it: cancel it and ask for less",
    "BeginTime": "it was put back in the queue and waits for its next start time",
    "Dependency": "it waits for another job that it depends on",
    "DependencyNeverSatisfied": "the job it depends on has failed, so it can never start",
    "JobArrayTaskLimit": "as many of its array tasks run as its own limit allows",
    "JobHeldAdmin": "an administrator of the cluster holds it",
    "Licenses": "it waits for a licence",
    "NonZeroExitCode": "it ended with an exit code other than 0",
    "PartitionConfig": "its partition can never hold it: cancel it and ask for less",
    "PartitionDown": "its partition is closed at the moment",
    "PartitionInactive": "its partition is closed at the moment",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows",
    "PartitionTimeLimit": "it asks for more time than its partition allows",
    "QOSMaxCpuPerUserLimit": "you already use as many cores as you may on this cluster",
    "QOSMaxJobsPerUserLimit": "you already run as many jobs as you may on this cluster",
    "Reservation": "the nodes it could have are reserved",
}
_CLOSED = frozenset({"PartitionDown", "PartitionInactive"})
LATE_S = 15.0
_WAITS_FOR_ROOM = frozenset({"", "None", "Resources", "Priority"})
_WAITS_FOR_NODES = ("ReqNodeNotAvail", "Nodes_required_for_job_are_DOWN", "Nodes required for job are DOWN")


@dataclass(frozen=True, slots=True)
class Room:
    """What a cluster's waiting jobs have in common; made once a poll, however many wait."""

    free_cores: Mapping[str, int]  # by partition
    ahead: Mapping[str, int]  # by native id: pending jobs of the same partition that come first

    @classmethod
    def of(cls, load: Load) -> Self:
        """Reads the queue once, in the scheduler's order."""
        free: Counter[str] = Counter()
        for node in load.nodes:
            free.update(dict.fromkeys(node.partitions, node.cores_free))
        pending: Counter[str] = Counter()
        ahead: dict[str, int] = {}
        for job in load.jobs:
            partitions = job.partition.split(",")
            ahead.setdefault(job.native_id, max(pending[name] for name in partitions))
            if job.state is JobState.PENDING:
                pending.update(partitions)
        return cls(free, ahead)


def narrate(
    lines: Sequence[QueuedJob], room: Room, *, booting: Booting | None = None, trouble: str = ""
) -> Line:
    """What to tell about a job from its lines in the queue (several for an array).

    ``booting``: nodes on their way for the job's partition; ``trouble``: what keeps nodes away.
    """
    running = [line for line in lines if line.state.started]
    if running:
        return _running(lines, running, trouble)
    first = lines[0]
    if first.state is JobState.HELD:
        return Line("held", "held: not released to the scheduler yet")
    if first.state is JobState.CONFIGURING:
        return _configuring(first, booting, trouble)
    return _pending(first, room, booting, trouble)


def _running(lines: Sequence[QueuedJob], running: Sequence[QueuedJob], trouble: str) -> Line:
    names = sorted({name for line in running for name in line.node_names})
    waiting = sum(line.array_tasks for line in lines if not line.state.started)
    more = f"; {trouble}" if trouble else ""
    if waiting or len(running) > 1:
        text = f"running: {len(running)} array tasks on {_names(names)}, {waiting} waiting"
        return Line(f"running {len(running)} {waiting}{more}", text + more)
    return Line(f"running on {names}{more}", f"running on {_names(names)}{more}")


def _configuring(job: QueuedJob, booting: Booting | None, trouble: str) -> Line:
    """The scheduler has chosen its nodes, and they are not up."""
    names = _names(job.node_names)
    if trouble:
        blocked = not trouble.startswith(SILENT)  # they may come, and nobody tells us
        return Line(
            f"trouble {trouble}", f"has its nodes ({names}), but they do not come: {trouble}", blocked
        )
    if booting and booting.nodes:
        return Line(f"configuring {booting.stage}", f"has its nodes ({names}): {booting.text}")
    return Line("configuring", f"has its nodes ({names}), which are booting")


def _pending(job: QueuedJob, room: Room, booting: Booting | None, trouble: str) -> Line:
    if booting and booting.nodes:
        return Line(booting.stage, f"pending: {booting.text}")
    if trouble:
        blocked = not trouble.startswith(LIMIT)
        return Line(f"trouble {trouble}", f"pending: {trouble}", blocked)
    if job.reason in REASONS:
        return Line(f"reason {job.reason}", f"pending: {REASONS[job.reason]}", job.reason in _CLOSED)
    if job.reason in _WAITS_FOR_ROOM:
        return _waits_for_room(job, room)
    if job.reason.startswith(_WAITS_FOR_NODES):
        return Line("no nodes", "pending: the nodes it needs are not there", blocked=True)
    return Line(f"reason {job.reason}", f"pending: the scheduler says {job.reason}")


def _waits_for_room(job: QueuedJob, room: Room) -> Line:
    ahead = room.ahead.get(job.native_id, 0)
    cores = job.cores * job.array_tasks
    free = sum(room.free_cores.get(name, 0) for name in job.partition.split(","))
    queue = "no job ahead" if not ahead else f"{ahead} job{'s' if ahead > 1 else ''} ahead"
    wanted = f"{cores} free cores" if cores > 1 else "a free core"
    text = f"pending: waits for {wanted} ({free} free now), {queue}"
    return Line(f"room {ahead}", text)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown or "its nodes"
