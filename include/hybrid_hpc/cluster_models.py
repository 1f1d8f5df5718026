"""What clusters.yaml says, as data: clusters, partitions, prices and the placement's policy.

Everything is immutable and checked alone; what must fit together is checked where the file is read
(`clusters`). Memory in MiB, times in seconds, money in USD.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from hybrid_hpc.errors import Invalid, Problem
from hybrid_hpc.field_types import CLUSTER_PATTERN, GPU_TYPE_PATTERN, PROJECT_PATTERN, matching, single_line
from hybrid_hpc.people import People
from hybrid_hpc.problems import WrongValueError, did_you_mean, shown
from hybrid_hpc.sbatch_options import OPTIONS
from hybrid_hpc.schedulers import SCHEDULERS

# Ids in the DAG.
RESERVED_NAMES = frozenset({"auto", "choose_cluster", "approve", "choose_again", "moved", "collect"})
_OURS = frozenset(
    {"output", "error", "open-mode", "input", "hold", "parsable", "export", "partition", "wrap"}
)


def _cluster_name(text: str) -> str:
    name = matching(CLUSTER_PATTERN, "Use small letters, digits and _, a letter first.")(text)
    if name in RESERVED_NAMES:
        raise WrongValueError(f"{name} means something else in a request or a DAG", "Choose another name.")
    return name


def _scheduler(text: str) -> str:
    if text not in SCHEDULERS:
        raise WrongValueError(f"{shown(text)} is no known scheduler", did_you_mean(text, SCHEDULERS))
    return text


def _storage_root(text: str) -> str:
    remedy = "Write an absolute path, or one that starts with ~ or $NAME: $SCRATCH/hybrid-hpc."
    root = matching(r"(~|\$[A-Za-z_][A-Za-z0-9_]*|/)[A-Za-z0-9_./,:=@%+-]*", remedy)(text)
    start = root.partition("/")[0]
    if ".." in root.split("/") or (start[:1] == "~" and start != "~"):
        raise WrongValueError(f"{shown(root)} cannot be taken", remedy)
    return root


def _some(projects: tuple[str, ...]) -> tuple[str, ...]:
    if not projects:
        raise WrongValueError(
            "lets no project in", "Name at least one, or leave the key out for every project."
        )
    return projects


def _texts(value: object) -> object:
    """YAML reads ``nice: 100`` as a number."""
    if not isinstance(value, dict):
        return value
    return {name: str(item) if type(item) in {int, float} else item for name, item in value.items()}


def _directives(directives: dict[str, str]) -> dict[str, str]:
    for name, value in directives.items():
        matching(r"[a-z][a-z0-9-]{0,60}", "Write an option's long name without dashes, such as qos.")(name)
        remedy = "Use letters, digits and _ . , : / = @ % + - [ ] only."
        matching(r"[A-Za-z0-9_.,:/=@%+\-\[\]]{0,200}", remedy)(value)
        if name in _OURS or (name in OPTIONS and OPTIONS[name].field):
            raise WrongValueError(f"{name} is set for every job by its request or by us", "Take it out.")
    return directives


def _prices_by_size(sizes: object) -> object:
    """A plain list of VM sizes: each at the partition's own price."""
    return dict.fromkeys(map(str, sizes)) if isinstance(sizes, list | tuple) else sizes


_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}"
_NAME_REMEDY = "Use letters, digits and _ . -."

