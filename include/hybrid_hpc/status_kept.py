"""CycleCloud's status, which is a heavy question: asked only when it is wanted, and kept for a while."""

from __future__ import annotations

import time

from hybrid_hpc.cyclecloud import ClusterStatus, CycleCloudClient

KEEP_S = 15.0


class StatusKept:
    """The last status; asked anew when it is older than ``keep_s`` or was forgotten."""

    def __init__(self, cloud: CycleCloudClient, *, keep_s: float = KEEP_S) -> None:
        self._cloud = cloud
        self._keep_s = keep_s
        self._last: tuple[float, ClusterStatus] | None = None

    async def now(self) -> ClusterStatus:
        """Raises what the client raises."""
        if self._last is None or time.monotonic() - self._last[0] >= self._keep_s:
            self._last = time.monotonic(), await self._cloud.status(nodes=False)
        return self._last[1]

    def forget(self) -> None:
        """What it says is no longer true: nodes were asked for."""
        self._last = None
