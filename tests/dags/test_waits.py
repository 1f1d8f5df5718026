"""Promises about the waits that hold against what Airflow 3.3 does with them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hybrid_hpc import clusters
from hybrid_hpc.cloud_view import CloudView
from hybrid_hpc.clusters import Cluster
from hybrid_hpc.jobs import JobReport, JobState
from hybrid_hpc.watch import Poll


def waits(dagbag: Any) -> list[str]:
    return [task.task_id for task in dagbag.dags["hpc_job"].tasks if "wait" in task.task_id]


def test_a_required_param_does_not_end_the_triggerer(dagbag: Any) -> None:
    """The triggerer makes a wait's context from the serialized DAG, outside of any try: an error ends it."""
    from airflow.sdk.definitions.param import process_params  # noqa: PLC0415
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    dag: Any = DagSerialization.from_dict(DagSerialization.to_dict(dagbag.dags["hpc_job"]))
    for task_id in waits(dagbag):
        params = process_params(dag, dag.get_task(task_id), {"name": "mine"}, suppress_exception=False)
        assert params["name"] == "mine"


def report(state: JobState) -> JobReport:
    return JobReport(token="hh-1", native_id="1", state=state)


@pytest.mark.parametrize(
    ("poll", "ends"),
    [
        (Poll("azure", cloud=CloudView()), True),
        (Poll("azure", cloud=CloudView(existing=frozenset({"azure-hpc-1"}))), False),
        (Poll("azure", cloud=CloudView(trouble={"hpc": "quota reached"})), False),
        (Poll("azure", trouble="azure does not answer"), False),
        (Poll("azure", {"hh-1": report(JobState.PENDING)}, CloudView()), False),
        (Poll("azure", {"hh-1": report(JobState.COMPLETED)}, CloudView()), True),
        (Poll("azure", {"hh-1": report(JobState.UNKNOWN)}, CloudView()), True),
    ],
)
async def test_the_watch_over_nodes_ends_when_no_node_is_left_and_no_job_will_want_one(
    poll: Poll, ends: bool
) -> None:
    from hybrid_hpc_airflow.triggers import NodesTrigger  # noqa: PLC0415

    async def polls() -> Any:
        yield poll

    events = [event async for event in NodesTrigger(cluster="azure").filter_shared_stream(polls())]
    assert bool(events) is ends


async def test_the_watch_over_nodes_tells_what_the_scheduler_and_cyclecloud_see_differently(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from hybrid_hpc_airflow.triggers import NodesTrigger  # noqa: PLC0415

    said = "azure-htc-1 runs in Azure, and the scheduler gives it no job"

    async def polls() -> Any:
        yield Poll("azure", cloud=CloudView(existing=frozenset({"azure-htc-1"})))
        yield Poll("azure", cloud=CloudView(frozenset({"azure-htc-1"}), differs={"azure-htc-1": said}))

    assert [event async for event in NodesTrigger(cluster="azure").filter_shared_stream(polls())] == []
    assert f"azure: azure-htc-1 in Azure; {said}" in capsys.readouterr().out


@pytest.mark.parametrize(("map_index", "key"), [(-1, "wait"), (3, "wait_3")])
def test_the_state_of_a_mapped_task_is_found(
    monkeypatch: pytest.MonkeyPatch, map_index: int, key: str
) -> None:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    from hybrid_hpc_airflow.states import task_states  # noqa: PLC0415

    answer = {"run": {key: "deferred"}}
    monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", lambda **_: answer)
    assert task_states("dag", "run", map_index, ["wait", "gone"]) == {"wait": "deferred"}


async def test_a_change_of_clusters_yaml_reaches_a_poll_that_jobs_wait_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On a busy cluster the poll never ends; it would for ever connect as whom the file said once."""
    from hybrid_hpc_airflow import connections  # noqa: PLC0415
    from hybrid_hpc_airflow.triggers import ClusterTrigger  # noqa: PLC0415

    file, opened, closed = tmp_path / "clusters.yaml", list[str](), list[str]()
    before = clusters._DEFAULT.read_text()
    after = before.replace("ssh_connection: hpc_onprem ", "ssh_connection: hpc_people ")
    file.write_text(before)
    monkeypatch.setenv(clusters.ENVIRONMENT, str(file))

    async def open_watch(cluster: Cluster) -> Any:
        async def polls() -> Any:
            while True:
                yield Poll(cluster.name)

        async def close() -> None:
            closed.append(cluster.ssh_connection)

        opened.append(cluster.ssh_connection)
        return SimpleNamespace(cluster=cluster, polls=polls, close=close)

    monkeypatch.setattr(connections, "open_watch", open_watch)
    polls = ClusterTrigger.open_shared_stream({"cluster": "onprem"})
    for text in (before, "clusters: [", after, after):
        await anext(polls)
        file.write_text(text)
    await anext(polls)
    assert (opened, closed) == (["hpc_onprem", "hpc_people"], ["hpc_onprem"])
