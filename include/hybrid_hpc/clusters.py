"""clusters.yaml, loaded and checked: every mistake in it at once, with its line and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from hybrid_hpc.cluster_models import Cluster, Clusters, Elastic, Partition, Policy, Prices, Spot
from hybrid_hpc.errors import InvalidClusters, Problem
from hybrid_hpc.people import People
from hybrid_hpc.problems import WrongValueError, shown
from hybrid_hpc.units import parse_memory, parse_walltime
from hybrid_hpc.yaml_file import YamlFile, document_of
from hybrid_hpc.yaml_lines import Keys

__all__ = ["Cluster", "Clusters", "Elastic", "Partition", "Policy", "Prices", "Spot", "load_clusters"]

ENVIRONMENT = "HYBRID_HPC_CLUSTERS"
_DEFAULT = Path(__file__).resolve().parents[1] / "clusters.yaml"
_SMALLEST_NODE_MIB = 256

_FILE_KEY = {"memory_mib": "memory", "walltime_s": "walltime"}  # the file's words, where the model's differ
_PARTITION_KEYS = {_FILE_KEY.get(name, name) for name in Partition.model_fields} - {"name"}
_CLUSTER_KEYS = {*Cluster.model_fields, "prices"} - {"name"}
_RUNS_AS_NEEDS = {"project": "ssh_connections", "person": "people"}
_ELASTIC_ONLY = ("nodearray", "vm_size", "vm_sizes", "tightly_coupled", "boot_s", "spot")


def load_clusters(path: Path | None = None) -> Clusters:
    """The clusters of ``path``, else of $HYBRID_HPC_CLUSTERS, else of include/clusters.yaml.

    The same unchanged file is read once. Raises `InvalidClusters` with every problem, each at
    ``file:line key``.
    """
    chosen = path or Path(os.environ.get(ENVIRONMENT) or _DEFAULT)
    try:
        state = chosen.stat()
    except OSError as error:
        remedy = f"Correct the path; without {ENVIRONMENT} the project's own include/clusters.yaml is read."
        raise InvalidClusters([Problem(str(chosen), f"cannot be read: {error.strerror}", remedy)]) from None
    return _loaded(chosen, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _loaded(path: Path, _mtime_ns: int, _size: int) -> Clusters:
    """Keyed by the file's state, so that an edited file is read again."""
    document = document_of(path, InvalidClusters)
    return _Reader(str(path), document, InvalidClusters).clusters()


