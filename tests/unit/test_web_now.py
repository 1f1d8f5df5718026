"""Promises about the page *Now*: how full a cluster is, what boots, what keeps nodes away, what it costs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.jobs import JobState
from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.lives import NewLife
from hybrid_hpc.schedulers.base import Load, NodeState, NodeStatus
from hybrid_hpc.snapshots import snapshot_of
from hybrid_hpc_airflow.web import cluster_reading, reading
from hybrid_hpc_airflow.web.cluster_view import ClusterView
from hybrid_hpc_airflow.web.rendering import page_html
from hybrid_hpc_airflow.web.views import Whose
from tests.unit.ledger_databases import NOW
from tests.unit.test_web import HOSTILE, LATER, everything, text_of
from tests.unit.web_world import Clock, add_job

CLUSTERS = load_clusters()
ALICE = Whose(person="alice", mine=True)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(tmp_path: Path, clock: Clock) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=clock)
    made.migrate()
    yield made
    made.close()


def load(*nodes: tuple[str, str, NodeStatus, int]) -> Load:
    """Nodes as name, partition, status, busy cores; each has 16 cores."""
    made = [NodeState(name, (part,), status, 16, busy, 1, 0) for name, part, status, busy in nodes]
    return Load(NOW.timestamp(), tuple(made), ())


def see(
    ledger: Ledger, cluster: str, at: datetime, *nodes: tuple[str, str, NodeStatus, int], trouble: str = ""
) -> None:
    away = {"htc": trouble} if trouble else {}
    ledger.save_snapshot(snapshot_of(load(*nodes), CLUSTERS.cluster(cluster), away, at))


def cluster(ledger: Ledger, name: str, now: datetime = LATER) -> ClusterView:
    seen = cluster_reading.read_clusters(ledger, CLUSTERS, ledger.open_counts(), now)
    return next(each for each in seen if each.name == name)


def told(ledger: Ledger, now: datetime = LATER, whose: Whose | None = None) -> str:
    return text_of(html(ledger, now, whose))


def html(ledger: Ledger, now: datetime = LATER, whose: Whose | None = None) -> str:
    shown = whose or Whose(person="alice", mine=False)
    return page_html(reading.read_page(ledger, CLUSTERS, everything, now, shown))


def boot(
    ledger: Ledger, clock: Clock, number: int, took: timedelta | None, vm: str = "Standard_F16s_v2"
) -> None:
    """A node that is up after that time, else boots since now."""
    ledger.begin_lives("azure", [NewLife(f"id-{number}", f"htc-{number}", "htc", vm)])
    if took is not None:
        clock.now += took
        ledger.renew_lives("azure", [f"id-{number}"], up=[f"id-{number}"])
        ledger.renew_lives("azure", [], gone=[f"id-{number}"])


def test_a_cluster_that_nobody_has_looked_at_says_so_and_has_no_numbers(ledger: Ledger) -> None:
    assert cluster(ledger, "onprem").usd_per_hour is None
    assert "Nobody has looked at its nodes and its queue yet" in told(ledger)
    assert "busy" not in told(ledger).partition("Azure CycleCloud")[0]


def test_busy_and_free_cores_and_the_nodes_by_state_stand_as_text_beside_the_bars(ledger: Ledger) -> None:
    up, down = NodeStatus.UP, NodeStatus.DOWN
    see(ledger, "onprem", NOW, ("n1", "batch", up, 12), ("n2", "batch", up, 0), ("n3", "batch", down, 0))
    assert "Cores 12 of 32 busy, 20 free" in told(ledger)
    assert "Nodes 1 busy 1 idle 1 down" in told(ledger)
    assert '<rect class="busy" width="37.50%"' in html(ledger)
    assert "seen 4 s ago" in told(ledger)


def test_a_look_that_is_too_old_says_that_it_is(ledger: Ledger) -> None:
    see(ledger, "onprem", NOW, ("n1", "batch", NodeStatus.UP, 12))
    assert "what is above is as old as that" not in told(ledger, NOW + 14 * MINUTE)
    assert "seen 16 min ago : what is above is as old as that" in told(ledger, NOW + 16 * MINUTE)


def test_partitions_are_rows_below_their_cluster(ledger: Ledger) -> None:
    see(ledger, "onprem", NOW, ("n1", "batch", NodeStatus.UP, 12), ("n2", "gpu", NodeStatus.UP, 0))
    assert "batch 12 of 16 1 busy empty gpu 0 of 16 1 idle empty" in told(ledger)


def test_a_node_that_boots_is_told_with_size_age_and_the_time_it_usually_takes(
    ledger: Ledger, clock: Clock
) -> None:
    for number in range(3):
        boot(ledger, clock, number, 4 * MINUTE)
    boot(ledger, clock, 9, None)
    see(ledger, "azure", clock.now, ("htc-9", "htc", NodeStatus.BOOTING, 0))
    [booting] = cluster(ledger, "azure", clock.now + MINUTE).boots
    assert (booting.name, booting.usual_s, booting.learnt, booting.share) == ("htc-9", 240.0, True, 0.25)
    text = told(ledger, clock.now + MINUTE)
    assert "htc-9 Standard_F16s_v2, htc asked for 1 min ago; usually up after 4 min" in text
    assert "far longer than usual" in told(ledger, clock.now + 13 * MINUTE)


def test_a_boot_of_which_nothing_is_learnt_counts_with_what_the_file_says(
    ledger: Ledger, clock: Clock
) -> None:
    boot(ledger, clock, 1, None)
    [booting] = cluster(ledger, "azure").boots
    assert (booting.usual_s, booting.learnt, booting.share) == (3.0, False, 1.0)


def test_nodes_of_azure_cost_what_they_cost_busy_or_not_and_a_boot_too(ledger: Ledger, clock: Clock) -> None:
    assert cluster(ledger, "azure").usd_per_hour == 0
    boot(ledger, clock, 1, None)
    ledger.begin_lives("azure", [NewLife("id-2", "hpc-1", "hpc", "Standard_HB120rs_v3")])
    assert cluster(ledger, "azure").usd_per_hour == pytest.approx(16 * 0.042 + 120 * 0.030)
    assert "about 4.27 USD an hour 2 nodes, busy or not" in told(ledger)


def test_jobs_on_premises_cost_what_they_keep_busy_and_the_page_adds_up(ledger: Ledger, clock: Clock) -> None:
    boot(ledger, clock, 1, None)
    see(ledger, "onprem", NOW, ("n1", "batch", NodeStatus.UP, 12), ("n2", "batch", NodeStatus.UP, 0))
    assert cluster(ledger, "onprem").usd_per_hour == pytest.approx(12 * 0.02)
    assert f"about {12 * 0.02 + 16 * 0.042:.2f} USD an hour · as of" in told(ledger)


def test_what_keeps_nodes_away_is_told_in_azures_own_words(ledger: Ledger) -> None:
    see(ledger, "azure", NOW, ("htc-1", "htc", NodeStatus.OFF, 0), trouble="Azure says: no capacity")
    ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray="htc", names=["htc-1", "htc-2"])
    ledger.answer_nodes("r", added=1, message="quota of StandardFSv2Family reached")
    text = told(ledger)
    assert "htc Azure says: no capacity" in text
    assert "htc Azure gave 1 of 2 nodes 4 s ago : quota of StandardFSv2Family reached" in text


def test_a_refusal_that_comes_again_and_again_is_told_once(ledger: Ledger) -> None:
    for number in range(4):
        ledger.ask_for_nodes(request_id=f"r{number}", cluster="azure", nodearray="htc", names=["htc-1"])
        ledger.answer_nodes(f"r{number}", added=0, message="quota")
    assert [(each.added, each.message) for each in cluster(ledger, "azure").refusals] == [(0, "quota")]


def test_ones_own_jobs_are_shown_alone_with_how_many_others_there_are(ledger: Ledger) -> None:
    add_job(ledger, 1, name="hers", by="alice")
    add_job(ledger, 2, name="his", by="bob")
    text = told(ledger, whose=ALICE)
    assert "hers" in text
    assert "his" not in text.partition("Last reconciliation")[0].partition("Open jobs")[2].split()
    assert "1 open job of others: show all ." in text
    assert "his" in told(ledger).split()


def test_who_has_no_open_jobs_is_told_so_and_where_the_others_are(ledger: Ledger) -> None:
    add_job(ledger, 2, by="bob")
    text = told(ledger, whose=ALICE)
    assert "You have no open jobs." in text
    assert "1 open job of others" in text


def test_why_a_job_waits_stands_out(ledger: Ledger) -> None:
    add_job(ledger, 1, JobState.PENDING, sentence="pending: waits for 8 free cores")
    assert '<p class="reason">pending: waits for 8 free cores</p>' in html(ledger)


def test_no_text_of_azures_or_of_a_nodes_becomes_markup_or_breaks_out_of_an_attribute(ledger: Ledger) -> None:
    evil = f'"><img src=x onerror=alert(1)>{HOSTILE}\u202e' + "x" * 10_000
    see(
        ledger, "azure", NOW, ("htc-1", "htc", NodeStatus.OFF, 0), ("a", evil, NodeStatus.UP, 1), trouble=evil
    )
    ledger.begin_lives("azure", [NewLife("1", evil, evil, evil)])
    ledger.ask_for_nodes(request_id="r", cluster="azure", nodearray=evil, names=["htc-1"])
    ledger.answer_nodes("r", added=0, message=evil)
    shown = html(ledger)
    assert "<img" not in shown
    assert shown.count("<script") == 1
    assert shown.count("&lt;img src=x") >= 6
    assert not re.search(r'="[^"]*<', shown)
