"""hpc_usage: each cluster by itself, a window by hand, and a table at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hybrid_hpc.clusters import Cluster, load_clusters
from hybrid_hpc.errors import NoAccounting, Unreachable
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.usage.windows import Window
from tests.unit.usage_world import AccountingHeadNode, Life, site

NOW = datetime.now(UTC).replace(microsecond=0)
Collect = Callable[..., dict[str, int]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def head_nodes(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> dict[str, AccountingHeadNode]:
    """What each cluster says; the tasks find them, and the ledger."""
    now = (NOW - datetime(2026, 3, 29, 12, tzinfo=UTC)).total_seconds()
    lives = [Life("1", began=now - 7200, ended=now - 3600)]
    answering = {name: AccountingHeadNode(lives, now=now) for name in ("onprem", "azure")}

    async def open_ledger_async() -> Ledger:
        return ledger

    async def open_site(cluster: Cluster) -> Any:
        return site(answering[cluster.name], cluster=cluster)

    for give in (open_ledger_async, open_site):
        monkeypatch.setattr(f"hybrid_hpc_airflow.connections.{give.__name__}", give)
    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger", lambda: ledger)
    return answering


def collect(cluster: str, **params: str | None) -> dict[str, int]:
    from hybrid_hpc_airflow.usage import CollectUsageOperator  # noqa: PLC0415

    task = CollectUsageOperator(task_id="collect", cluster=cluster)
    return task.execute({"params": params})


def report(**params: str | None) -> list[dict[Any, Any]]:
    from hybrid_hpc_airflow.usage import UsageReportOperator  # noqa: PLC0415

    return UsageReportOperator(task_id="report", days=7).execute({"params": params})


def test_every_cluster_is_collected_by_itself_and_the_report_waits_for_one_at_least(dagbag: Any) -> None:
    dag = dagbag.dags["hpc_usage"]
    mapped = dag.get_task("collect")
    assert mapped.is_mapped
    assert mapped.expand_input.value == {"cluster": list(load_clusters().clusters)}
    assert mapped.downstream_task_ids == {"report"}
    assert dag.get_task("report").trigger_rule == "all_done_min_one_success"
    assert dag.max_active_runs == 1


def test_whoever_follows_the_asset_runs_after_each_collection(dagbag: Any) -> None:
    from airflow.sdk import Asset  # noqa: PLC0415

    assert dagbag.dags["hpc_usage"].get_task("report").outlets == [Asset("hpc://usage")]


def test_the_report_stands_both_clusters_side_by_side(
    head_nodes: dict[str, AccountingHeadNode], caplog: pytest.LogCaptureFixture
) -> None:
    for name in head_nodes:
        assert collect(name)["accounting"] >= 1
    rows = report()
    assert [(row["cluster"], row["project"], row["jobs"], row["core_h"]) for row in rows] == [
        ("azure", "proj-alpha", 1, 4.0),
        ("onprem", "proj-alpha", 1, 4.0),
    ]


def test_a_cluster_that_does_not_answer_fails_its_own_task_in_words_and_the_others_results_stay(
    head_nodes: dict[str, AccountingHeadNode], ledger: Ledger
) -> None:
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    head_nodes["azure"].trouble = {"load": Unreachable("azure: connection refused")}
    collect("onprem")
    with pytest.raises(AirflowException, match="azure: NO accounting: azure: connection refused"):
        collect("azure")
    assert [row["cluster"] for row in report()] == ["onprem"]
    from hybrid_hpc.usage.report import UsageReport  # noqa: PLC0415

    told = UsageReport(ledger, Window(NOW - timedelta(days=1), NOW)).text()
    assert "azure accounting: never, THEN A GAP: azure: connection refused" in told
    assert f"onprem accounting: until {NOW:%Y-%m-%d %H:%M} UTC" in told


def test_a_cluster_without_accounting_fails_nothing_and_is_told(
    head_nodes: dict[str, AccountingHeadNode],
) -> None:
    head_nodes["onprem"].trouble = {"usage": NoAccounting("none is kept")}
    assert collect("onprem") == {"samples": 2}


def test_without_a_ledger_the_task_says_so(
    head_nodes: dict[str, AccountingHeadNode], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415

    async def away() -> Ledger:
        return Ledger(f"sqlite:///{tmp_path}/no/such/folder/x.db")

    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger_async", away)
    with pytest.raises(AirflowException, match=r"no usage of onprem was collected: .*ledger"):
        collect("onprem")


def test_a_window_by_hand_is_collected_and_told_and_nothing_else(
    head_nodes: dict[str, AccountingHeadNode],
) -> None:
    since, until = NOW - timedelta(hours=3), NOW - timedelta(minutes=90)
    window = {"since": since.isoformat(), "until": until.isoformat().replace("+00:00", "Z")}
    collect("onprem", **window)
    assert len(head_nodes["onprem"].asked) == 1
    [row] = report(**window)
    assert row["core_h"] == pytest.approx(2.0, abs=0.01), "half of the job's hour"
    assert row["jobs"] == 0, "it ended after the window"


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"until": NOW.isoformat()}, "needs a 'since'"),
        ({"since": (NOW + timedelta(days=1)).isoformat()}, "must lie before"),
        ({"since": NOW.isoformat(), "until": (NOW - timedelta(days=1)).isoformat()}, "must lie before"),
    ],
)
def test_a_window_that_is_none_fails_with_what_is_wrong_and_is_not_tried_again(
    head_nodes: dict[str, AccountingHeadNode], params: dict[str, str], words: str
) -> None:
    from airflow.sdk.exceptions import AirflowFailException  # noqa: PLC0415

    with pytest.raises(AirflowFailException, match=words):
        collect("onprem", **params)


def test_what_the_report_gives_is_json_whatever_is_not_known(
    head_nodes: dict[str, AccountingHeadNode],
) -> None:
    import json  # noqa: PLC0415

    head_nodes["onprem"].lives = [Life("1", began=head_nodes["onprem"].now - 60, ended=1e12)]
    collect("onprem")
    [row] = json.loads(json.dumps(report(), allow_nan=False))
    assert (row["jobs"], row["wait_p50_s"]) == (0, None)


def test_the_task_of_each_cluster_carries_its_name(dagbag: Any) -> None:
    mapped = dagbag.dags["hpc_usage"].get_task("collect")
    assert mapped.partial_kwargs["map_index_template"] == "{{ task.cluster }}"
