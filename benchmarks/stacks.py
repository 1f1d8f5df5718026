"""A whole stack for a benchmark, and what the head node of its on-premises cluster sees."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.headnode import HeadNode
from lab.lab import Lab
from lab.layout import PROJECT, ClusterLayout
from lab.stack import Stack, StackSettings
from lab.testing_stack import running_stack

DAGS = PROJECT / "dags"
OUR_DAGS = PROJECT / "benchmarks" / "dags"
ESTABLISHED = "01"  # a socket's state in /proc/net/tcp
_JOB_INFO = re.compile(r"REQUEST_JOB_INFO\b.*?count:(\d+)")


@contextmanager
def benchmark_stack(files: dict[str, Path]) -> Iterator[Stack]:
    """Give a stack with these DAGs, file by DAG id, and no other: nothing else may run meanwhile."""
    (PROJECT / ".lab").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PROJECT / ".lab", prefix="bench-dags-") as folder:
        for file in set(files.values()):
            (Path(folder) / file.name).symlink_to(file)
        settings = StackSettings(dags=Path(folder), dag_ids=tuple(files))
        with running_stack("bench", settings) as stack:
            yield stack


@dataclass(frozen=True)
class SeenThere:
    """The on-premises cluster of a lab, seen from its own side: counts are since it came up."""

    lab: Lab

    def squeue_calls(self) -> int:
        """How often slurmctld was asked for the queue, by anybody: its own count of such requests."""
        found = _JOB_INFO.search(self.run("sdiag"))
        return int(found[1]) if found else 0

    def connections_accepted(self) -> int:
        """How many SSH connections were let in, by sshd's log."""
        log = self.lab.folder / "log" / f"{self._cluster.name}-sshd.log"
        return log.read_text(errors="replace").count("Accepted publickey")

    def connections_open(self) -> int:
        """How many SSH connections there are now."""
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = f":{self._cluster.ssh_port:04X}"
        return sum(line[1].endswith(port) and line[3] == ESTABLISHED for line in lines)

    def run(self, *command: str) -> str:
        """Run a command on the head node, past sshd; gives what it prints."""
        argv = self._cluster.on_machine(self._cluster.parts.head, *command)
        env = self._cluster.daemon_environment()
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout

    def head_node(self) -> HeadNode:
        """A way there for the benchmark's own process."""
        name = self._cluster.name
        cluster = load_clusters(self.lab.folder / "clusters.yaml").cluster(name)
        way = self.lab.connections()[cluster.ssh_connection]

        async def connect() -> asyncssh.SSHClientConnection:
            return await asyncssh.connect(
                way["host"],
                way["port"],
                username=way["login"],
                client_keys=[way["extra"]["key_file"]],
                known_hosts=f"{way['host']} {way['extra']['host_key']}".encode(),
            )

        return HeadNode(name, connect, storage_root=cluster.storage_root)

    @property
    def _cluster(self) -> ClusterLayout:
        return next(cluster for cluster in self.lab.layout.clusters if not cluster.parts.elastic)
