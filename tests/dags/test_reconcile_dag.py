"""When hpc_reconcile runs, and that lost watches of nodes are started anew."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pendulum
import pytest

from hybrid_hpc.ledger.database import utc_now

NOW = pendulum.datetime(2026, 3, 29, 12, 3, 20)
TICK = pendulum.datetime(2026, 3, 29, 12)


def next_run(dagbag: Any, last: pendulum.DateTime | None, monkeypatch: pytest.MonkeyPatch) -> datetime:
    """When the scheduler would next run it, at `NOW`, asked of the timetable that it keeps."""
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415
    from airflow.timetables.base import DataInterval, TimeRestriction  # noqa: PLC0415

    monkeypatch.setattr("airflow.timetables.trigger.utcnow", lambda: NOW)
    dag = DagSerialization.from_dict(DagSerialization.to_dict(dagbag.dags["hpc_reconcile"]))
    info = dag.timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(last, last) if last else None,
        restriction=TimeRestriction(earliest=None, latest=None, catchup=dag.catchup),
    )
    assert info
    return info.run_after


def test_a_new_installation_is_reconciled_at_once(dagbag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(dagbag, None, monkeypatch) == TICK < NOW


def test_after_a_down_time_the_missed_tick_is_run_at_once_and_only_one(
    dagbag: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert next_run(dagbag, TICK.replace(hour=3), monkeypatch) == TICK < NOW


def test_otherwise_it_runs_every_five_minutes(dagbag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert next_run(dagbag, TICK, monkeypatch) == TICK.replace(minute=5)


def test_only_one_reconciliation_runs_at_a_time(dagbag: Any) -> None:
    assert dagbag.dags["hpc_reconcile"].max_active_runs == 1


@pytest.fixture
def watch(dagbag: Any, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """The task, and what Airflow and CycleCloud say to it."""
    return Watch(dagbag.dags["hpc_reconcile"].get_task("watch_nodes_azure"), monkeypatch)


class Watch:
    def __init__(self, task: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task = task
        self.monkeypatch = monkeypatch
        self.asked: dict[str, Any] = {}
        self.living = 0
        self.polls = 0
        self.cluster = SimpleNamespace(poll_s=0.0)

    def run(
        self, *, living: int, nodes: dict[str, bool] | Exception, looked_at: frozenset[str] = frozenset()
    ) -> list[str]:
        """Executes it; ``nodes`` are wanted or not, by name; ``looked_at``: those whose lease is fresh."""
        fresh = [SimpleNamespace(node_id=name, seen_at=utc_now()) for name in looked_at]
        opened = {
            "open_cloud": Cloud(nodes),
            "open_ledger_async": SimpleNamespace(lives=lambda _cluster: fresh),
            "open_watch": self,
        }
        for name, value in opened.items():
            self.monkeypatch.setattr(f"hybrid_hpc_airflow.connections.{name}", _giving(value))
        self.living = living
        names: list[str] = self.task.execute({"ti": self})
        return names

    async def poll(self) -> None:
        self.polls += 1

    async def close(self) -> None:
        assert self.polls

    def get_dr_count(self, **asked: Any) -> int:
        self.asked = asked
        return self.living


def _giving(value: Any) -> Any:
    async def give(*_: object) -> Any:
        return value

    return give


class Cloud:
    def __init__(self, there: dict[str, bool] | Exception) -> None:
        self.there = there

    async def __aenter__(self) -> Cloud:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def nodes(self) -> list[Any]:
        if isinstance(self.there, Exception):
            raise self.there
        return [
            SimpleNamespace(name=name, node_id=name, nodearray="hpc", wanted=up)
            for name, up in self.there.items()
        ]


def test_nodes_that_nobody_watches_start_their_watch_by_its_asset(dagbag: Any, watch: Watch) -> None:
    assert watch.run(living=0, nodes={"hpc-1": True, "hpc-2": False}) == ["hpc-1"]
    assert watch.asked == {"dag_id": "hpc_nodes_azure", "run_ids": None, "states": ["queued", "running"]}
    nodes_dag = dagbag.dags["hpc_nodes_azure"]
    [asset] = watch.task.outlets
    assert asset.uri in str(nodes_dag.timetable.asset_condition)


def test_a_watch_that_lives_is_not_started_again(watch: Watch) -> None:
    with skipped("a run of hpc_nodes_azure watches the nodes"):
        watch.run(living=1, nodes={"hpc-1": True}, looked_at=frozenset({"hpc-1"}))
    assert watch.polls == 0


def test_nodes_at_which_a_living_watch_does_not_look_are_looked_after(watch: Watch) -> None:
    with skipped("a run of hpc_nodes_azure does not look at them: is a triggerer up"):
        watch.run(living=1, nodes={"hpc-1": True, "hpc-2": True}, looked_at=frozenset({"hpc-1"}))
    assert watch.polls


def test_without_nodes_no_watch_is_started(watch: Watch) -> None:
    with skipped("there is no node to watch"):
        watch.run(living=0, nodes={"hpc-1": False})


def test_a_cyclecloud_that_does_not_answer_fails_nothing(watch: Watch) -> None:
    from hybrid_hpc.errors import Unreachable  # noqa: PLC0415

    with skipped("not known"):
        watch.run(living=0, nodes=Unreachable("connection refused"))


def skipped(words: str) -> Any:
    from airflow.sdk.exceptions import AirflowSkipException  # noqa: PLC0415

    return pytest.raises(AirflowSkipException, match=words)
