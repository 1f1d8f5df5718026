"""What the page on security says is so: each threat names a test that there is, each example loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from hybrid_hpc.clusters import load_clusters
from lab.layout import PROJECT
from tests.pages import blocks, page
from tests.unit.test_promises import TEST, named_in

PAGE = page("security")
THREATS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`tests/" in line]


@pytest.mark.parametrize("threat", THREATS, ids=lambda line: line[2:60])
def test_each_threat_names_a_test_that_exists(threat: str) -> None:
    assert [f"{file}::{name}" for file, name in TEST.findall(threat) if name not in named_in(file)] == []


def test_no_threat_is_without_a_proof() -> None:
    table = PAGE.read_text().partition("| threat |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == THREATS


@pytest.mark.parametrize(("example", "runs_as"), list(enumerate(["project", "person"])))
def test_each_example_of_a_clusters_file_loads(tmp_path: Path, example: int, runs_as: str) -> None:
    (tmp_path / "clusters.yaml").write_text(blocks(PAGE, "yaml")[example])
    assert load_clusters(tmp_path / "clusters.yaml").cluster("onprem").runs_as == runs_as


def test_the_files_that_are_installed_on_a_head_node_are_there() -> None:
    named = {word for block in blocks(PAGE, "bash") for word in block.split() if word.startswith("include/")}
    assert named == {
        str(path.relative_to(PROJECT)) for path in (PROJECT / "include/head_node").glob("*.*")
    } | {"include/head_node/sudoers"}
