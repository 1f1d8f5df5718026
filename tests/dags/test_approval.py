"""Promises about the task that asks a person: where it stands, when it asks, and what an answer does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from airflow.providers.standard.operators import hitl
from airflow.sdk import DAG, task_group
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from hybrid_hpc import budgets
from hybrid_hpc.budgets import load_budgets
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import Unavailable
from hybrid_hpc.jobs import JobKey
from hybrid_hpc.ledger import DecisionRow, Ledger
from hybrid_hpc.placing import place
from hybrid_hpc_airflow import answers, approving
from hybrid_hpc_airflow.approving import APPROVE, REFUSE, ApproveBudgetOperator
from hybrid_hpc_airflow.operators import PlacementOperator, _require_approval
from hybrid_hpc_airflow.task_group import hpc_job, job_tasks
from tests.unit.placement_world import POLICY, onprem, request, view

ASKING = "projects:\n  alpha: {usd: 1, when_spent: ask, approvers: [admin, '17'], answer_within_h: 24}\n"
NOW = datetime(2026, 3, 29, tzinfo=UTC)
CLUSTERS = list(load_clusters().clusters)
KEY = JobKey("dag", "run")
WISH = request(cpus_per_task=16, walltime="10:00:00", project="alpha")  # 3.20 USD at most
ADMIN = {"id": "admin", "name": "admin"}


@pytest.fixture(autouse=True)
def asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site one of whose budgets asks."""
    (tmp_path / "budgets.yaml").write_text(ASKING)
    monkeypatch.setenv(budgets.ENVIRONMENT, str(tmp_path / "budgets.yaml"))


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db", clock=lambda: NOW)
    made.migrate()
    monkeypatch.setattr("hybrid_hpc_airflow.connections.open_ledger", lambda: made)
    monkeypatch.setattr("hybrid_hpc_airflow.notes.write_note", Mock())
    yield made
    made.close()


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What Airflow is told that a person is to be asked."""
    asked = Mock()
    monkeypatch.setattr(hitl, "upsert_hitl_detail", asked)
    return asked


def placed(ledger: Ledger, **wishes: object) -> DecisionRow:
    wish = WISH.model_copy(update=wishes)
    site = {"budgets": load_budgets(), "ledger": ledger, "submitted_by": "ada_*"}
    return place(KEY, wish, [view(onprem())], POLICY, **site)  # type: ignore[arg-type]


def operator() -> ApproveBudgetOperator:
    return ApproveBudgetOperator(task_id="approve", retries=4)


def context(task: ApproveBudgetOperator, tries: int = 1) -> Any:
    where = {"dag_id": KEY.dag_id, "run_id": KEY.run_id, "map_index": -1, "max_tries": 4}
    ti = SimpleNamespace(id="ti", task=task, task_id="approve", try_number=tries, **where)
    return {"ti": ti, "task_instance": ti}


def ask(task: ApproveBudgetOperator | None = None) -> TaskAwaitingInput:
    task = task or operator()
    with pytest.raises(TaskAwaitingInput) as waits:
        task.execute(context(task))
    return waits.value


def answer(option: str, user: dict[str, str] = ADMIN) -> dict[str, Any]:
    task, event = operator(), {"chosen_options": [option], "params_input": {}, "responded_by_user": user}
    return task.execute_complete(context(task), {**event, "responded_at": NOW})


def test_the_approval_stands_between_choice_and_submissions() -> None:
    with DAG("dag", schedule=None) as dag:
        job_tasks({"name": "flow"})
    submits = {f"{name}.submit" for name in CLUSTERS}
    assert dag.get_task("choose_cluster").downstream_task_ids == submits | {"approve"}
    assert dag.get_task("approve").downstream_task_ids == submits
    assert dag.get_edge_info("choose_cluster", "approve").get("label") == "over budget"
    for name in CLUSTERS:
        assert dag.get_task(f"{name}.submit").trigger_rule == "none_failed_min_one_success"
        assert dag.get_task(f"moved.{name}.submit").trigger_rule == "all_success"


def test_it_stands_in_the_groups_of_others_dags_too_mapped_or_not() -> None:
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415

    @task_group
    def sweep(cores: int) -> None:
        hpc_job("solves", request={"name": "flow", "cpus_per_task": cores})

    with DAG("dag", schedule=None) as dag:
        hpc_job("alone", request={"name": "flow"})
        sweep.expand(cores=[1, 2])
    again = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    for group in ("alone", "sweep.solves"):
        chosen: Any = dag.get_task(f"{group}.choose_cluster")
        assert isinstance(chosen, PlacementOperator)
        assert chosen.approval == f"{group}.approve"
        assert again.get_task(f"{group}.approve").upstream_task_ids == {f"{group}.choose_cluster"}


def test_without_a_budget_that_asks_the_graph_has_no_such_task(tmp_path: Path) -> None:
    (tmp_path / "budgets.yaml").write_text("projects:\n  alpha: {usd: 1, when_spent: on_premises_only}\n")
    with DAG("dag", schedule=None) as dag:
        job_tasks({"name": "flow"})
    assert "approve" not in dag.task_ids
    assert {task.trigger_rule for task in dag.tasks if task.task_id.endswith("submit")} == {"all_success"}


def test_the_choice_branches_into_the_approval_only_when_it_is_needed(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    branches = {"onprem": "onprem"}
    task = PlacementOperator(task_id="choose_cluster", branches=branches, approval="approve", request={})
    made = iter([placed(ledger), SimpleNamespace(cluster="onprem", decision={"over_budget": ""})])
    monkeypatch.setattr(task, "_choose", lambda _: next(made))
    assert task.choose_branch({}) == ["approve", "onprem"]
    assert task.choose_branch({}) == "onprem"


def test_a_job_within_its_budget_is_not_asked_about(ledger: Ledger, question: Mock) -> None:
    placed(ledger, cpus_per_task=1)
    task = operator()
    with pytest.raises(AirflowSkipException, match="within its project's budget"):
        task.execute(context(task))
    question.assert_not_called()


def test_the_question_says_who_wants_what_for_how_much_and_who_may_answer(
    ledger: Ledger, question: Mock
) -> None:
    placed(ledger)
    waits = ask()
    asked = question.call_args.kwargs
    assert asked["subject"] == "alpha: flow would exceed its budget: at most 3.20 USD"
    assert r"**ada\_\*** wants to run **flow** on **onprem** for **alpha**" in asked["body"]
    assert "at most **3.20 USD** and 160.00 core-hours" in asked["body"]
    assert r"alpha has 1\.00 USD of 1\.00 USD left for March 2026" in asked["body"]
    assert asked["options"] == [APPROVE, REFUSE]
    assert [user["id"] for user in asked["assigned_users"]] == ["admin", "17"]
    assert waits.timeout == timedelta(hours=24)


def test_a_retry_waits_for_what_is_left_of_the_time(ledger: Ledger, question: Mock) -> None:
    placed(ledger)
    ledger._now = lambda: NOW + timedelta(hours=20)
    assert ask().timeout == timedelta(hours=4)
    ledger._now = lambda: NOW + timedelta(hours=30)
    assert ask().timeout == timedelta(seconds=1)


def test_what_is_approved_goes_on_and_nobody_is_asked_again(ledger: Ledger, question: Mock) -> None:
    decision = placed(ledger)
    with pytest.raises(AirflowFailException, match="nobody has approved it"):
        _require_approval(decision, ledger)
    ask()
    assert answer(APPROVE) == {"approved_by": "admin", "usd": pytest.approx(3.2), "core_h": 160}
    question.reset_mock()
    task = operator()
    assert task.execute(context(task))["approved_by"] == "admin"
    question.assert_not_called()
    _require_approval(decision, ledger)


@pytest.mark.parametrize("late", [False, True])
def test_what_is_refused_or_not_answered_in_time_ends_the_run_in_words(
    ledger: Ledger, question: Mock, late: bool
) -> None:
    decision = placed(ledger)
    said = "refused, because nobody answered in time: alpha has" if late else "refused by admin: alpha has"
    task = operator()
    with pytest.raises(AirflowFailException, match=said):
        if late:
            task.execute_complete(context(task), {"error": "too late", "error_type": "timeout"})
        else:
            answer(REFUSE)
    with pytest.raises(AirflowFailException, match=said):
        task.execute(context(task))
    with pytest.raises(AirflowFailException, match="nobody has approved it"):
        _require_approval(decision, ledger)
    question.assert_not_called()


@pytest.mark.parametrize("answered_after_s", [-60, 60])
def test_an_answer_to_a_try_that_airflow_has_lost_counts_and_one_to_an_earlier_placement_does_not(
    ledger: Ledger, question: Mock, monkeypatch: pytest.MonkeyPatch, answered_after_s: int
) -> None:
    placed(ledger)
    at = (NOW + timedelta(seconds=answered_after_s)).isoformat()
    given = {"responded_at": at, "chosen_options": [APPROVE], "responded_by_user": ADMIN}

    def answered(request: httpx.Request) -> httpx.Response:
        return (
            httpx.Response(200, json=given) if request.url.path.endswith("/tries/1") else httpx.Response(404)
        )

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answered))
    monkeypatch.setattr(answers, "open_api", lambda: client)
    task = operator()
    if answered_after_s > 0:
        assert task.execute(context(task, tries=2))["approved_by"] == "admin"
        question.assert_not_called()
    else:
        with pytest.raises(TaskAwaitingInput):
            task.execute(context(task, tries=2))


def test_an_answer_survives_a_ledger_that_is_away(
    ledger: Ledger, question: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed(ledger)
    ask()
    real, tries = ledger.answer_approval, iter([Unavailable("away"), Unavailable("away"), None])

    def answered(*args: Any, **kwargs: Any) -> Any:
        if error := next(tries):
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(ledger, "answer_approval", answered)
    monkeypatch.setattr(approving, "AGAIN_S", 0.0)
    assert answer(APPROVE)["approved_by"] == "admin"
