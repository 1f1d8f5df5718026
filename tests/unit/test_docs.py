"""What the pages say is so: links lead somewhere, examples are right, tables are those of the code."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from docs import request_fields
from hybrid_hpc.clusters import Clusters, load_clusters
from hybrid_hpc.doctor import REMEDIES
from hybrid_hpc.form import request_schema
from hybrid_hpc.request import JobRequest, read_request
from hybrid_hpc.schedulers.base import Scheduler
from tests.pages import PAGES, PROJECT, README, blocks, bodies, page, prose
from tests.unit.test_form import accepts

BY_NAME = pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
IMAGES = PROJECT / "docs" / "images"


def anchors(path: Path) -> set[str]:
    """The names that headings have as link targets on GitHub."""
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@BY_NAME
def test_every_link_leads_to_something_in_the_project(path: Path) -> None:
    for link in LINK.findall(prose(path)):
        name, _, anchor = link.partition("#")
        if not re.match(r"[a-z]+:", name):
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), link
            assert PROJECT in (target, *target.parents), link
            assert not anchor or anchor in anchors(target), link


@BY_NAME
def test_no_page_names_a_place_on_one_machine(path: Path) -> None:
    assert not re.search(r"/(work|root|home|tmp)/\w", path.read_text())


def test_every_picture_is_on_a_page_and_1400_pixels_wide() -> None:
    shown = {Path(link).name for path in PAGES for link in LINK.findall(path.read_text())}
    pictures = sorted(IMAGES.glob("*"))
    assert pictures
    for picture in pictures:
        assert picture.name in shown, picture
        kind, width, height = struct.unpack(">8s8xII", picture.read_bytes()[:24])
        assert kind == b"\x89PNG\r\n\x1a\n", picture
        assert (width, 400 < height < 2000) == (1400, True), picture


@BY_NAME
def test_every_command_of_make_exists(path: Path) -> None:
    text = "\n".join([*blocks(path, "bash"), *re.findall(r"`([^`\n]+)`", prose(path))])
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+)", text)) <= targets


@BY_NAME
def test_every_module_that_is_run_exists(path: Path) -> None:
    for name in re.findall(r"python -m ([a-z_.]+[a-z])", path.read_text()):
        assert find_spec(name), name


@BY_NAME
def test_every_shell_example_is_shell(path: Path) -> None:
    for block in blocks(path, "bash"):
        done = subprocess.run(["/bin/bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), block


@BY_NAME
def test_every_python_example_compiles(path: Path) -> None:
    for block in blocks(path, "python"):
        ast.parse(block)


@BY_NAME
def test_every_json_example_is_json(path: Path) -> None:
    for block in blocks(path, "json"):
        assert json.loads(block)


def api_calls() -> list[dict[str, Any]]:
    """Every body of a call to dagRuns on any page."""
    found = [body for path in PAGES for block in blocks(path, "bash") for body in bodies(block)]
    return [json.loads(body) for body in found if '"conf"' in body]


def test_the_api_calls_are_what_airflow_and_the_first_task_take() -> None:
    form, calls = request_schema(load_clusters()), api_calls()
    assert len(calls) == 2
    for call in calls:
        assert call["logical_date"] is None
        assert read_request(call["conf"])
        assert all(accepts(form[name], value) for name, value in call["conf"].items())
        assert all("default" in form[name] for name in form.keys() - call["conf"].keys())


def test_the_scripts_of_the_readme_ask_for_what_they_seem_to() -> None:
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for block in blocks(README, "python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        if isinstance(node.value, ast.Constant)
    }
    solve = read_request({"name": "solve", "script": constants["SOLVE"]})
    assert (solve.cores, solve.walltime_s) == (64, 6 * 3600)
    hello = read_request(api_calls()[0]["conf"])
    assert (hello.cores, hello.walltime_s) == (2, 300)


@pytest.fixture
def real_clusters(tmp_path: Path) -> Clusters:
    """The example of a site's file."""
    (text,) = blocks(page("real-clusters"), "yaml")
    (tmp_path / "clusters.yaml").write_text(text)
    return load_clusters(tmp_path / "clusters.yaml")


def test_the_example_of_a_clusters_file_loads_and_its_connections_are_given(real_clusters: Clusters) -> None:
    (connections,) = map(json.loads, blocks(page("real-clusters"), "json"))
    wanted = {"hybrid_hpc_ledger": "postgres", "hybrid_hpc_api": "http"}
    for cluster in real_clusters.clusters.values():
        wanted[cluster.ssh_connection] = "ssh"
        if cluster.elastic:
            wanted[cluster.elastic.connection] = "cyclecloud"
    assert {name: given["conn_type"] for name, given in connections.items()} == wanted


def test_the_settings_that_are_named_are_read_somewhere() -> None:
    code = "".join(path.read_text() for path in (PROJECT / "include").rglob("*.py"))
    code += "".join(path.read_text() for path in (PROJECT / "plugins").rglob("*.py"))
    named = {name for path in PAGES for name in re.findall(r"\bHYBRID_HPC_[A-Z_]+[A-Z]", path.read_text())}
    assert named
    assert all(name in code for name in named), named


def test_the_doctors_words_on_the_page_are_its_own() -> None:
    text = page("real-clusters").read_text()
    assert f"=> {REMEDIES['partitions']}\n" in text


def test_the_table_of_fields_is_that_of_the_code() -> None:
    text = request_fields.PAGE.read_text()
    assert text == request_fields.with_table(text), "run python -m docs.request_fields --write"
    assert all(f"| `{name}` |" in text for name in JobRequest.model_fields)


def test_the_modules_that_architecture_names_are_there() -> None:
    table = page("architecture").read_text().partition("| module | what it knows |")[2].partition("\n\n")[0]
    for name in re.findall(r"`([a-z_]+)/?`", "".join(row.split("|")[1] for row in table.splitlines()[2:])):
        assert find_spec(f"hybrid_hpc.{name}"), name


def test_a_script_in_a_file_becomes_the_json_of_a_call(tmp_path: Path) -> None:
    script = '#!/bin/bash\necho "it\'s"\n'
    (tmp_path / "job.sh").write_text(script)
    command = blocks(page("submitting"), "bash")[-1].replace("job.sh", str(tmp_path / "job.sh"))
    done = subprocess.run(["/bin/bash", "-c", command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"logical_date": None, "conf": {"name": "my-job", "script": script}}


def test_what_a_scheduler_must_have_is_what_is_asked_of_one() -> None:
    table = re.findall(
        r"^\| (`[^|]+`) \|", (PROJECT / "docs/adding-a-scheduler.md").read_text(), re.MULTILINE
    )
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named == set(Scheduler.__abstractmethods__)
