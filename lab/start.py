"""The order in which a lab comes up and goes down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab import cloud, database, processes, slurm, ssh
from lab.layout import ClusterLayout, Layout
from lab.packages import Progress

STOP_ORDER = ("sshd", "slurmctld", "cyclecloud", "node", "slurmdbd", "mariadb", "munged")


def bring_up(lab: Layout, progress: Progress) -> None:
    """Start what does not run yet and wait until all of it serves. Raises LabError."""
    clusters = lab.clusters
    progress(f"MariaDB, munge{' and the CycleCloud server' if lab.elastic else ''}")
    ssh.configure(lab, progress)
    _configure_slurm(lab)
    _start_ground_floor(lab)
    progress("the accounting (slurmdbd)")
    for cluster in clusters:
        slurm.start_daemon(cluster, "slurmdbd", cluster.accounting_port)
    for cluster in clusters:
        slurm.wait_for_daemon(cluster, "slurmdbd", cluster.accounting_port)
    progress("the controllers (slurmctld)")
    for cluster in clusters:
        slurm.start_daemon(cluster, "slurmctld", cluster.controller_port)
    for cluster in clusters:
        slurm.wait_for_daemon(cluster, "slurmctld", cluster.controller_port)
    _start_upper_floor(lab, progress)


def take_down(folder: Path) -> None:
    """End every process of the folder: what others started there first, then the lab, roof to ground."""
    names = processes.names(folder)
    for name in reversed([name for name in names if _kind(name) == "other"]):
        processes.stop(folder, name)
    for kind in STOP_ORDER:
        processes.stop(folder, *(name for name in names if _kind(name) == kind), grace_s=15)
    processes.sweep(folder)


def expected(lab: Layout) -> list[str]:
    """Give the names of all processes that a lab that is up has."""
    daemons = [
        f"{c.name}-{kind}" for c in lab.clusters for kind in ("munged", "slurmdbd", "slurmctld", "sshd")
    ]
    nodes = [f"{c.name}-{name}" for c in lab.clusters if not c.parts.elastic for name in c.parts.node_names]
    return [database.NAME, *([cloud.NAME] if lab.elastic else []), *daemons, *nodes]


def _configure_slurm(lab: Layout) -> None:
    (lab.folder / "db").mkdir(mode=0o700, exist_ok=True)
    if lab.elastic:
        cloud.configure(lab.elastic)
    for cluster in lab.clusters:
        slurm.configure(cluster)


def _start_ground_floor(lab: Layout) -> None:
    for cluster in lab.clusters:
        if not (cloud.has_machines(lab) if cluster.parts.elastic else slurm.has_nodes(cluster)):
            slurm.forget_nodes(cluster)
    if lab.elastic:
        cloud.start(lab)
    for cluster in lab.clusters:
        slurm.start_munge(cluster)
    database.start(lab)
    for cluster in lab.clusters:
        slurm.wait_for_munge(cluster)
    database.wait(lab)


def _start_upper_floor(lab: Layout, progress: Progress) -> None:
    standing = [cluster for cluster in lab.clusters if not cluster.parts.elastic]
    progress("the nodes, the accounts and the head nodes' sshd")
    for cluster in standing:
        slurm.start_nodes(cluster)
    for cluster in lab.clusters:
        ssh.start(cluster)
    _side_by_side(slurm.add_accounts, lab.clusters)
    for cluster in standing:
        slurm.wait_for_nodes(cluster)
    for cluster in lab.clusters:
        ssh.wait(cluster)
    if lab.elastic:
        cloud.wait(lab)


def _side_by_side(step: Callable[[ClusterLayout], None], clusters: Iterable[ClusterLayout]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(step, clusters))  # the list raises what a step raised


def _kind(name: str) -> str:
    last = name.rpartition("-")[2]
    if last.startswith(("node", "gpu")):
        return "node"
    return last if last in STOP_ORDER else "other"
