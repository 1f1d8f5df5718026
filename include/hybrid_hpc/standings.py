"""Where the nodes of a job stand: on their way, failed, or about to be taken away (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from hybrid_hpc.cloud_view import Standing
from hybrid_hpc.clusters import Partition
from hybrid_hpc.cyclecloud import Node
from hybrid_hpc.narration import Booting
from hybrid_hpc.node_lives import NodeLives
from hybrid_hpc.schedulers.base import Load

ASKED, ACQUIRING, BOOTING, JOINING = (
    "asked for, not booting yet",
    "being acquired",
    "booting",
    "up in Azure, joining the scheduler",
)
_ORDER = (ASKED, ACQUIRING, BOOTING, JOINING)
_ACQUIRING = frozenset({"Acquiring", "Allocating", "Allocation", "Off", "Unknown"})


def phase(node: Node | None) -> str:
    """How far a node is that is not up yet; None: asked for, and not listed."""
    if node is None:
        return ASKED
    if node.ready:
        return JOINING
    return ACQUIRING if node.status in _ACQUIRING else BOOTING


def booting_of(
    names: Collection[str],
    listed: Mapping[str, Node],
    lives: NodeLives,
    partition: Partition,
    differs: Mapping[str, str],
    asked: Mapping[str, str] | None = None,
) -> Booting:
    """What to tell about the nodes of one job that are on their way, of which there is at least one.

    ``differs``: as in `hybrid_hpc.cloud_view.CloudView`. ``asked``: the VM sizes of nodes, by name, that are
    not listed yet.
    """
    counts = Counter(phase(listed.get(name)) for name in names)
    made = {name: node.machine_type for name, node in listed.items()}
    known = {**(asked or {}), **made}
    sizes = {known[name] for name in names if name in known}
    vm_size = " and ".join(sorted(sizes)) or partition.vm_size or ""
    usual_s, learnt = lives.usual_boot_s(partition, vm_size)
    return Booting(
        nodes=len(names),
        asked_ago_s=max(lives.asked_ago_s(name) for name in names),
        phases=tuple((each, counts[each]) for each in _ORDER if counts[each]),
        vm_size=vm_size,
        usual_s=usual_s,
        learnt=learnt,
        differs="; ".join(differs[name] for name in sorted(names) if name in differs),
    )


def failure_of(node: Node) -> str:
    """Why this node will not come, in Azure's words; '' while it may."""
    if not node.failed:
        return ""
    return f"Azure says: {node.status_message or 'it failed to boot and said nothing'}"


def failing(load: Load, nodes: Mapping[str, Node]) -> dict[str, Standing]:
    """What to tell about the jobs (native id) that run on nodes of which Azure says that they failed."""
    found: dict[str, Standing] = {}
    for job in load.jobs:
        names = [name for name in job.node_names if name in nodes and nodes[name].failed]
        if names and job.state.started:
            said = failure_of(nodes[names[0]])
            found[job.native_id] = Standing(trouble=f"{', '.join(names)} failed, and the job goes on: {said}")
    return found


def out_of_sight(load: Load, differs: Mapping[str, str]) -> dict[str, Standing]:
    """What to tell about the jobs (native id) that run on nodes of which the two views differ."""
    found: dict[str, Standing] = {}
    for job in load.jobs:
        said = [differs[name] for name in job.node_names if name in differs]
        if said and job.state.started:
            found[job.native_id] = Standing(trouble="; ".join(said))
    return found


def evictions(load: Load, nodes: Mapping[str, Node]) -> dict[str, Standing]:
    """What to tell about the jobs (native id) that run on spot nodes of which Azure has given notice."""
    noticed = {name: node for name, node in nodes.items() if node.evicting}
    found: dict[str, Standing] = {}
    for job in load.jobs:
        names = [name for name in job.node_names if name in noticed]
        if names and job.state.started:
            says = noticed[names[0]].status_message or "no reason given"
            found[job.native_id] = Standing(trouble=f"Azure is about to take {', '.join(names)} away: {says}")
    return found
