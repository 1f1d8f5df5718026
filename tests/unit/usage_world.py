"""A cluster whose accounting and CycleCloud are known, for tests of the usage: what they say is made here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.cyclecloud import ClusterUsage, CycleCloudClient
from hybrid_hpc.errors import HybridHpcError, TooLong
from hybrid_hpc.headnode import HeadNode
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import UsageRow
from hybrid_hpc.schedulers.slurm import Slurm
from hybrid_hpc.schedulers.slurm_history import FORMAT
from hybrid_hpc.site import Site

NONCE = "0123456789ab"
NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
ONPREM, AZURE = load_clusters().cluster("onprem"), load_clusters().cluster("azure")
COLUMNS = FORMAT.split(",")
NODE = (
    "NodeName=node01 CPUAlloc=4 CPUTot=16 RealMemory=64000 AllocMem=0 State=MIXED Partitions=batch "
    "CfgTRES=cpu=16,mem=64000M,billing=16 AllocTRES=cpu=4"
)
STATES = {"REQUEUED": JobState.PENDING}


@dataclass(frozen=True)
class Life:
    """One life in the accounting, times in seconds after `NOON`; its end is not known before it came."""

    native_id: str
    began: float
    ended: float
    submitted: float | None = None
    state: str = "COMPLETED"
    task: str = ""
    name: str = "wrap"
    cores: int = 4
    cpu_s: int = 60

    def lines(self, now: float) -> list[str]:
        """As sacct prints it at that time; a job that waits has neither start nor end."""
        submitted = self.began if self.submitted is None else self.submitted
        over, runs = self.ended <= now, self.began <= now
        tres = f"billing={self.cores},cpu={self.cores},mem=8G,node=1"
        row = {
            **dict.fromkeys(COLUMNS, ""),
            "JobID": self.native_id + (f"_{self.task}" if self.task else ""),
            "State": self.state if over else "RUNNING" if runs else "PENDING",
            "ExitCode": "0:0",
            "Submit": _unix(submitted),
            "Eligible": _unix(submitted),
            "Start": _unix(self.began) if runs else "Unknown",
            "End": _unix(self.ended) if over else "Unknown",
            "ElapsedRaw": str(int(max(min(self.ended, now) - self.began, 0))),
            "TimelimitRaw": "60",
            "TotalCPU": "00:00:00",
            "ReqTRES": tres,
            "AllocTRES": tres,
            "AllocCPUS": str(self.cores),
            "NNodes": "1",
            "NodeList": "node01",
            "User": "alice",
            "Account": "proj-alpha",
            "Partition": "batch",
            "JobName": self.name,
        }
        batch = {
            "JobID": f"{row['JobID']}.batch",
            "TotalCPU": f"00:{self.cpu_s // 60:02}:{self.cpu_s % 60:02}",
        }
        used = [{**row, **batch, "MaxRSS": "1G", "User": "", "Partition": ""}] if over and self.cpu_s else []
        return [NONCE.join(each[name] for name in COLUMNS) for each in (row, *used)]


def _unix(seconds: float) -> str:
    return str(int(NOON.timestamp() + seconds))


@dataclass
class AccountingHeadNode:
    """Answers as Slurm does at the time ``now``, in seconds after `NOON`; ``trouble`` by command's label."""

    lives: Sequence[Life] = ()
    now: float = 0.0
    trouble: dict[str, HybridHpcError] = field(default_factory=dict)
    most_lives: int = 1_000_000  # of one answer
    asked: list[tuple[float, float]] = field(default_factory=list)
    noise: Sequence[str] = ()

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        """One answer, at once."""
        assert timeout_s is None or timeout_s > 30
        if command.label in self.trouble:
            raise self.trouble[command.label]
        if command.label == "load":
            return _answer(clock=[_unix(self.now)], nodes=[NODE], jobs=[])
        since, until = (_seconds(text) for text in command.argv[-2:])
        self.asked.append((since, until))
        there = [each for each in self.lives if each.began < until and each.ended >= since]
        if len(there) > self.most_lives:
            raise TooLong("the answer is too long")
        return _answer(records=[*(text for each in there for text in each.lines(self.now)), *self.noise])

    async def close(self) -> None:
        """Nothing was opened."""


def _seconds(text: str) -> float:
    return (datetime.fromisoformat(text).replace(tzinfo=UTC) - NOON).total_seconds()


def _answer(**sections: Sequence[str]) -> Answer:
    closed = [
        "".join(f"{text}\n" for text in lines) + f"hh-{NONCE} {name} 0\n"
        for name, lines in {**sections, "end": []}.items()
    ]
    return Answer(0, f"hh-begin {NONCE}\n" + "".join(closed), "")


@dataclass
class Cloud:
    """A CycleCloud in which one nodearray has had so many cores in each hour."""

    core_h: Callable[[datetime], float] = lambda _hour: 16.0
    trouble: HybridHpcError | None = None

    async def usage(self, start: datetime, end: datetime, granularity: str) -> ClusterUsage:
        """Whole hours, as CycleCloud gives them."""
        assert granularity == "hourly"
        if self.trouble:
            raise self.trouble
        hour = start.replace(minute=0, second=0, microsecond=0)
        intervals = []
        while hour < end:
            intervals.append(_interval(hour, self.core_h(hour)))
            hour += timedelta(hours=1)
        return ClusterUsage.model_validate({"usage": intervals})


def _interval(hour: datetime, core_h: float) -> dict[str, Any]:
    detail = {"vm_size": "F16", "priority": "Regular", "core_count": 16, "hours": core_h, "cost": core_h / 10}
    item = {"category": "nodearray", "node": "htc", "hours": core_h, "cost": core_h / 10, "details": [detail]}
    total = {"category": "cluster", "hours": core_h, "cost": core_h / 10}
    return {"start": hour, "end": hour + timedelta(hours=1), "total": total, "breakdown": [item]}


def site(head_node: AccountingHeadNode, cloud: Cloud | None = None, cluster: Cluster = ONPREM) -> Site:
    """The cluster with these ways to it."""
    return Site(cluster, Slurm(), cast("HeadNode", head_node), cast("CycleCloudClient | None", cloud))


ROW = UsageRow(
    cluster="onprem",
    native_id="17",
    task="",
    submitted_at=NOON,
    token="",
    name="wrap",
    user="alice",
    person="alice",
    project="proj-alpha",
    partition="batch",
    state=JobState.COMPLETED,
    exit_code=0,
    nodes=1,
    cores=4,
    gpus=0,
    eligible_at=None,
    started_at=NOON,
    ended_at=NOON + timedelta(hours=1),
    elapsed_s=3600.0,
    walltime_s=7200,
    memory_asked_mib=8192,
    cpu_s=7200.0,
    max_rss_mib=1024.0,
    node_names=("node01",),
    cost_usd=0.08,
)


def life(began: datetime = NOON, hours: float = 1.0, *, waited_s: float = 0.0, **changes: Any) -> UsageRow:
    """A life that ran so long; its wait lies before it."""
    times = {
        "submitted_at": began - timedelta(seconds=waited_s),
        "started_at": began,
        "ended_at": began + timedelta(hours=hours),
        "elapsed_s": hours * 3600,
    }
    return replace(ROW, **{**times, **changes})
