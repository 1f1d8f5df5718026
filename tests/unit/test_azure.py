"""Promises about the Azure side: its files are of the form they claim, and say what clusters.yaml says."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import tree_sitter_bicep
from tree_sitter import Language, Node, Parser
from typer.testing import CliRunner

from hybrid_hpc.__main__ import app
from hybrid_hpc.cluster_template import nodearrays_of, slurm_lines, template_of
from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.errors import Refused
from lab.layout import PROJECT

FOLDER = PROJECT / "include" / "azure"
BICEP = sorted(FOLDER.glob("*.bicep"))
AZURE = load_clusters().cluster("azure")


def broken(node: Node) -> list[str]:
    found = [f"line {node.start_point.row + 1}"] if node.is_error or node.is_missing else []
    return found + [line for child in node.children for line in broken(child)]


def sections(text: str) -> dict[str, dict[str, str]]:
    """Each ``[...]`` of a cluster template by its name, whatever its depth."""
    found: dict[str, dict[str, str]] = {}
    inside: dict[str, str] = {}
    for line in text.splitlines():
        if header := re.match(r"\s*(\[+)([^\]]+)\]+\s*$", line):
            parent = next(reversed(found), "") if header[1] == "[[[" else ""
            owner = parent.split(" / ")[0]
            inside = found.setdefault(f"{owner} / {header[2]}" if owner else header[2], {})
        elif pair := re.match(r"\s*([\w.]+)\s*:?=\s*(.*)$", line):
            inside[pair[1]] = pair[2]
    return found


def elastic(scaling: str) -> Cluster:
    assert AZURE.elastic
    return AZURE.model_copy(update={"elastic": AZURE.elastic.model_copy(update={"scaling": scaling})})


@pytest.mark.parametrize("file", BICEP, ids=lambda file: file.name)
def test_a_bicep_file_can_be_parsed(file: Path) -> None:
    tree = Parser(Language(tree_sitter_bicep.language())).parse(file.read_bytes())
    assert not broken(tree.root_node)


def test_every_module_is_there_and_is_given_just_what_it_asks_for() -> None:
    main = (FOLDER / "main.bicep").read_text()
    modules = re.findall(r"^module \w+ '(\w+\.bicep)' = \{(.*?)^\}", main, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in modules} == {file.name for file in BICEP} - {"main.bicep"}
    for name, body in modules:
        given = set(re.findall(r"^    (\w+):", body, re.MULTILINE))
        asked = set(re.findall(r"^param (\w+)", (FOLDER / name).read_text(), re.MULTILINE))
        assert given == asked, name


def test_what_main_reads_of_a_module_is_an_output_of_it() -> None:
    main = (FOLDER / "main.bicep").read_text()
    for module, output in re.findall(r"(\w+)\.outputs\.(\w+)", main):
        assert f"output {output} " in (FOLDER / f"{module}.bicep").read_text(), f"{module}.{output}"


@pytest.mark.parametrize(
    "file", [file for file in BICEP if file.name != "main.bicep"], ids=lambda file: file.name
)
def test_every_resource_that_can_have_tags_says_who_pays(file: Path) -> None:
    resources = re.findall(
        r"^resource \w+ '[^']+' = \{\n(.*?)^\}", file.read_text(), re.MULTILINE | re.DOTALL
    )
    assert resources
    untagged = [
        body
        for body in resources
        if re.search(r"^  location:", body, re.MULTILINE) and "tags: tags" not in body
    ]
    assert not untagged


def test_no_password_is_written_down_and_each_is_secure() -> None:
    text = "\n".join(file.read_text() for file in BICEP)
    passwords = re.findall(r"(@secure\(\)\n(?:@[^\n]+\n)*)?param (\w*[pP]assword\w*)", text)
    assert {name for _, name in passwords} == {"databasePassword", "password"}
    assert all(secure for secure, _ in passwords)
    assert "slurm.accounting.password = $AccountingPassword" in template_of(AZURE)


def test_the_shipped_template_is_what_clusters_yaml_gives() -> None:
    assert (FOLDER / "azure.txt").read_text() == template_of(AZURE)


def test_the_template_has_the_nodearrays_of_clusters_yaml_and_no_more_nodes() -> None:
    made = sections(template_of(AZURE))
    arrays = {name.split()[1]: of for name, of in made.items() if re.fullmatch(r"nodearray \w+", name)}
    assert {name: int(of["MaxCount"]) for name, of in arrays.items()} == {
        partition.nodearray: partition.nodes for partition in AZURE.partitions.values()
    }
    for partition in AZURE.partitions.values():
        assert partition.nodearray
        of = arrays[partition.nodearray]
        assert of["MachineType"].split(", ") == list(partition.sizes)
        assert (of.get("Interruptible") == "true") == (partition.spot is not None)


def test_infiniband_is_known_by_the_vm_sizes_name() -> None:
    coupled = {array.name: array.tightly_coupled for array in nodearrays_of(AZURE)}
    assert coupled == {"hpc": True, "htc": False, "spot": False, "gpu": False}


@pytest.mark.parametrize(("scaling", "by_slurm"), [("scheduler", "true"), ("cyclecloud", "false")])
def test_only_one_of_the_two_scales(scaling: str, by_slurm: str) -> None:
    text = template_of(elastic(scaling))
    assert f"slurm.autoscale = {by_slurm}" in text
    assert ("NodeName=azure-hpc-[1-8]" in text) == (by_slurm == "false")


def test_slurm_knows_every_node_that_there_may_be_as_one_that_is_down() -> None:
    lines = list(slurm_lines(elastic("cyclecloud")))
    has = "CPUs=24 RealMemory=214000 Gres=gpu:a100:1"
    assert f'NodeName=azure-gpu-[1-4] {has} State=DOWN Reason="has not booted"' in lines
    assert "PartitionName=hpc Nodes=azure-hpc-[1-8] MaxTime=3-00:00:00" in lines


def test_a_cluster_that_is_always_there_has_no_template() -> None:
    with pytest.raises(Refused, match="onprem is not elastic"):
        template_of(load_clusters().cluster("onprem"))
    result = CliRunner().invoke(app, ["template", "onprem"])
    assert (result.exit_code, "onprem is not elastic" in result.output) == (1, True)


def test_two_partitions_of_one_nodearray_are_refused_by_name() -> None:
    twice = {name: each.model_copy(update={"nodearray": "hpc"}) for name, each in AZURE.partitions.items()}
    with pytest.raises(Refused, match="share the nodearray hpc"):
        template_of(AZURE.model_copy(update={"partitions": twice}))


def test_the_units_name_the_command_and_its_file_of_settings() -> None:
    unit = ConfigParser(interpolation=None, comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(FOLDER / "copy-results.service")
    assert unit["Service"]["EnvironmentFile"].startswith("/etc/hybrid-hpc/")
    assert "--delete-destination=false" in unit["Service"]["ExecStart"]
