"""The examples of pipelines and connections on the pages, as Airflow takes them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.pages import README, blocks, page

PIPELINES = [
    (README, "mesh_and_solve"),
    (page("submitting"), "relax_and_plot"),
    (page("submitting"), "sweep_when_quiet"),
    (page("submitting"), "course"),
]


@pytest.fixture
def dag_of(dagbag: Any, tmp_path: Path) -> Any:
    """Gives one of the DAGs of a page's Python examples, each parsed from a file of its own."""

    def dag_of(path: Path, dag_id: str) -> Any:
        examples = [text for text in blocks(path, "python") if "DAG(" in text]
        for number, text in enumerate(examples):
            (tmp_path / f"example_{number}.py").write_text(text)
        bag = type(dagbag)(dag_folder=str(tmp_path))
        assert bag.import_errors == {}
        return bag.dags[dag_id]

    return dag_of


@pytest.mark.parametrize(("path", "dag_id"), PIPELINES, ids=[dag_id for _, dag_id in PIPELINES])
def test_every_pipeline_example_is_a_dag_that_loads(dag_of: Any, path: Path, dag_id: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    dag = dag_of(path, dag_id)
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_ids


def test_one_job_comes_after_the_other(dag_of: Any) -> None:
    dag = dag_of(*PIPELINES[0])
    assert dag.get_task("mesh.collect").downstream_task_ids == {"solve.choose_cluster"}


def test_results_go_in_and_come_out(dag_of: Any) -> None:
    dag = dag_of(*PIPELINES[1])
    assert dag.get_task("relax.choose_cluster").upstream_task_ids == {"prepare"}
    assert "plot" in dag.get_task("relax.collect").downstream_task_ids


@pytest.mark.parametrize(
    ("dag_id", "wait"), [("sweep_when_quiet", "wait_until_quiet"), ("course", "bring_nodes")]
)
def test_a_job_comes_after_the_wait_for_its_cluster(dag_of: Any, dag_id: str, wait: str) -> None:
    (job,) = dag_of(page("submitting"), dag_id).get_task(wait).downstream_task_ids
    assert job.endswith(".choose_cluster")


def test_the_request_of_the_example_is_a_good_one_once_its_templates_are_filled_in(dag_of: Any) -> None:
    from hybrid_hpc.request import read_request  # noqa: PLC0415

    task = dag_of(*PIPELINES[1]).get_task("relax.choose_cluster")
    given = {name: value for name, value in task.request.items() if name != "memory_per_node"}
    filled = json.loads(json.dumps(given).replace("{{ params.structure }}", "cu111"))
    request = read_request({**filled, "memory_per_node": "16G"})
    assert (request.name, request.cores, request.walltime_s) == ("relax-cu111", 32, 7200)


def test_the_connections_on_the_page_are_read_as_they_are_meant() -> None:
    from airflow.sdk import Connection  # noqa: PLC0415

    from hybrid_hpc_airflow.connections import _ledger_url  # noqa: PLC0415
    from hybrid_hpc_airflow.hook import base_url  # noqa: PLC0415

    (given,) = map(json.loads, blocks(page("real-clusters"), "json"))
    conns = {name: Connection.from_json(json.dumps(one), conn_id=name) for name, one in given.items()}
    assert base_url(conns["cyclecloud"]) == "https://cyclecloud.example.org:443"
    assert _ledger_url(conns["hybrid_hpc_ledger"]).endswith("@db.example.org:5432/ledger")
    assert conns["hpc_onprem"].extra_dejson["host_key"].startswith("ssh-ed25519 ")


def test_a_connection_from_airflows_own_database_is_as_good_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a task, where the doctor is run, Airflow gives a model of its database instead."""
    from airflow.models.connection import Connection as Row  # noqa: PLC0415
    from airflow.sdk import BaseHook  # noqa: PLC0415

    from hybrid_hpc_airflow.connections import connection  # noqa: PLC0415

    row = Row(conn_id="hpc_onprem", conn_type="ssh", host="login", extra='{"host_key": "ssh-rsa A"}')

    async def found(_: str) -> Row:
        return row

    monkeypatch.setattr(BaseHook, "aget_connection", found)
    conn = asyncio.run(connection("hpc_onprem"))
    assert conn is not row
    assert (conn.host, conn.extra_dejson) == ("login", {"host_key": "ssh-rsa A"})


def test_a_group_inside_a_group_keeps_its_own_account_in_the_ledger(dagbag: Any, tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(
        "from airflow.sdk import DAG, TaskGroup\n"
        "from hybrid_hpc_airflow.task_group import hpc_job\n"
        "with DAG('nested', schedule=None):\n"
        "    for name in ('left', 'right'):\n"
        "        with TaskGroup(name):\n"
        "            hpc_job('job', request={'name': 'x', 'script': 'true'})\n"
    )
    dag = type(dagbag)(dag_folder=str(tmp_path)).dags["nested"]
    groups = {task.group for task in dag.tasks if hasattr(task, "group")}
    assert groups == {"left.job", "right.job"}
    assert dag.get_task("left.job.choose_cluster").branches["azure"] == "left.job.azure"
