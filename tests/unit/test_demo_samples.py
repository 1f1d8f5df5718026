"""Promises about the sample jobs of the demo, as files: nothing of the lab is started."""

import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.request import read_request
from lab.demo_check import points
from lab.demo_samples import FOLDER, Sample, load
from lab.errors import LabError

SAMPLES = {sample.name: sample for sample in load()}
CLUSTERS = load_clusters(FOLDER.parent.parent / "include" / "clusters.yaml")


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_sample_is_a_valid_request(sample: Sample) -> None:
    request = read_request(sample.conf)
    assert request.cluster in ("auto", *CLUSTERS.names)


@pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
def test_every_sample_expects_a_cluster_that_exists_and_waits_for_earlier_samples(sample: Sample) -> None:
    assert sample.expect.cluster in CLUSTERS.names
    assert all(name in SAMPLES and name < sample.name for name in sample.after)


def test_the_samples_show_what_the_issue_asks_for() -> None:
    requests = {name: read_request(sample.conf) for name, sample in SAMPLES.items()}
    onprem = CLUSTERS.clusters["onprem"].partitions.values()
    largest = max(partition.cores for partition in onprem)
    assert any(request.cores_per_node > largest for request in requests.values())
    assert any(request.gpus_per_node for request in requests.values())
    assert any(request.array_tasks > 1 and request.outputs for request in requests.values())
    assert any(sample.expect.exit_code == 3 for sample in SAMPLES.values())
    assert sum("later" in sample.expect.decision for sample in SAMPLES.values()) == 2


def test_the_job_that_fills_the_cluster_asks_for_every_standard_node_and_for_much_longer_than_it_runs() -> (
    None
):
    request = read_request(SAMPLES["6-fills"].conf)
    batch = CLUSTERS.clusters["onprem"].partitions["batch"]
    assert (request.nodes, request.cores_per_node) == (batch.nodes, batch.cores)
    assert request.walltime_s == 30 * 60


@pytest.mark.parametrize("task", [0, 9])
def test_the_magnet_melts_as_theory_says(tmp_path: Path, task: int) -> None:
    sample = SAMPLES["5-ising"]
    assert sample.chart
    environment = {"SLURM_ARRAY_TASK_ID": str(task), "PATH": "/usr/bin:/bin"}
    argv = [sys.executable, "-I", "-c", sample.conf["script"]]
    subprocess.run(argv, cwd=tmp_path, env=environment, check=True, capture_output=True)
    [(temperature, magnetisation)] = points(sample.chart, tuple(tmp_path.iterdir())).items()
    low, high = sample.chart.between[temperature]
    assert low <= magnetisation <= high


@pytest.mark.parametrize(
    "text", ["", "just text", "title: [", "title: lonely", "conf: {name: x}\nnonsense: 1"]
)
def test_a_wrong_sample_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "1-wrong.yaml").write_text(text)
    with pytest.raises(LabError, match=r"1-wrong\.yaml is no sample job"):
        load(tmp_path)
