"""What survives a crash of the server: one JSON file, written whole and renamed."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ValidationError

from lab.cyclecloud.node import Node
from lab.cyclecloud.usage import Life

log = logging.getLogger(__name__)


class Operation(BaseModel):
    """One accepted request, and the nodes it was about."""

    id: str
    action: str
    start_time: datetime
    request_id: str | None = None
    node_ids: list[str] = []


class Snapshot(BaseModel):
    """The whole state of the cloud, except its faults.

    ``placement_groups`` and ``capacity_failures`` (unix seconds) are by bucket, ``nodearray/VM size``.
    """

    nodes: dict[str, Node] = {}
    operations: dict[str, Operation] = {}
    lives: list[Life] = []
    running: dict[str, Life] = {}
    head_node: Life | None = None
    placement_groups: dict[str, list[str]] = {}
    capacity_failures: dict[str, float] = {}
    numbered: int = 0


class Store:
    """The file. ``path`` None keeps nothing."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def read(self) -> Snapshot:
        """Give the last state; an empty one when there is none. One that cannot be read is put aside."""
        if self._path is None or not self._path.exists():
            return Snapshot()
        try:
            return Snapshot.model_validate_json(self._path.read_bytes())
        except ValidationError:
            aside = self._path.replace(self._path.with_suffix(".unreadable"))
            log.exception("the state cannot be read; it is kept as %s and the cluster starts empty", aside)
            return Snapshot()

    def write(self, snapshot: Snapshot) -> None:
        """Write the state, so that a crash leaves either the old one or the new one."""
        if self._path is None:
            return
        new = self._path.with_suffix(".new")
        new.write_text(snapshot.model_dump_json())
        new.replace(self._path)
