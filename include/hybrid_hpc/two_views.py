"""The scheduler's view of an elastic cluster's nodes beside CycleCloud's: where they differ for long.

A node that runs in Azure and takes no job costs money for nothing; a node that the scheduler waits for and
that CycleCloud does not have never comes. Each is an alert, which ends with it, and a line in the log of
whoever waits for such a node or watches them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from hybrid_hpc.cloud_view import elastic_nodes
from hybrid_hpc.cluster_alerts import About, NodeAlerts
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus

UNUSED, MISSING = "unused node", "missing node"  # kinds of alert
_AFTER_S = {UNUSED: 90.0, MISSING: 30.0}  # a node needs some seconds from one view to the other
_USES = (NodeStatus.UP, NodeStatus.DRAINING)
_COUNTS_ON = (NodeStatus.UP, NodeStatus.BOOTING)
_ON_NODES = frozenset({JobState.RUNNING, JobState.CONFIGURING, JobState.COMPLETING})

Difference = About


class TwoViews:
    """Compares once a poll and keeps the ledger's alerts; holds since when each difference is there."""

    def __init__(self, cluster: Cluster, ledger: Ledger, clock: Callable[[], datetime] = utc_now) -> None:
        self._cluster = cluster
        self._clock = clock
        self._since: dict[Difference, datetime] = {}
        self._alerts = NodeAlerts(cluster.name, ledger, (UNUSED, MISSING))

    async def compare(self, load: Load, nodes: Sequence[Node]) -> dict[str, str]:
        """What to tell about the nodes, by name, of which the views have differed for long.

        ``load`` is the scheduler's own view, ``nodes`` are those that CycleCloud lists.
        """
        now = self._clock()
        found = dict(differences(load, self._cluster, nodes))
        self._since = {each: self._since.get(each, now) for each in found}
        lasting = {
            each: f"{text}; it is so since {self._since[each]:%H:%M} UTC"
            for each, text in found.items()
            if (now - self._since[each]).total_seconds() >= _AFTER_S[each[0]]
        }
        await self._alerts.tell(lasting)
        return {name: said for (_, name), said in lasting.items()}

    def lasts_s(self, kind: str, name: str) -> float:
        """For how long the views have differed in this way about that node; 0 when they do not."""
        since = self._since.get((kind, name))
        return (self._clock() - since).total_seconds() if since else 0.0


def differences(load: Load, cluster: Cluster, nodes: Sequence[Node]) -> Iterator[tuple[Difference, str]]:
    """Every node about which the two views differ, with a sentence."""
    states = {state.name: state for state in elastic_nodes(load, cluster)}
    there = {node.name for node in nodes if not node.gone}
    for node in nodes:
        state = states.get(node.name)
        if node.ready and not (state and state.status in _USES):
            yield (UNUSED, node.name), f"{node.name} runs in Azure, and {_unused(state)}"
    awaited = {name for job in load.jobs if job.state in _ON_NODES for name in job.node_names}
    for name, state in states.items():
        counts_on = state.status in _COUNTS_ON or name in awaited or state.cores_busy
        if name not in there and counts_on:  # one that is drained and off costs nobody anything
            yield (
                (MISSING, name),
                f"the scheduler counts on {name}, and CycleCloud does not have it",
            )


def _unused(state: NodeState | None) -> str:
    if state is None:
        return "the scheduler does not know it"
    word = f"it is {state.state_word.lower() or state.status.value} there"
    return f"the scheduler gives it no job: {word}" + (f" ({state.reason})" if state.reason else "")
