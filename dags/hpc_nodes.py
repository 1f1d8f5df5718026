"""Watches the nodes of elastic clusters until the last one is gone: no node idles unseen."""

from airflow.sdk import DAG

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc_airflow.assets import nodes_asset, we_scale
from hybrid_hpc_airflow.sensors import NodesGoneSensor

DOC = """
### Nodes in Azure

Begins with the first job that goes to an elastic cluster and ends when its last node is gone. The waiting
jobs' own watch scales out; this run keeps that watch alive after the last job has ended, so that idle nodes
are let go after the cluster's idle time. It holds no worker slot. The log says which nodes are there.
"""

for cluster in filter(we_scale, load_clusters().clusters.values()):
    with DAG(
        f"hpc_nodes_{cluster.name}",
        dag_display_name=f"Nodes of {cluster.title}",
        description="Watches the nodes until the last one is gone",
        doc_md=DOC,
        schedule=[nodes_asset(cluster)],
        catchup=False,
        max_active_runs=1,
        tags=["hpc", "admin"],
    ):
        NodesGoneSensor(
            task_id="watch_until_gone",
            task_display_name="Watch until the last node is gone",
            cluster=cluster.name,
            retries=1000,
        )
