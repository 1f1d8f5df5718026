"""What can be set about the lab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scaling = Literal["cyclecloud", "scheduler"]
ClusterName = Literal["onprem", "azure"]


@dataclass(frozen=True, slots=True)
class LabSettings:
    """Settings of one lab. Times are in seconds.

    ``only`` names the one cluster that it has; None: both. CycleCloud comes with azure.
    ``scaling`` says who asks CycleCloud for azure's nodes: the project's own watch (``cyclecloud``) or
    Slurm's power saving (``scheduler``, as azslurm does it). ``boot_s`` is a VM's boot, ``slurmd_timeout_s``
    how long a silent node passes for alive, ``requeue_wait_s`` how long a job waits whose node was lost.
    ``base_port`` None: BASE_PORT, or free ones. ``namespaces`` is the best kind of machine to try
    (lab/machines.py). The rest are slurm.conf's own, named after it.
    """

    only: ClusterName | None = None
    scaling: Scaling = "cyclecloud"
    boot_s: float = 3.0
    base_port: int | None = None
    namespaces: int = 2
    min_job_age_s: int = 3600
    slurmd_timeout_s: int = 30
    requeue_wait_s: int = 10
    kill_wait_s: int = 5
    resume_timeout_s: int = 60
    suspend_time_s: int = 20
    suspend_timeout_s: int = 5
