"""How to reach a lab: for Airflow, for clusters.yaml, and for whoever reads lab.json."""

from __future__ import annotations

from typing import Any

import yaml

from lab import cloud, ssh
from lab.layout import PROJECT, ClusterLayout, Layout


def ssh_connection(cluster: ClusterLayout) -> dict[str, Any]:
    """Give the Airflow connection to a head node, its host key pinned."""
    extra = {
        "key_file": str(ssh.ssh_folder(cluster.lab) / "id_ed25519"),
        "host_key": ssh.host_key(cluster),
    }
    address = {"host": "127.0.0.1", "port": cluster.ssh_port, "login": cluster.lab.user}
    return {"conn_type": "ssh", **address, "extra": extra}


def cyclecloud_connection(lab: Layout) -> dict[str, Any]:
    """Give the Airflow connection to the CycleCloud server, its CA named."""
    login = {"host": cloud.url(lab), "login": cloud.USER, "password": cloud.password(lab)}
    return {"conn_type": "cyclecloud", **login, "extra": {"ca_file": str(cloud.ca_file(lab))}}


def addresses(lab: Layout) -> dict[str, Any]:
    """Give ports and paths of all that serves, for lab.json."""
    found = {
        "machine": str(lab.machine),
        "ssh_config": str(ssh.ssh_folder(lab) / "config"),
        "clusters": {cluster.name: _cluster_addresses(cluster) for cluster in lab.clusters},
        "database": {"port": lab.database_port, "user": "slurm"},
    }
    return found | ({"cyclecloud": _cyclecloud_addresses(lab)} if lab.elastic else {})


def write_clusters(lab: Layout) -> None:
    """Write clusters.yaml of this lab: its part of the project's own, with its scaling and boot time."""
    content = yaml.safe_load((PROJECT / "include" / "clusters.yaml").read_text())
    content["clusters"] = {cluster.name: content["clusters"][cluster.name] for cluster in lab.clusters}
    if lab.elastic:
        elastic = content["clusters"][lab.elastic.name]
        elastic["elastic"]["scaling"] = lab.settings.scaling
        for partition in elastic["partitions"].values():
            partition["boot_s"] = lab.settings.boot_s
    (lab.folder / "clusters.yaml").write_text(yaml.safe_dump(content, sort_keys=False, width=110))


def _cyclecloud_addresses(lab: Layout) -> dict[str, str]:
    return {
        "url": cloud.url(lab),
        "ca_file": str(cloud.ca_file(lab)),
        "username": cloud.USER,
        "password_file": str(lab.cyclecloud / "password"),
    }


def _cluster_addresses(cluster: ClusterLayout) -> dict[str, Any]:
    return {
        "ssh_port": cluster.ssh_port,
        "slurmctld_port": cluster.controller_port,
        "slurmdbd_port": cluster.accounting_port,
        "slurm_conf": str(cluster.slurm_conf),
        "head": cluster.head,
        "scratch": cluster.scratch,
    }
