"""The alerts about single nodes of one cluster: raised when they begin to hold, cleared when they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping

from hybrid_hpc.ledger import Ledger

log = logging.getLogger(__name__)

About = tuple[str, str]  # the kind of alert, the node's name


class NodeAlerts:
    """Keeps the ledger's alerts of some kinds as they are told; those from before a restart, too."""

    def __init__(self, cluster: str, ledger: Ledger, kinds: Collection[str]) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._kinds = kinds
        self._stand: set[About] | None = None

    async def tell(self, holds: Mapping[About, str]) -> None:
        """``holds``: every alert that there is now, with its sentence; those that are missing are over."""
        if self._stand is None:
            self._stand = await asyncio.to_thread(self._standing)
        for about in sorted(holds.keys() - self._stand):
            await asyncio.to_thread(self._raise, about, holds[about])
        for about in sorted(self._stand - holds.keys()):
            await asyncio.to_thread(self._clear, about)
        self._stand = set(holds)

    def _raise(self, about: About, said: str) -> None:
        kind, name = about
        log.warning("%s: %s", self._cluster, said)
        self._ledger.raise_alert(self._subject(name), kind, said, cluster=self._cluster)

    def _clear(self, about: About) -> None:
        kind, name = about
        log.info("%s: %s is no longer a %s", self._cluster, name, kind)
        self._ledger.clear_alert(self._subject(name), kind)

    def _subject(self, name: str) -> str:
        return f"{self._cluster}/{name}"

    def _standing(self) -> set[About]:
        prefix = self._subject("")
        alerts = self._ledger.alerts(self._kinds)
        return {
            (alert.kind, alert.subject.removeprefix(prefix))
            for alert in alerts
            if alert.subject.startswith(prefix)
        }
