"""What Airflow is told of this project as a provider: the connection type ``cyclecloud`` and its form.

Airflow finds it through ``hybrid_hpc.dist-info`` beside this file, in every process that has this folder on
its PYTHONPATH. It may do so before it can import from the plugins' folder, and an error here would end that
process: so this file imports nothing, and names the hook by its class path.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider as Airflow's schema wants it."""
    return {
        "package-name": "hybrid-hpc",
        "name": "Hybrid HPC",
        "description": "Jobs on an on-premises cluster and on an elastic one in Azure.",
        "connection-types": [
            {
                "connection-type": "cyclecloud",
                "hook-class-name": "hybrid_hpc_airflow.hook.CycleCloudHook",
                "hook-name": "Azure CycleCloud",
                "conn-fields": _FIELDS,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {"host": "URL", "login": "User"},
                    "placeholders": {
                        "host": "https://cyclecloud.example.org",
                        # Airflow 3.3's button sends 0 for a port that is empty, and then refuses its own
                        # question, because the address is not the stored one.
                        "port": "443: the test button wants it, even if the URL holds it",
                        "login": "hybrid-hpc",
                        "password": "that of the user in CycleCloud",
                    },
                },
            }
        ],
    }


_TEXT = {"type": ["string", "null"]}
_FIELDS = {
    "ca_file": {
        "label": "CA certificate file",
        "description": "PEM file of the CA that signed CycleCloud's certificate, where Airflow runs:"
        " /etc/hybrid-hpc/cyclecloud-ca.pem. Empty: a CA that this machine trusts.",
        "schema": _TEXT,
    },
    "cluster": {
        "label": "Cluster name",
        "description": "The cluster that the test asks for, by its name in CycleCloud."
        " Empty: those of clusters.yaml.",
        "schema": _TEXT,
    },
}
