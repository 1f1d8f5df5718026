"""Nodes that the scheduler powers up and that never come: given up, where our account may do that.

A job that leaves while its nodes boot leaves them behind. The scheduler waits for them until its time-out for
a boot is over, half an hour by default, and meanwhile puts the next job on them, which waits in vain.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from hybrid_hpc.cluster_alerts import NodeAlerts
from hybrid_hpc.errors import Refused
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.placement.words import one_line
from hybrid_hpc.schedulers.base import Load, NodeStatus
from hybrid_hpc.site import Site

log = logging.getLogger(__name__)

STUCK = "stuck node"  # kind of alert


class StuckNodes:
    """Gives up the stuck nodes of one cluster that no job has; what it may not do is an alert."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site = site
        self._alerts = NodeAlerts(site.cluster.name, ledger, (STUCK,))
        self._refused = ""  # in the scheduler's words; not tried again by this process

    async def look(self, load: Load, hopeless: Mapping[str, str]) -> None:
        """``hopeless``: why nodes will not come, by name. Nobody's job is touched: a node with one stays."""
        stuck = {
            node.name for node in load.nodes if node.status is NodeStatus.BOOTING and node.name in hopeless
        }
        taken = {name for job in load.jobs for name in job.node_names}
        if going := stuck - taken:
            await self._give_up(going)
        alerts = {(STUCK, name): self._said(name, hopeless[name]) for name in stuck} if self._refused else {}
        await self._alerts.tell(alerts)

    async def _give_up(self, names: Collection[str]) -> None:
        if self._refused:
            return
        command = self._site.scheduler.give_up_nodes_command(sorted(names))
        answer = await self._site.head_node.run(command)
        try:
            self._site.scheduler.read_nodes_update(answer)
        except Refused as error:
            self._refused = one_line(str(error))
        else:
            log.info(
                "%s: %s will not come and was given up", self._site.cluster.name, ", ".join(sorted(names))
            )

    def _said(self, name: str, why: str) -> str:
        return (
            f"{name} does not come ({why}), and the scheduler gives it to jobs until its time-out for a boot "
            f"is over; our account may not change that ({self._refused}), an administrator may: "
            f"scontrol update NodeName={name} State=POWER_DOWN_FORCE"
        )
