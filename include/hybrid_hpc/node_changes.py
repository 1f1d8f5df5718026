"""Changes of nodes at the scheduler: what it refuses is an alert with the remedy, and ends no poll."""

from __future__ import annotations

import asyncio
import logging

from hybrid_hpc.commands import Command
from hybrid_hpc.errors import Refused
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.placement.words import one_line
from hybrid_hpc.site import Site

log = logging.getLogger(__name__)

NOT_CHANGED = "refused change"  # kind of alert


class NodeChanges:
    """Makes the changes of one cluster; `tell` brings its alert up to date, once a poll."""

    def __init__(self, site: Site, ledger: Ledger) -> None:
        self._site = site
        self._ledger = ledger
        self._made = False
        self._refused = ""
        self._told: str | None = None  # None: nothing yet by this process, '': that it is over

    async def make(self, command: Command) -> str:
        """Why the scheduler refused it, in its words; '' when the change was made."""
        answer = await self._site.head_node.run(command)
        try:
            self._site.scheduler.read_nodes_update(answer)
        except Refused as error:
            self._refused = one_line(str(error))
            return self._refused
        self._made = True
        return ""

    async def tell(self) -> None:
        """The alert stands until a poll of which every change was made."""
        refused, made, self._refused, self._made = self._refused, self._made, "", False
        if refused != self._told and (refused or made):
            await asyncio.to_thread(self._raise if refused else self._clear, refused)
            self._told = refused

    def _raise(self, refused: str) -> None:
        name = self._site.cluster.name
        said = (
            f"the scheduler refuses to change nodes ({refused}): while it does, those that it keeps out are "
            "not asked for, and idle ones stay and cost; if our account lacks the right, an administrator "
            "gives it: sacctmgr modify user NAME set adminlevel=Admin"
        )
        log.warning("%s: %s", name, said)
        self._ledger.raise_alert(name, NOT_CHANGED, said, cluster=name)

    def _clear(self, _: str) -> None:
        log.info("%s: its nodes are changed again", self._site.cluster.name)
        self._ledger.clear_alert(self._site.cluster.name, NOT_CHANGED)