class _Reader(YamlFile):
    """From the file's words to the models."""

    def clusters(self) -> Clusters:
        return self.checked(Clusters, self.site())

    def written_at(self, keys: Keys) -> Keys:
        """Where the file holds what the model has at ``keys``: in its words, prices maybe at the cluster."""
        if len(keys) in {3, 5} and keys[-1] == "name":
            return keys[:-1]  # names are keys in the file
        written = tuple(_FILE_KEY.get(str(key), key) for key in keys)
        shared = (*written[:2], *written[4:])
        of_partition = written[2:3] == ("partitions",) and written[4:5] == ("prices",)
        inherited = of_partition and written not in self.document.lines and shared in self.document.lines
        return shared if inherited else written

    def site(self) -> dict[str, Any]:
        site = self.mapping(self.document.data, (), {"policy", "clusters"})
        if "policy" in site:
            site["policy"] = self.mapping(site["policy"], ("policy",), {*Policy.model_fields})
        if isinstance(site.get("clusters"), dict):
            named = site["clusters"].items()
            site["clusters"] = {str(name): self.cluster(str(name), raw) for name, raw in named}
        return site

    def cluster(self, name: str, raw: object) -> dict[str, Any]:
        keys: Keys = ("clusters", name)
        cluster = self.mapping(raw, keys, _CLUSTER_KEYS)
        prices = self.prices(cluster.pop("prices", {}), (*keys, "prices"))
        elastic = cluster.get("elastic") is not None
        if elastic:
            known = {*Elastic.model_fields}
            cluster["elastic"] = self.mapping(cluster["elastic"], (*keys, "elastic"), known)
            self.limits(cluster["elastic"], (*keys, "elastic"))
        self.identities(cluster, keys)
        if isinstance(cluster.get("partitions"), dict):
            cluster["partitions"] = {
                str(part): self.partition((*keys, "partitions", str(part)), raw_part, prices, elastic=elastic)
                for part, raw_part in cluster["partitions"].items()
            }
        return {"title": name, **cluster, "name": name}

    def identities(self, cluster: dict[str, Any], keys: Keys) -> None:
        """A table beside no ``runs_as`` would make believe that jobs run as somebody else.

        Beside another that is written it is kept for the jobs that were sent by it and have not ended.
        """
        if cluster.get("people") is not None:
            cluster["people"] = self.mapping(cluster["people"], (*keys, "people"), {*People.model_fields})
        runs_as = cluster.get("runs_as", "service")
        for mode, name in _RUNS_AS_NEEDS.items():
            if mode == runs_as and not cluster.get(name):
                self.wrong((*keys, name), f"is missing: runs_as is {mode}", "Write who has which account.")
            elif cluster.get(name) and "runs_as" not in cluster:
                remedy = f"Write runs_as: {mode}; or runs_as: service, if it is kept for jobs sent before."
                self.wrong((*keys, name), f"is not used: runs_as is {shown(runs_as)}", remedy)
        people = cluster.get("people")
        if runs_as == "person" and people and not (people.get("accounts") or people.get("rule")):
            self.wrong((*keys, "people"), "lets nobody in", "Write accounts, a rule, or both.")
        if runs_as == "project" and isinstance(cluster.get("ssh_connections"), dict):
            self.projects(cluster, keys)

    def projects(self, cluster: dict[str, Any], keys: Keys) -> None:
        """A project without a connection could be placed there, and never be submitted."""
        connected = [str(name) for name in cluster["ssh_connections"]]
        if cluster.get("projects") is None:
            cluster["projects"] = connected
        for project in cluster["projects"] if isinstance(cluster["projects"], list) else ():
            if str(project) not in connected:
                remedy = "Write its connection there, or take it out here."
                self.wrong((*keys, "projects"), f"{shown(project)} is not in ssh_connections", remedy)

    def limits(self, elastic: dict[str, Any], keys: Keys) -> None:
        """A limit that nobody keeps would be worse than none."""
        for name in ("max_nodes", "max_usd_per_hour"):
            if elastic.get("scaling") == "scheduler" and elastic.get(name) is not None:
                remedy = (
                    "Take it out and set the nodearray's limit in CycleCloud, or use scaling: cyclecloud."
                )
                self.wrong((*keys, name), "cannot be kept: the cluster asks for its nodes itself", remedy)

    def prices(self, raw: object, keys: Keys) -> dict[str, Any]:
        return self.mapping(raw, keys, {*Prices.model_fields})

    def partition(self, keys: Keys, raw: object, shared: dict[str, Any], *, elastic: bool) -> dict[str, Any]:
        part = self.mapping(raw, keys, _PARTITION_KEYS)
        prices = {**shared, **self.prices(part.pop("prices", {}), (*keys, "prices"))}
        if part:
            self.priced(keys, prices, gpus=bool(part.get("gpus")))
            self.elastic_keys(keys, part, elastic=elastic)
        if part.get("spot") is not None:
            part["spot"] = self.mapping(part["spot"], (*keys, "spot"), {*Spot.model_fields})
        if part.get("gpu_type") and not part.get("gpus"):
            remedy = "Write how many a node has: gpus: 4."
            self.wrong((*keys, "gpu_type"), "is given, but no GPUs are", remedy)
        return {**self.in_units(keys, part), "prices": prices, "name": keys[-1]}

    def priced(self, keys: Keys, prices: dict[str, Any], *, gpus: bool) -> None:
        """A price of zero must be written: one that was forgotten would draw every job."""
        needed = ("core_hour_usd", "gpu_hour_usd") if gpus else ("core_hour_usd",)
        for name in needed:
            if name not in prices:
                remedy = f"Write it here or for the whole cluster: prices: {{{name}: …}}; 0 if it is free."
                self.wrong((*keys, "prices", name), "is missing", remedy)

    def elastic_keys(self, keys: Keys, part: dict[str, Any], *, elastic: bool) -> None:
        if elastic:
            for name in ("nodearray", "vm_size"):
                if not part.get(name):
                    remedy = "Write what CycleCloud makes this partition's nodes of."
                    self.wrong((*keys, name), "is missing: the cluster is elastic", remedy)
            return
        for name in _ELASTIC_ONLY:
            if part.get(name):
                remedy = "Take it out, or give the cluster its `elastic` part."
                self.wrong((*keys, name), "belongs to an elastic cluster, and this one is not", remedy)

    def in_units(self, keys: Keys, part: dict[str, Any]) -> dict[str, Any]:
        """Memory and walltime as numbers; what cannot be read is a problem and is left out."""
        read: dict[str, Callable[[str], int]] = {"memory": _node_memory, "walltime": parse_walltime}
        out = {name: value for name, value in part.items() if name not in read}
        for model_key, file_key in _FILE_KEY.items():
            if file_key in part:
                try:
                    out[model_key] = read[file_key](str(part[file_key]))
                except WrongValueError as wrong:
                    self.wrong((*keys, file_key), wrong.what, wrong.remedy)
        return out


def _node_memory(text: str) -> int:
    mib = parse_memory(text)
    if mib < _SMALLEST_NODE_MIB:
        what = f"{shown(text)} means {mib} MiB, less than any node has"
        raise WrongValueError(what, "Write the unit: 64G or 64000M.")
    return mib
