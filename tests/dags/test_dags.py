"""Promises about the project's DAGs: they load, read like their picture, and are cheap to parse."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.request import JobRequest

ROOT = Path(__file__).parents[2]
HEAVY = ("asyncssh", "httpx", "pandas", "sqlalchemy")
DAGS = ["hpc_job", "hpc_monthly_report", "hpc_nodes_azure", "hpc_prices", "hpc_reconcile", "hpc_usage"]


def test_every_dag_file_loads(dagbag: Any) -> None:
    assert dagbag.import_errors == {}
    assert sorted(dagbag.dags) == DAGS


@pytest.mark.parametrize("dag_id", DAGS)
def test_every_dag_survives_serialization(dagbag: Any, dag_id: str) -> None:
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    dag = dagbag.dags[dag_id]
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert sorted(again.task_ids) == sorted(dag.task_ids)


@pytest.mark.parametrize("dag_id", DAGS)
def test_every_dag_says_what_it_is_for_in_words(dagbag: Any, dag_id: str) -> None:
    dag = dagbag.dags[dag_id]
    assert dag.doc_md
    assert dag.description
    assert dag.dag_display_name != dag_id
    assert "hpc" in dag.tags


def test_every_task_is_tried_again_and_has_a_name_for_people(dagbag: Any) -> None:
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert task.retries >= 1, task
            assert task.task_display_name != task.task_id, task


def test_the_job_reads_like_its_picture(dagbag: Any) -> None:
    dag = dagbag.dags["hpc_job"]
    edges = {task.task_id: task.downstream_task_ids for task in dag.tasks}
    clusters = list(load_clusters().clusters)
    assert edges["choose_cluster"] == {f"{name}.submit" for name in clusters}
    assert edges["choose_again"] == {f"moved.{name}.submit" for name in clusters}
    ends = {name: {"choose_again", "collect"} for name in clusters}
    ends |= {f"moved.{name}": {"collect"} for name in clusters}
    for name, after in ends.items():
        assert edges[f"{name}.submit"] == {f"{name}.wait_in_queue"}
        assert edges[f"{name}.wait_in_queue"] == {f"{name}.wait_for_completion"}
        assert edges[f"{name}.wait_for_completion"] == after
    assert dag.get_task("choose_again").trigger_rule == "all_skipped"
    assert dag.get_task("collect").trigger_rule == "all_done"


def test_the_branches_carry_the_clusters_titles(dagbag: Any) -> None:
    dag = dagbag.dags["hpc_job"]
    for name, cluster in load_clusters().clusters.items():
        for chooser, branch in (("choose_cluster", name), ("choose_again", f"moved.{name}")):
            assert dag.get_edge_info(chooser, f"{branch}.submit").get("label") == cluster.title


def test_the_waits_begin_in_the_triggerer_with_a_trigger_that_can_be_imported(dagbag: Any) -> None:
    waits = [task for task in dagbag.dags["hpc_job"].tasks if "wait" in task.task_id]
    assert len(waits) == 8
    for task in waits:
        assert task.start_from_trigger
        trigger = resolve_name(task.start_trigger_args.trigger_cls)(**task.start_trigger_args.trigger_kwargs)
        path, kwargs = trigger.serialize()
        assert path == task.start_trigger_args.trigger_cls
        assert kwargs == task.start_trigger_args.trigger_kwargs


def test_all_waits_of_a_cluster_share_one_poll(dagbag: Any) -> None:
    from hybrid_hpc_airflow.triggers import JobTrigger, NodesTrigger  # noqa: PLC0415

    def key(run_id: str, phase: str) -> object:
        return JobTrigger(
            cluster="azure",
            phase=phase,
            dag_id="d",
            run_id=run_id,
            group="",
            map_index=-1,
            wait_task_id="w",
        ).shared_stream_key()

    assert key("run 1", "start") == key("run 2", "end") == NodesTrigger(cluster="azure").shared_stream_key()


def test_the_form_has_exactly_the_fields_of_a_job_request(dagbag: Any) -> None:
    params = dagbag.dags["hpc_job"].params
    assert set(params) == set(JobRequest.model_fields)
    assert params.get_param("cluster").schema["enum"] == ["auto", *load_clusters().names]


@pytest.mark.parametrize("dag_file", sorted(path.name for path in (ROOT / "dags").glob("*.py")))
def test_parsing_a_dag_file_imports_nothing_heavy(dag_file: str) -> None:
    """What Airflow's parser has loaded before it forks is free; the rest is paid at every parse."""
    code = (
        "import sys, runpy, airflow.sdk, airflow.dag_processing.dagbag; before = set(sys.modules);"
        f"runpy.run_path({str(ROOT / 'dags' / dag_file)!r});"
        f"print('loaded:', sorted((set(sys.modules) - before) & set({HEAVY!r})))"
    )
    path = os.pathsep.join([str(ROOT / "include"), str(ROOT / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-1] == "loaded: []"