Line = Annotated[str, AfterValidator(single_line), Field(min_length=1, max_length=200)]
ClusterKey = Annotated[str, AfterValidator(_cluster_name)]
PlainName = Annotated[str, AfterValidator(matching(_NAME, _NAME_REMEDY))]
ProjectName = Annotated[str, AfterValidator(matching(PROJECT_PATTERN, "Write it as the scheduler knows it."))]
GpuTypeName = Annotated[str, AfterValidator(matching(GPU_TYPE_PATTERN, "Write it as in --gres=gpu:a100:1."))]
SchedulerName = Annotated[str, AfterValidator(_scheduler)]
StorageRoot = Annotated[str, AfterValidator(_storage_root)]
Projects = Annotated[tuple[ProjectName, ...], AfterValidator(_some)]
Directives = Annotated[dict[str, str], BeforeValidator(_texts), AfterValidator(_directives)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Usd = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
VmSizes = Annotated[dict[PlainName, Usd | None], BeforeValidator(_prices_by_size)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Prices(_Data):
    """What one core or one GPU costs for an hour, in USD."""

    core_hour_usd: Usd
    gpu_hour_usd: Usd = 0


class Spot(_Data):
    """Nodes that Azure may take back: each about once in ``evicted_every_h`` hours of its life."""

    evicted_every_h: float = Field(gt=0, le=1e6, allow_inf_nan=False)


class Partition(_Data):
    """Nodes of one shape. On an elastic cluster ``nodes`` is how many there can be at most.

    ``vm_sizes``: further VM sizes that its nodes may have, at least as large, with what an hour of a node
    costs (None: as much as one of ``vm_size``). ``tightly_coupled``: the nodes of a job share a placement
    group; None: where the VM size has InfiniBand. ``spot``: its nodes are spot nodes, at spot prices.
    """

    name: PlainName
    nodes: int = Field(ge=1, le=100_000)
    cores: int = Field(ge=1, le=100_000)
    memory_mib: int = Field(ge=1)
    gpus: int = Field(0, ge=0, le=1_000)
    gpu_type: GpuTypeName | None = None
    walltime_s: int = Field(ge=1)
    nodearray: PlainName | None = None
    vm_size: PlainName | None = None
    vm_sizes: VmSizes = {}
    tightly_coupled: bool | None = None
    boot_s: Seconds = 0
    spot: Spot | None = None
    prices: Prices

    @property
    def node_usd_per_hour(self) -> float:
        """What a whole node of the partition's own VM size costs."""
        return self.cores * self.prices.core_hour_usd + self.gpus * self.prices.gpu_hour_usd

    @property
    def sizes(self) -> dict[str, float]:
        """Every VM size that a node may have, with what an hour of it costs in USD."""
        own = self.node_usd_per_hour
        priced = {name: own if usd is None else usd for name, usd in self.vm_sizes.items()}
        return {self.vm_size or "": own, **priced}


class Elastic(_Data):
    """How a cluster gets and loses nodes: ``cyclecloud``: we ask for them; ``scheduler``: it does itself.

    ``max_nodes`` and ``max_usd_per_hour`` hold for all partitions together; nodes that exist or boot count.
    ``region`` is Azure's name of where its VMs are, such as westeurope: its prices are looked up by it.
    """

    scaling: Literal["cyclecloud", "scheduler"]
    connection: PlainName
    cluster: Line
    idle_s: Seconds = 300
    region: PlainName | None = None
    max_nodes: int | None = Field(None, ge=0, le=100_000)
    max_usd_per_hour: Usd | None = None


class Cluster(_Data):
    """One cluster: how to reach it, what it has, and what that costs. ``projects`` None: every project.

    ``runs_as``: all jobs run as the account of ``ssh_connection``, each as its project by one of
    ``ssh_connections``, or as the person who asked, by ``people``. ``ssh_connection`` watches it anyway. A
    table that ``runs_as`` does not use any more still cancels and collects what was sent by it.
    """

    name: ClusterKey
    title: Line
    scheduler: SchedulerName
    ssh_connection: PlainName
    runs_as: Literal["service", "project", "person"] = "service"
    ssh_connections: dict[ProjectName, PlainName] = {}
    people: People | None = None
    storage_root: StorageRoot
    projects: Projects | None = None
    poll_s: float = Field(15, gt=0, le=3_600, allow_inf_nan=False)
    elastic: Elastic | None = None
    partitions: dict[PlainName, Partition] = Field(min_length=1)
    directives: Directives = {}

    def spot(self, partition: str) -> Spot | None:
        """How its nodes are evicted; None for nodes that stay, and for a partition that is not named here."""
        known = self.partitions.get(partition)
        return known.spot if known else None


class Policy(_Data):
    """What time is worth, when the placement weighs it against money; how far a job in trouble may go.

    A job that its cluster cannot run (no nodes to be had, its partition down) for ``blocked_s`` in all moves
    on, up to ``max_moves`` times, where its request allows it. One that is evicted runs on spot nodes up to
    ``spot_tries`` times, then on nodes that stay; each further run is one of ``max_resubmissions``.
    """

    value_of_time_usd_per_h: Usd = 4
    deadline_miss_usd: Usd = 100
    max_resubmissions: int = Field(2, ge=0, le=20)
    spot_tries: int = Field(2, ge=1, le=20)
    max_moves: int = Field(1, ge=0, le=3)
    blocked_s: float = Field(120, ge=0, le=86_400)


class Clusters(_Data):
    """All of clusters.yaml."""

    policy: Policy = Policy()
    clusters: dict[ClusterKey, Cluster] = Field(min_length=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters' names, in the order of the file."""
        return tuple(self.clusters)

    @property
    def projects(self) -> tuple[str, ...]:
        """Every project that a cluster names, sorted."""
        named = (cluster.projects or () for cluster in self.clusters.values())
        return tuple(sorted({project for projects in named for project in projects}))

    @property
    def gpu_types(self) -> tuple[str, ...]:
        """Every GPU type that a partition has, sorted."""
        partitions = (part for cluster in self.clusters.values() for part in cluster.partitions.values())
        return tuple(sorted({part.gpu_type for part in partitions if part.gpu_type}))

    def cluster(self, name: str) -> Cluster:
        """The cluster of that name. Raises `Invalid` when there is none."""
        if name not in self.clusters:
            what = f"{shown(name)} is no cluster of this site"
            raise Invalid([Problem("cluster", what, did_you_mean(name, self.clusters))])
        return self.clusters[name]
