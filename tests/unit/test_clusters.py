"""clusters.yaml is loaded whole or refused whole, each mistake with its line and what to do."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybrid_hpc.clusters import Clusters, Spot, load_clusters
from hybrid_hpc.errors import Invalid, InvalidClusters

GOOD = """\
clusters:
  onprem:
    scheduler: slurm
    ssh_connection: hpc_onprem
    storage_root: /scratch/hh
    prices: {core_hour_usd: 0.02, gpu_hour_usd: 0.90}
    partitions:
      batch: {nodes: 4, cores: 16, memory: 64000M, walltime: 12:00:00}
  azure:
    title: Azure
    scheduler: slurm
    ssh_connection: hpc_azure
    storage_root: $SCRATCH/hh
    projects: [alpha]
    directives: {qos: normal, nice: 100}
    elastic: {scaling: cyclecloud, connection: cyclecloud, cluster: azure}
    partitions:
      gpu:
        nodearray: gpu
        vm_size: Standard_NC24ads_A100_v4
        nodes: 4
        cores: 24
        memory: 214G
        gpus: 1
        gpu_type: a100
        walltime: 90
        prices: {core_hour_usd: 0.01, gpu_hour_usd: 3.43}
"""

KEYS = {
    "BATCH.": "clusters.onprem.partitions.batch.",
    "GPU.": "clusters.azure.partitions.gpu.",
    "ONPREM.": "clusters.onprem.",
    "AZURE.": "clusters.azure.",
}

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(text: str) -> Path:
        path = tmp_path / "clusters.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def messages(path: Path) -> list[str]:
    with pytest.raises(InvalidClusters) as caught:
        load_clusters(path)
    return [str(problem).replace(str(path), "F") for problem in caught.value.problems]


def test_the_file_that_comes_with_the_project_is_good() -> None:
    clusters = load_clusters()
    assert clusters.names == ("onprem", "azure")
    assert clusters.projects == ("proj-alpha", "proj-beta")
    assert clusters.gpu_types == ("a100",)
    assert clusters.policy.value_of_time_usd_per_h == 4


def test_memory_and_walltime_are_read_in_slurms_units(write: Write) -> None:
    clusters = load_clusters(write(GOOD))
    batch = clusters.cluster("onprem").partitions["batch"]
    gpu = clusters.cluster("azure").partitions["gpu"]
    assert (batch.memory_mib, gpu.memory_mib) == (64000, 214 * 1024)
    assert (batch.walltime_s, gpu.walltime_s) == (43_200, 5_400)  # an unquoted 12:00:00 is not base 60


def test_a_partitions_price_goes_before_the_clusters(write: Write) -> None:
    text = GOOD.replace("walltime: 12:00:00", "walltime: 12:00:00, prices: {core_hour_usd: 0.5}")
    prices = load_clusters(write(text)).cluster("onprem").partitions["batch"].prices
    assert (prices.core_hour_usd, prices.gpu_hour_usd) == (0.5, 0.90)


def test_what_is_left_out_has_a_meaning(write: Write) -> None:
    onprem = load_clusters(write(GOOD)).cluster("onprem")
    assert (onprem.title, onprem.projects, onprem.elastic, onprem.poll_s) == ("onprem", None, None, 15)


def test_directives_may_hold_numbers(write: Write) -> None:
    assert load_clusters(write(GOOD)).cluster("azure").directives == {"qos": "normal", "nice": "100"}


@pytest.mark.parametrize(("sizes", "usd"), [("[B, C]", [None, None]), ("{B: 2.5, C: 1}", [2.5, 1.0])])
def test_further_vm_sizes_are_a_list_or_have_prices_of_their_own(
    write: Write, sizes: str, usd: list[float | None]
) -> None:
    line = "vm_size: Standard_NC24ads_A100_v4"
    assert line in GOOD
    partition = (
        load_clusters(write(GOOD.replace(line, f"{line}\n        vm_sizes: {sizes}")))
        .cluster("azure")
        .partitions["gpu"]
    )
    own = partition.node_usd_per_hour
    assert own == pytest.approx(partition.cores * partition.prices.core_hour_usd + 3.43)
    assert list(partition.sizes.items()) == [
        ("Standard_NC24ads_A100_v4", own),
        ("B", own if usd[0] is None else usd[0]),
        ("C", own if usd[1] is None else usd[1]),
    ]


def test_a_partition_may_be_of_spot_nodes_and_the_file_that_comes_with_the_project_has_one(
    write: Write,
) -> None:
    line = "vm_size: Standard_NC24ads_A100_v4"
    azure = load_clusters(write(GOOD.replace(line, f"{line}\n        spot: {{evicted_every_h: 8}}"))).cluster(
        "azure"
    )
    assert azure.partitions["gpu"].spot == azure.spot("gpu") == Spot(evicted_every_h=8)
    assert azure.spot("of-yesterday") is None
    ours = load_clusters()
    assert ours.policy.spot_tries == 2
    assert [name for name, part in ours.cluster("azure").partitions.items() if part.spot] == ["spot"]


def test_an_unknown_cluster_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(Invalid, match="Did you mean azure"):
        load_clusters().cluster("azur")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cores: 16", "core: 16", "F:8 BATCH.core: is no key that is known here. Did you mean cores?"),
        ("memory: 64000M", "memory: 64", "F:8 BATCH.memory: '64' means 64 MiB"),
        ("memory: 64000M", "memory: 64 GiB", "F:8 BATCH.memory: '64 GiB' is not"),
        ("walltime: 12:00:00", "walltime: 12h", "F:8 BATCH.walltime: '12h' is no"),
        ("nodes: 4, ", "", "F:8 BATCH.nodes: is missing"),
        ("nodes: 4, ", "nodes: 0, ", "F:8 BATCH.nodes: must be at least 1"),
        ("nodes: 4, ", "nodes: 4, nodes: 5, ", "F:8 BATCH.nodes: stands here for the second"),
        ("core_hour_usd: 0.02", "core_hour_usd: -1", "F:6 ONPREM.prices.core_hour_usd: must be at least 0"),
        ("core_hour_usd: 0.02", "core_hour_usd: 2 cents", "F:6 ONPREM.prices.core_hour_usd: needs a number"),
        ("core_hour_usd: 0.02", "core_hour_usd: .nan", "F:6 ONPREM.prices.core_hour_usd: needs a finite"),
        ("core_hour_usd: 0.02, ", "", "F:8 BATCH.prices.core_hour_usd: is missing"),
        (", gpu_hour_usd: 3.43", "", "F:27 GPU.prices.gpu_hour_usd: is missing"),
        ("        nodearray: gpu\n", "", "F:18 GPU.nodearray: is missing: the cluster is elastic"),
        ("vm_size: Standard_NC24ads_A100_v4", "vm_size:", "F:20 GPU.vm_size: is missing"),
        (
            "    elastic: {scaling: cyclecloud, connection: cyclecloud, cluster: azure}\n",
            "",
            "F:18 GPU.nodearray: belongs to an elastic",
        ),
        ("scaling: cyclecloud", "scaling: magic", "F:16 AZURE.elastic.scaling: must be 'cyclecloud' or"),
        (
            "scaling: cyclecloud",
            "max_nodes: 3, scaling: scheduler",
            "F:16 AZURE.elastic.max_nodes: cannot be kept: the cluster asks for its nodes itself",
        ),
        (
            "scaling: cyclecloud",
            "max_nodes: -3, scaling: cyclecloud",
            "F:16 AZURE.elastic.max_nodes: must be",
        ),
        ("vm_size: Standard_NC24ads_A100_v4", "vm_size: A\n        vm_sizes: 7", "F:21 GPU.vm_sizes: "),
        (
            "nodes: 4, ",
            "nodes: 4, spot: {evicted_every_h: 8}, ",
            "F:8 BATCH.spot: belongs to an elastic cluster, and this one is not",
        ),
        ("gpus: 1\n", "gpus: 1\n        spot: {}\n", "F:25 GPU.spot.evicted_every_h: is missing"),
        ("gpus: 1\n", "gpus: 1\n        spot: 20\n", "F:25 GPU.spot: needs names with values, not 20"),
        (
            "gpus: 1\n",
            "gpus: 1\n        spot: {evicted_every_h: 0}\n",
            "F:25 GPU.spot.evicted_every_h: must be more than 0",
        ),
        (
            "gpus: 1\n",
            "gpus: 1\n        spot: {evicted_every: 8}\n",
            "F:25 GPU.spot.evicted_every: is no key that is known here. Did you mean evicted_every_h?",
        ),
        (
            "clusters:\n",
            "policy: {spot_tries: 0}\nclusters:\n",
            "F:1 policy.spot_tries: must be at least 1",
        ),
        ("connection: cyclecloud", "conection: x", "F:16 AZURE.elastic.conection: is no key"),
        ("        gpus: 1\n", "", "F:24 GPU.gpu_type: is given, but no GPUs are"),
        ("  azure:", "  auto:", "F:9 clusters.auto: auto means something else"),
        ("  azure:", "  collect:", "F:9 clusters.collect: collect means something else"),
        ("  azure:", "  Azure-1:", "F:9 clusters.Azure-1: 'Azure-1' cannot be taken"),
        ("  azure:", "  onprem:", "F:9 clusters.onprem: stands here for the second time"),
        (
            "scheduler: slurm\n    ssh_connection: hpc_azure",
            "scheduler: slrm\n    ssh_connection: hpc_azure",
            "F:11 AZURE.scheduler: 'slrm' is no known scheduler. Did you mean slurm?",
        ),
        ("hpc_azure", "hpc azure", "F:12 AZURE.ssh_connection: 'hpc azure' cannot be taken"),
        ("$SCRATCH/hh", "../hh", "F:13 AZURE.storage_root: '../hh' cannot be taken"),
        ("$SCRATCH/hh", "$SCRATCH/../hh", "F:13 AZURE.storage_root"),
        ("$SCRATCH/hh", "$(id)/hh", "F:13 AZURE.storage_root"),
        ("$SCRATCH/hh", "/a b", "F:13 AZURE.storage_root"),
        ("[alpha]", "[alpha, -x]", "F:14 AZURE.projects.1: '-x' cannot be taken"),
        ("[alpha]", "[]", "F:14 AZURE.projects: lets no project in"),
        ("[alpha]", "[1234]", "F:14 AZURE.projects.0: needs text, not 1234. Put it in quotes."),
        ("[alpha]", "alpha", "F:14 AZURE.projects: needs a list"),
        ("qos: normal", "job-name: x", "F:15 AZURE.directives: job-name is set for every job"),
        ("qos: normal", 'qos: "a\\nid"', "F:15 AZURE.directives: 'a\\nid' has a line break"),
        ("qos: normal", "--qos: x", "F:15 AZURE.directives: '--qos' cannot be taken"),
        (
            "clusters:\n",
            "polcy: {}\nclusters:\n",
            "F:1 polcy: is no key that is known here. Did you mean policy?",
        ),
        (
            "clusters:\n",
            "policy: {deadline_miss_usd: -1}\nclusters:\n",
            "F:1 policy.deadline_miss_usd: must be at",
        ),
        ("      batch: {", "      batch: [{", "F:"),
    ],
)
def test_a_mistake_is_told_with_its_line_its_key_and_a_remedy(
    write: Write, old: str, new: str, says: str
) -> None:
    assert GOOD.count(old) == 1
    for short, key in KEYS.items():
        says = says.replace(short, key)
    text = GOOD.replace(old, new)
    assert any(message.startswith(says) for message in messages(write(text)))


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    text = (
        GOOD.replace("cores: 16", "cores: x")
        .replace("[alpha]", "[-x]")
        .replace("walltime: 90", "walltime: 1d")
    )
    found = messages(write(text))
    assert [message.split()[0] for message in found] == ["F:8", "F:14", "F:26"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "F:1 the file: needs names with values, not None"),
        ("[]", "F:1 the file: needs names with values"),
        ("clusters: {}", "F:1 clusters: must not be empty"),
        ("clusters:\n  x:\n", "F:2 clusters.x: needs names with values, not None"),
        ("clusters:\n  x:\n    partitions: {}\n", "F:3 clusters.x.partitions: must not be empty"),
        (
            "clusters:\n  x:\n    partitions: {a: 3}\n",
            "F:3 clusters.x.partitions.a: needs names with values, not 3",
        ),
        ("clusters: [", "F:2: is not YAML"),
        ("a: b: c", "F:1: is not YAML"),
        ("a: !!python/object/apply:os.system [id]", "F:1: is not YAML"),
        ("a: &x {b: *x}", "F: holds an alias to itself"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_in_words(write: Write, text: str, says: str) -> None:
    assert any(message.startswith(says) for message in messages(write(text)))


def test_a_part_that_is_no_mapping_is_told_once(write: Write) -> None:
    (message,) = messages(write("clusters:\n  x: 3\n"))
    assert message.startswith("F:2 clusters.x: needs names with values, not 3")


def test_a_file_that_is_not_there_is_told_with_the_variable_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYBRID_HPC_CLUSTERS", str(tmp_path / "nowhere.yaml"))
    with pytest.raises(InvalidClusters, match=r"nowhere\.yaml: cannot be read.*HYBRID_HPC_CLUSTERS"):
        load_clusters()


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clusters.yaml"
    path.write_bytes(b"\xff\xfe")
    assert messages(path)[0].startswith("F: cannot be read")


def test_the_variable_names_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYBRID_HPC_CLUSTERS", str(write(GOOD)))
    assert load_clusters().cluster("azure").title == "Azure"


def test_an_unchanged_file_is_read_once_and_an_edited_one_again(write: Write) -> None:
    path = write(GOOD)
    first = load_clusters(path)
    assert load_clusters(path) is first
    write(GOOD.replace("title: Azure", "title: Cloud"))
    os.utime(path, ns=(1, 1))
    assert load_clusters(path).cluster("azure").title == "Cloud"


def test_anchors_and_merges_work(write: Write) -> None:
    text = GOOD.replace("batch: {", "batch: &node {").replace(
        "  azure:\n", "      long: {<<: *node, walltime: 2-00}\n  azure:\n"
    )
    partitions = load_clusters(write(text)).cluster("onprem").partitions
    assert (partitions["long"].cores, partitions["long"].walltime_s) == (16, 172_800)


LEAVES: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just([]) | st.just({})
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(where=st.integers(0, 10**6), value=LEAVES)
def test_any_value_anywhere_is_read_or_refused_as_invalid(write: Write, where: int, value: object) -> None:
    data: dict[str, Any] = copy.deepcopy(yaml.safe_load(GOOD.replace("12:00:00", "'12:00:00'")))
    holders = list(mappings(data))
    holder = holders[where % len(holders)]
    holder[sorted(holder)[where % len(holder)]] = value
    path = write(yaml.safe_dump(data))
    os.utime(path, ns=(where, where))
    try:
        assert isinstance(load_clusters(path), Clusters)
    except InvalidClusters as refusal:
        assert all(problem.where.startswith(str(path)) for problem in refusal.problems)


def mappings(data: dict[str, Any]) -> list[dict[str, Any]]:
    inner = [part for value in data.values() if isinstance(value, dict) for part in mappings(value)]
    return [data, *inner]
