"""The ways to a head node as whom a job runs: what sends it, cancels it and reads what it left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from hybrid_hpc.commands import Answer, Command
from hybrid_hpc.remote_files import RemoteFile


class JobNode(Protocol):
    """A head node as one identity; `hybrid_hpc.headnode.HeadNode` says what each call does and raises."""

    async def run(self, command: Command, *, timeout_s: float | None = None) -> Answer:
        """Runs one command to its end."""

    async def storage(self) -> str:
        """The absolute folder of this identity's run directories."""

    async def make_dir(self, path: str) -> None:
        """Makes a folder, harmlessly when it exists."""

    async def write(self, path: str, text: str, *, mode: int = 0o600) -> None:
        """Writes a whole file or nothing."""

    async def tail(self, path: str, limit: int = 65536) -> str | None:
        """The last ``limit`` bytes of a file; None when there is no such file."""

    async def read_small(self, path: str, limit: int) -> str | None:
        """The first ``limit`` bytes of a file; None when there is no such file."""

    async def find(self, root: str, patterns: Sequence[str]) -> list[RemoteFile]:
        """The regular files below ``root`` that match."""

    async def fetch(self, root: str, file: RemoteFile, target: Path) -> None:
        """Copies a file that `find` found, whole or not at all."""

    def acting_as(self, identity: str) -> JobNode:
        """The same head node as another identity (`hybrid_hpc.identity`)."""

    async def close(self) -> None:
        """Ends every connection of its own."""


WayAs = Callable[[JobNode, str], JobNode]  # the cluster's own way, and the identity
