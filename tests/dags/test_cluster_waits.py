"""Promises about the waits that anybody may put into a DAG: for a queue, and for nodes that are up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from hybrid_hpc.cloud_view import CloudView
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.watch import Poll
from tests.unit.placement_world import job, load, node

AZURE = load_clusters().cluster("azure")
HTC = AZURE.partitions["htc"]
WAITS = """
from airflow.sdk import DAG
from hybrid_hpc_airflow.sensors import NodesReadySensor, QueueSensor
with DAG("waits", schedule=None):
    QueueSensor(task_id="quiet", cluster="onprem", pending_below=5, free_cores_above=1, timeout=7200)
    NodesReadySensor(task_id="nodes", cluster="azure", nodearray="htc", count=2, timeout=1800)
"""


@pytest.fixture
def bag_of(dagbag: Any, tmp_path: Path) -> Callable[[str], Any]:
    """Parses a DAG file."""

    def bag_of(text: str) -> Any:
        (tmp_path / "waits.py").write_text(text)
        return type(dagbag)(dag_folder=str(tmp_path))

    return bag_of


def trigger_of(task: Any, **changes: Any) -> Any:
    from pkgutil import resolve_name  # noqa: PLC0415

    args = task.start_trigger_args
    return resolve_name(args.trigger_cls)(**{**args.trigger_kwargs, **changes})


async def polled(*polls: Poll) -> AsyncIterator[Poll]:
    for poll in polls:
        yield poll


async def ends(trigger: Any, *polls: Poll) -> list[Any]:
    """What the trigger says after these polls."""
    return [event async for event in trigger.filter_shared_stream(polled(*polls))]


def seen(*found: NodeState, **cloud: Any) -> Poll:
    return Poll("azure", load=load(list(found)), cloud=CloudView(**cloud))


def queue(pending: int) -> Load:
    return load([node("n-1", HTC)], *(job(str(number)) for number in range(pending)))


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written to the task's log, which is Airflow's own."""
    from hybrid_hpc_airflow.cluster_waits import TellingTrigger  # noqa: PLC0415

    told: list[str] = []
    log = Mock()
    for level in ("info", "warning", "error"):
        getattr(log, level).side_effect = lambda text, *args: told.append(text % args)
    monkeypatch.setattr(TellingTrigger, "log", log)
    return told


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    from hybrid_hpc_airflow import connections  # noqa: PLC0415

    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()

    async def opened() -> Ledger:
        return made

    monkeypatch.setattr(connections, "open_ledger_async", opened)
    yield made
    made.close()


def test_the_waits_begin_in_the_triggerer_and_survive_serialization(bag_of: Callable[[str], Any]) -> None:
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    bag = bag_of(WAITS)
    assert bag.import_errors == {}
    dag: Any = DagSerialization.from_dict(DagSerialization.to_dict(bag.dags["waits"]))
    assert all(task.start_from_trigger for task in dag.tasks)
    for task in bag.dags["waits"].tasks:
        trigger = trigger_of(task)
        assert trigger.serialize() == (
            task.start_trigger_args.trigger_cls,
            task.start_trigger_args.trigger_kwargs,
        )
        assert trigger.shared_stream_key() == ("hybrid_hpc", trigger.cluster)
    assert dag.get_task("quiet").start_trigger_args.timeout == timedelta(hours=2)
    assert list(dag.get_task("nodes").template_fields) == ["waiter"]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("QueueSensor(task_id='w', cluster='onprem')", "pending_below: nothing is given to wait for"),
        (
            "QueueSensor(task_id='w', cluster='onpram', pending_below=1)",
            "'onpram' is no cluster of this site",
        ),
        ("NodesReadySensor(task_id='w', cluster='onprem', nodearray='htc')", "onprem is not elastic"),
        ("NodesReadySensor(task_id='w', cluster='azure', nodearray='htc', count=99)", "Give 8 or less."),
    ],
)
def test_a_wrong_argument_is_told_when_the_dag_is_parsed(
    bag_of: Callable[[str], Any], task: str, words: str
) -> None:
    head = "from airflow.sdk import DAG\nfrom hybrid_hpc_airflow.sensors import *\n"
    (error,) = bag_of(f"{head}with DAG('wrong', schedule=None):\n    {task}\n").import_errors.values()
    assert words in error


async def test_the_queue_is_waited_for_with_one_line_a_change(
    bag_of: Callable[[str], Any], lines: list[str]
) -> None:
    trigger = trigger_of(bag_of(WAITS).dags["waits"].get_task("quiet"))
    many, fewer = Poll("onprem", load=queue(9)), Poll("onprem", load=queue(4))
    gone = Poll("onprem", trouble="On-premises cluster does not answer: no route")
    (event,) = await ends(trigger, many, many, gone, gone, many, fewer, fewer)
    assert event.task_instance_state == "success"
    assert event.xcoms == {"return_value": {"pending": 4, "free_cores": 16}}
    assert lines == [
        "onprem: waits for fewer than 5 pending jobs and more than 1 free core",
        "onprem: 9 jobs pending and 16 cores free",
        "onprem: On-premises cluster does not answer: no route",
        "onprem: 9 jobs pending and 16 cores free",
        "onprem: 4 jobs pending and 16 cores free",
    ]


