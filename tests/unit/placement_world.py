"""Small clusters, nodes, jobs and requests for the tests of placement and demand."""

from __future__ import annotations

from hybrid_hpc.clusters import Cluster, Elastic, Partition, Policy, Prices, Spot
from hybrid_hpc.jobs import JobState
from hybrid_hpc.placement import ClusterView, Decision, decide
from hybrid_hpc.request import JobRequest, read_request
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus, QueuedJob

NOW = 1_760_000_000.0  # ours
CLOCK = 1_760_000_500.0  # the head nodes': another one, so that nobody mixes them up
HOUR = 3600
POLICY = Policy(value_of_time_usd_per_h=4.0, deadline_miss_usd=100.0)


def partition(name: str = "batch", **changes: object) -> Partition:
    values: dict[str, object] = {
        "name": name,
        "nodes": 4,
        "cores": 16,
        "memory_mib": 64_000,
        "walltime_s": 48 * HOUR,
        "prices": Prices(core_hour_usd=0.02, gpu_hour_usd=0.9),
    }
    return Partition.model_validate(values | changes)


def cluster(name: str, *partitions: Partition, **changes: object) -> Cluster:
    values: dict[str, object] = {
        "name": name,
        "title": name.title(),
        "scheduler": "slurm",
        "ssh_connection": f"hpc_{name}",
        "storage_root": "/scratch/hybrid-hpc",
        "partitions": {part.name: part for part in partitions},
    }
    return Cluster.model_validate(values | changes)


def onprem(**changes: object) -> Cluster:
    """4 nodes of 16 cores, 1 of 32 cores with 4 GPUs."""
    gpu = partition("gpu", nodes=1, cores=32, memory_mib=256_000, gpus=4, gpu_type="a100")
    return cluster("onprem", partition("batch"), gpu, **changes)


def azure(**changes: object) -> Cluster:
    """Elastic: 4 nodes of 120 cores, 8 of 16 cores; a minute to boot, five until an idle node goes."""
    hpc = partition("hpc", cores=120, memory_mib=448_000, prices=Prices(core_hour_usd=0.03), **_cloud("hpc"))
    htc = partition("htc", nodes=8, memory_mib=31_000, prices=Prices(core_hour_usd=0.042), **_cloud("htc"))
    elastic = Elastic(scaling="cyclecloud", connection="cyclecloud", cluster="azure", idle_s=300)
    return cluster("azure", hpc, htc, **{"elastic": elastic, **changes})


def spotty(**changes: object) -> Cluster:
    """`azure` with 4 spot nodes besides, those of htc at a quarter of the price, evicted once in 20 h."""
    parts = {"nodes": 4, "memory_mib": 31_000, "prices": Prices(core_hour_usd=0.0105), **_cloud("spot")}
    spot = partition("spot", spot=Spot(evicted_every_h=20), **parts)
    return azure(partitions={**azure().partitions, "spot": spot}, **changes)


def _cloud(nodearray: str) -> dict[str, object]:
    return {"nodearray": nodearray, "vm_size": f"Standard_{nodearray}", "boot_s": 60}


def node(name: str, part: Partition, status: NodeStatus = NodeStatus.UP, **changes: object) -> NodeState:
    values: dict[str, object] = {
        "name": name,
        "partitions": (part.name,),
        "status": status,
        "cores": part.cores,
        "cores_busy": 0,
        "memory_mib": part.memory_mib,
        "memory_busy_mib": 0,
        "gpus": part.gpus,
    }
    return NodeState(**(values | changes))  # type: ignore[arg-type]


def nodes(where: Cluster, status: NodeStatus = NodeStatus.UP, **changes: object) -> list[NodeState]:
    """All nodes of a cluster: ``batch-1`` ..."""
    return [
        node(f"{part.name}-{number}", part, status, **changes)
        for part in where.partitions.values()
        for number in range(1, part.nodes + 1)
    ]


def job(native_id: str = "1", **changes: object) -> QueuedJob:
    """A pending job of one node with 16 cores and an hour."""
    values: dict[str, object] = {
        "native_id": native_id,
        "name": "job",
        "user": "ada",
        "project": "proj-alpha",
        "partition": "batch",
        "state": JobState.PENDING,
        "reason": "Resources",
        "nodes": 1,
        "cores": 16,
        "memory_per_node_mib": 0,
        "gpus_per_node": 0,
        "walltime_s": HOUR,
        "priority": 1,
        "submitted_at": CLOCK - 100,
        "starts_at": None,
    }
    return QueuedJob(**(values | changes))  # type: ignore[arg-type]


def running(native_id: str, *names: str, ends_in_s: float = HOUR, **changes: object) -> QueuedJob:
    """A job on these nodes of whose limit, an hour or more, ``ends_in_s`` is left."""
    limit = max(HOUR, round(ends_in_s))
    values: dict[str, object] = {
        "state": JobState.RUNNING,
        "reason": "",
        "nodes": len(names),
        "cores": 16 * len(names),
        "node_names": names,
        "walltime_s": limit,
        "starts_at": CLOCK - limit + ends_in_s,
    }
    return job(native_id, **(values | changes))


def load(found: list[NodeState], *jobs: QueuedJob) -> Load:
    return Load(CLOCK, tuple(found), jobs)


def full(where: Cluster, ends_in_s: float = HOUR) -> Load:
    """Every node of the cluster taken whole until the same moment."""
    found = nodes(where)
    jobs = [
        running(str(number), state.name, ends_in_s=ends_in_s, cores=state.cores)
        for number, state in enumerate(found)
    ]
    busy = [
        node(state.name, where.partitions[state.partitions[0]], cores_busy=state.cores) for state in found
    ]
    return load(busy, *jobs)


def request(**changes: object) -> JobRequest:
    return read_request({"name": "flow", "script": "#!/bin/sh\ntrue\n", **changes})


def view(where: Cluster, found: Load | None = None, **changes: object) -> ClusterView:
    """The cluster as the load says; without one, empty: its nodes up, those of an elastic one off."""
    empty = load(nodes(where, NodeStatus.OFF if where.elastic else NodeStatus.UP))
    return ClusterView(where, **{"load": found or empty, **changes})  # type: ignore[arg-type]


def decided(*views: ClusterView, **wishes: object) -> Decision:
    return decide(request(**wishes), views, POLICY, NOW)
