"""The CycleCloud server of the lab: its configuration and its process. Its VMs are slurmd processes."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Any

from lab import certificates, processes
from lab.keys import write_private
from lab.layout import PROJECT, ClusterLayout, Layout
from lab.nodes import Nodes
from lab.slurm import slurmd

NAME = "cyclecloud"
USER = "cc_admin"
REGION = "westeurope"


def configure(cluster: ClusterLayout) -> None:
    """Write the server's configuration and its password; its VMs are the cluster's nodes."""
    lab = cluster.lab
    lab.cyclecloud.mkdir(exist_ok=True)
    password(lab)
    certificates.make(**_tls(lab))
    (lab.cyclecloud / "config.json").write_text(json.dumps(_config(cluster), indent=1) + "\n")


def start(lab: Layout) -> None:
    """Start the server; one that runs is left alone. Does not wait."""
    if processes.alive(lab.folder, NAME):
        return
    processes.require_free_port(lab.cyclecloud_port)
    argv = [sys.executable, "-m", "lab.cyclecloud", "--config", str(lab.cyclecloud / "config.json")]
    env = lab.daemon_environment() | {"PYTHONPATH": str(PROJECT)}
    processes.start(lab.folder, NAME, argv, env=env, cwd=PROJECT)


def wait(lab: Layout) -> None:
    """Wait until the server listens; raises LabError with the end of its log."""
    processes.wait_for_port(lab.folder, NAME, lab.cyclecloud_port, deadline_s=60)


def has_machines(lab: Layout) -> bool:
    """Say whether the server runs, or VMs that it had before a crash and will take back."""
    vms = processes.names(lab.cyclecloud)
    return processes.alive(lab.folder, NAME) or any(processes.alive(lab.cyclecloud, vm) for vm in vms)


def password(lab: Layout) -> str:
    """Give the password of the server's user; made at the first call."""
    path = lab.cyclecloud / "password"
    if not path.is_file():
        write_private(path, secrets.token_urlsafe(18))
    return path.read_text()


def url(lab: Layout) -> str:
    """Give the server's address."""
    return f"https://127.0.0.1:{lab.cyclecloud_port}"


def ca_file(lab: Layout) -> Path:
    """Give the file with the certificate of the CA that its clients have to trust."""
    return _tls(lab)["ca_file"]


def _tls(lab: Layout) -> dict[str, Path]:
    names = {"ca_file": "ca.pem", "certificate_file": "server.pem", "key_file": "server.key"}
    return {key: lab.cyclecloud / "tls" / name for key, name in names.items()}


def _config(cluster: ClusterLayout) -> dict[str, Any]:
    lab = cluster.lab
    return {
        "port": lab.cyclecloud_port,
        "username": USER,
        "password_file": str(lab.cyclecloud / "password"),
        "cluster": cluster.name,
        "region": REGION,
        "folder": str(lab.cyclecloud),
        "nodearrays": [_nodearray(nodes, lab.settings.boot_s) for nodes in cluster.parts.nodes],
        "vm_command": _vm_command(cluster),
        "tls": {key: str(path) for key, path in _tls(lab).items()},
    }


def _nodearray(nodes: Nodes, boot_s: float) -> dict[str, Any]:
    return {
        "name": nodes.partition,
        "vm_size": nodes.vm_size,
        "vcpus": nodes.cores,
        "pcpus": nodes.cores,
        "gpus": nodes.gpus,
        "memory_gib": nodes.memory_gib,
        "infiniband": nodes.infiniband,
        "max_count": nodes.count,
        "node_name": nodes.name,
        "boot_s": boot_s,
        "interruptible": nodes.spot,
        "spot_usd_per_hour" if nodes.spot else "usd_per_hour": nodes.usd_per_hour,
    }


def _vm_command(cluster: ClusterLayout) -> list[str]:
    return cluster.on_machine("%n", "env", f"SLURM_CONF={cluster.slurm_conf}", *slurmd(cluster, "%n"))