def test_a_wait_for_the_queue_that_took_too_long_says_what_it_waited_for(
    bag_of: Callable[[str], Any],
) -> None:
    from airflow.sdk.exceptions import AirflowSensorTimeout  # noqa: PLC0415

    task = bag_of(WAITS).dags["waits"].get_task("quiet")
    with pytest.raises(AirflowSensorTimeout, match="onprem: waited 2:00:00 in vain for fewer than 5 pending"):
        task.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


async def test_nodes_are_wished_for_until_they_are_up(
    bag_of: Callable[[str], Any], ledger: Ledger, lines: list[str]
) -> None:
    trigger = trigger_of(bag_of(WAITS).dags["waits"].get_task("nodes"))
    wished: list[dict[str, int]] = []

    async def polls() -> AsyncIterator[Poll]:
        boots, up = node("htc-1", HTC, NodeStatus.BOOTING), node("htc-1", HTC)
        quota = {"trouble": {"htc": "Azure gave 1 of 2 nodes: quota reached", "hpc": "another's"}}
        for poll in (seen(), seen(boots, **quota), seen(up, **quota), seen(up, node("htc-2", HTC))):
            wished.append(ledger.wished_nodes("azure", 60))
            yield poll

    (event,) = [event async for event in trigger.filter_shared_stream(polls())]
    assert event.task_instance_state == "success"
    assert event.xcoms == {"return_value": {"up": 2, "booting": 0}}
    assert wished == [{"htc": 2}] * 4
    assert ledger.wished_nodes("azure", 60) == {}
    assert lines == [
        "azure: waits for 2 nodes of htc that are up",
        "azure: 0 of 2 up",
        "azure: 0 of 2 up, 1 on the way; Azure gave 1 of 2 nodes: quota reached",
        "azure: 1 of 2 up; Azure gave 1 of 2 nodes: quota reached",
        "azure: 2 of 2 up",
    ]


@pytest.mark.parametrize(("skips", "state"), [(False, "failed"), (True, "skipped")])
async def test_nodes_that_do_not_come_in_time_fail_or_skip_the_task_in_azures_words(
    bag_of: Callable[[str], Any], ledger: Ledger, lines: list[str], skips: bool, state: str
) -> None:
    task = bag_of(WAITS).dags["waits"].get_task("nodes")
    trigger = trigger_of(task, timeout_s=0.0, skips=skips)
    (event,) = await ends(trigger, seen(trouble={"htc": "Azure gave 0 of 2 nodes: quota reached"}))
    assert event.task_instance_state == state
    assert lines[-1] == "azure: given up after 0:00:00: 0 of 2 up; Azure gave 0 of 2 nodes: quota reached"
    assert ledger.wished_nodes("azure", 60) == {}


async def test_a_wait_goes_on_after_a_restart_of_the_triggerer_with_what_is_left_of_its_time(
    bag_of: Callable[[str], Any], ledger: Ledger
) -> None:
    task = bag_of(WAITS).dags["waits"].get_task("nodes")
    assert await ends(trigger_of(task, waiter="same"), seen()) == []  # the stream broke off
    assert ledger.wished_nodes("azure", 60) == {"htc": 2}
    (event,) = await ends(trigger_of(task, waiter="same", timeout_s=0.0), seen())
    assert event.task_instance_state == "failed"
    fresh = trigger_of(task, waiter="another try")
    assert await ends(fresh, seen()) == []


async def test_a_wait_that_a_user_ends_wishes_for_nothing_more(
    bag_of: Callable[[str], Any], ledger: Ledger
) -> None:
    trigger = trigger_of(bag_of(WAITS).dags["waits"].get_task("nodes"))
    await ends(trigger, seen())
    await trigger.on_kill()
    assert ledger.wished_nodes("azure", 60) == {}


async def test_a_ledger_that_does_not_answer_delays_a_wait_for_nodes_and_no_more(
    bag_of: Callable[[str], Any], ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise Unavailable("the ledger's database does not answer")

    monkeypatch.setattr(ledger, "wish_for_nodes", silent)
    monkeypatch.setattr(ledger, "end_node_wish", silent)
    trigger = trigger_of(bag_of(WAITS).dags["waits"].get_task("nodes"))
    (event,) = await ends(trigger, seen(), seen(node("htc-1", HTC), node("htc-2", HTC)))
    assert event.task_instance_state == "success"
