"""One cluster at one moment, ready to be asked where a job would go in it, when, and for how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hybrid_hpc.clusters import Cluster, Partition
from hybrid_hpc.placement.cost import HOUR_S, Rates, rates_of
from hybrid_hpc.placement.fits import Refusal, Shape, too_large
from hybrid_hpc.placement.forecast import PartitionNodes, forecast
from hybrid_hpc.placement.spot import Risk, risk_of
from hybrid_hpc.placement.starts import StartIndex, Starts
from hybrid_hpc.placement.waves import Waves, end_of_waves
from hybrid_hpc.placement.words import AT_ONCE_S, counted, usd
from hybrid_hpc.schedulers.base import Load

SHAPES_REMEMBERED = 256  # a trace of a million different jobs on one snapshot must not fill the memory


@dataclass(slots=True)  # not frozen: that would make one three times as slow, and forty a decision are made
class PartitionVerdict:
    """What one partition offers a job, or why it does not fit (``refusal``).

    ``starts_in_s`` and ``ends_in_s`` count from the decision; the end is that of the last array task at
    the full walltime. ``cost_usd`` is the most it can cost; ``score_usd`` is what is compared, with the
    ``risk`` of spot nodes in it. All five are None where it never came so far, the risk where nodes stay.
    """

    partition: str
    refusal: Refusal | None = None
    starts_in_s: float | None = None
    ends_in_s: float | None = None
    cost_usd: float | None = None
    score_usd: float | None = None
    note: str = ""
    risk: Risk | None = None

    @property
    def fits(self) -> bool:
        """True when the job can go there."""
        return self.refusal is None

    def refused(self, refusal: Refusal) -> PartitionVerdict:
        """The same offer, refused."""
        return PartitionVerdict(
            self.partition,
            refusal,
            self.starts_in_s,
            self.ends_in_s,
            self.cost_usd,
            self.score_usd,
            self.note,
            self.risk,
        )

    @property
    def why(self) -> str:
        """Why it does not fit, or what its start waits for and what is at risk."""
        if self.refusal:
            return self.refusal.why
        return f"{self.note}; spot risk {usd(self.risk.usd)} ({self.risk.rate})" if self.risk else self.note


def nearest(offers: Sequence[PartitionVerdict]) -> Refusal | None:
    """Of partitions that all refuse a job, the refusal that came nearest to fitting: it speaks for them.

    One that waiting may cure comes before all others. It names its partition where the others fail by
    another rule, spot nodes that are not wanted left out. None when there is no partition at all.
    """
    refused = [(offer.partition, offer.refusal) for offer in offers if offer.refusal]
    if not refused:
        return None
    name, refusal = max(refused, key=lambda pair: (pair[1].waiting_helps, pair[1].reached, pair[1].have))
    if refusal.rule == "unavailable" or {other.rule for _, other in refused} <= {refusal.rule, "spot"}:
        return refusal
    return replace(refusal, why=f"{refusal.why} (partition {name})")


@dataclass(slots=True)
class PartitionOutlook:
    """One partition of a cluster that answered."""

    name: str
    partition: Partition
    nodes: PartitionNodes
    index: StartIndex
    rates: Rates
    queue: str  # what a start that is not now waits for
    not_before_s: float  # the scheduler's own estimate, where it can be trusted
    elsewhere: bool  # other partitions hold nodes of the same quota
    waves: Waves | None = None  # made for the first array

    def offer(self, shape: Shape, value_usd_h: float) -> PartitionVerdict:
        """The verdict on a job of this shape, an hour of whose time is worth ``value_usd_h``."""
        refusal = too_large(shape, self.partition)
        if refusal is not None:
            return PartitionVerdict(self.name, refusal)
        starts = self.index.starts(shape.room)
        if starts is None or shape.nodes > len(starts.lasting):
            return PartitionVerdict(self.name, self._not_enough_nodes(shape, starts))
        start = starts.earliest(shape.nodes, shape.walltime_s)
        note = self._note(start)
        if start < self.not_before_s:
            start, note = self.not_before_s, "start by the scheduler's own estimate"
        end = start + shape.walltime_s if shape.tasks == 1 else self._last_end(shape, starts, start)
        cost = self.rates.most_usd(shape)
        score = cost + value_usd_h * end / HOUR_S
        if self.partition.spot is None:
            return PartitionVerdict(self.name, None, start, end, cost, score, note)
        risk = risk_of(shape, self.rates.node_turns(shape), self.partition.spot, cost, value_usd_h)
        return PartitionVerdict(self.name, None, start, end, cost, score + risk.usd, note, risk)

    def _last_end(self, shape: Shape, starts: Starts, start_s: float) -> float:
        if shape.nodes > 1:
            return end_of_waves(starts.lasting, shape, start_s)
        if self.waves is None:
            self.waves = Waves(self.nodes.calendars)
        return self.waves.end(shape, start_s)

    def _note(self, start_s: float) -> str:
        if start_s < AT_ONCE_S:
            return "enough is free now"
        return "nodes boot first" if start_s == self.partition.boot_s else self.queue

    def _not_enough_nodes(self, shape: Shape, starts: Starts | None) -> Refusal:
        usable = len(starts.lasting) if starts else 0
        if not self.nodes.listed:
            return Refusal("in_service", "the scheduler shows no node of it", waiting_helps=True)
        if usable + sum(room.holds(shape.room) for room in self.nodes.beyond_quota) >= shape.nodes:
            return self._over_quota(shape, usable)
        there = f"{usable} of its {counted(self.nodes.listed, 'node')}"
        why = f"{there} can take such a job now, it needs {shape.nodes}"
        return Refusal("in_service", why, f"{shape.nodes} nodes", usable, waiting_helps=True)

    def _over_quota(self, shape: Shape, usable: int) -> Refusal:
        """Waiting helps only where nodes exist whose end would free some of the quota."""
        possible = counted(usable, "node")
        why = f"Azure's quotas and the limits here let it have {possible} now, the job needs {shape.nodes}"
        helps = self.elsewhere or self.nodes.existing > usable
        return Refusal("quota", why, f"{shape.nodes} nodes", usable, waiting_helps=helps)


class Outlook:
    """All partitions of one cluster. Forecasts once, remembers every offer that it made."""

    def __init__(
        self, cluster: Cluster, load: Load, creatable: Mapping[str, int], estimates: Mapping[str, float]
    ) -> None:
        found = forecast(load, cluster, creatable)
        self.partitions = tuple(
            PartitionOutlook(
                name,
                partition,
                found[name],
                StartIndex(found[name].calendars),
                rates_of(partition, cluster),
                _queue(found[name].ahead),
                _not_before_s(name, cluster, load, estimates),
                any(nodes.existing for other, nodes in found.items() if other != name),
            )
            for name, partition in cluster.partitions.items()
        )
        self._offers: dict[tuple[Shape, float], tuple[PartitionVerdict, ...]] = {}

    def offers(self, shape: Shape, value_usd_h: float) -> tuple[PartitionVerdict, ...]:
        """Every partition's verdict, in the order of clusters.yaml."""
        key = (shape, value_usd_h)
        try:
            return self._offers[key]
        except KeyError:
            made = tuple([partition.offer(shape, value_usd_h) for partition in self.partitions])
        if len(self._offers) >= SHAPES_REMEMBERED:
            self._offers.clear()
        self._offers[key] = made
        return made


def _queue(ahead: int) -> str:
    return f"after {counted(ahead, 'waiting job')}" if ahead else "when running jobs end"


def _not_before_s(partition: str, cluster: Cluster, load: Load, estimates: Mapping[str, float]) -> float:
    """The scheduler's own test, as seconds from now: it can only put our forecast off.

    It knows what a snapshot does not show (reservations, limits, features), but looks past the jobs that
    wait; so the later of the two is right. On an elastic cluster it is not heard: of nodes that do not
    exist yet it knows nothing.
    """
    if cluster.elastic or partition not in estimates:
        return 0.0
    return max(0.0, estimates[partition] - load.now)
