"""What budgets have reserved and used, through all that can become of a job; no use counts twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hybrid_hpc.budget_models import Budget, Budgets
from hybrid_hpc.budget_rules import BUDGET, Amount, Taken
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import BudgetSpent, BudgetTaken, FitsNowhere
from hybrid_hpc.jobs import JobKey, JobState
from hybrid_hpc.ledger import DecisionRow, Job, JobRow, Ledger, UsageRow
from hybrid_hpc.outcome import Outcome
from hybrid_hpc.placement import decide
from hybrid_hpc.placing import claim_of, place, standing_of, tidy_budgets
from tests.unit.ledger_databases import NOW
from tests.unit.placement_world import POLICY, onprem, request, view
from tests.unit.usage_world import life

pytest_plugins = ["tests.unit.ledger_fixtures"]

MARCH = "2026-03"
BUDGETS = Budgets(projects={"alpha": Budget(usd=10, when_spent="refuse")})
ASKING = Budgets(projects={"alpha": Budget(usd=1, when_spent="ask")})
COST = Amount(3.2, 160)  # at most, of 16 cores for ten hours on premises
WISH = request(cpus_per_task=16, walltime="10:00:00", project="alpha")
DONE = Outcome(JobState.COMPLETED, "completed", "accounting")


def key(run_id: str = "run") -> JobKey:
    return JobKey("hpc_job", run_id)


def placed(ledger: Ledger, run_id: str = "run", budgets: Budgets = BUDGETS) -> DecisionRow:
    return place(
        key(run_id), WISH, [view(onprem())], POLICY, budgets=budgets, ledger=ledger, submitted_by="ada"
    )


def submitted(ledger: Ledger, decision: DecisionRow, attempt: str = "") -> JobRow:
    job = Job.of(decision.key, decision, load_clusters().cluster(decision.cluster))
    row = ledger.intend(replace(job, attempt=f"{job.attempt}{attempt}"))
    ledger.record_native_id(row.token, "17", NOW)
    return row


def usage(usd: float = 1.0, token: str = "", native_id: str = "17", **changes: Any) -> UsageRow:
    """One hour of four cores."""
    began = changes.pop("submitted_at", NOW)
    return life(began, cost_usd=usd, token=token, native_id=native_id, **{"project": "alpha", **changes})


def taken(ledger: Ledger, month: str = MARCH) -> Taken:
    return ledger.budgets_taken(month).get("alpha", Taken())


def test_the_most_that_a_job_can_cost_is_reserved_with_its_placement(ledger: Ledger) -> None:
    row = placed(ledger)
    assert taken(ledger) == Taken(reserved=COST)
    assert placed(ledger) == row, "a retry reads it back"
    assert taken(ledger) == Taken(reserved=COST)


def test_what_it_used_counts_once_it_is_collected_and_no_more_what_was_reserved(ledger: Ledger) -> None:
    decision = placed(ledger)
    job = submitted(ledger, decision)
    ledger.save_usage([usage(0.5, job.token, state=JobState.RUNNING, ended_at=None)])
    assert taken(ledger) == Taken(reserved=COST), "while it runs, its most stands for it"
    ledger.save_usage([usage(1.25, job.token)])
    ledger.settle(job.token, DONE)
    assert ledger.close_reservations(decision.key) == 1
    assert taken(ledger) == Taken(spent=Amount(1.25, 4))
    ledger.save_usage([usage(1.5, job.token)])
    tidy_budgets(ledger, living())
    assert taken(ledger) == Taken(spent=Amount(1.5, 4)), "the accounting has corrected itself"


def test_a_job_that_never_ran_frees_what_was_reserved(ledger: Ledger) -> None:
    decision = placed(ledger)
    job = submitted(ledger, decision)
    assert ledger.close_reservations(decision.key) == 0, "it may run"
    ledger.settle(job.token, Outcome(JobState.CANCELLED, "cancelled", "never sent"))
    ledger.close_reservations(decision.key)
    assert taken(ledger) == Taken()


def test_a_job_that_is_sent_anew_keeps_one_reservation_and_all_its_runs_count(ledger: Ledger) -> None:
    decision = placed(ledger)
    lost = submitted(ledger, decision)
    ledger.save_usage([usage(1.0, lost.token)])
    ledger.settle(lost.token, Outcome(JobState.NODE_FAIL, "lost", "accounting"))
    assert taken(ledger) == Taken(reserved=COST), "nobody else may take it before it is sent anew"
    anew = submitted(ledger, decision, "~1")
    assert taken(ledger) == Taken(Amount(1.0, 4), COST)
    ledger.save_usage([usage(2.0, anew.token, "18")])
    ledger.settle(anew.token, DONE)
    ledger.close_reservations(decision.key)
    assert taken(ledger) == Taken(Amount(3.0, 8))


def test_a_submission_that_is_cleared_after_the_end_reserves_again(ledger: Ledger) -> None:
    decision = placed(ledger)
    first = submitted(ledger, decision)
    ledger.settle(first.token, DONE)
    ledger.close_reservations(decision.key)
    assert taken(ledger) == Taken()
    submitted(ledger, decision, "again")
    assert taken(ledger) == Taken(reserved=COST)


def test_a_submission_that_is_cleared_after_a_run_must_fit_once_more(ledger: Ledger) -> None:
    """Else one placement could spend a budget as often as its submission is cleared."""
    decision = placed(ledger)
    job = Job.of(decision.key, decision, load_clusters().cluster("onprem"), within=BUDGETS.of("alpha"))
    attempts = []
    for attempt in ("a", "b", "c"):
        attempts.append(ledger.intend(replace(job, attempt=attempt)))
        ledger.save_usage([usage(3.2, attempts[-1].token, native_id=attempt)])
        ledger.settle(attempts[-1].token, DONE)
    with pytest.raises(
        BudgetSpent, match=r"0\.40 USD of 10\.00 USD left.*3\.20 USD at most: clear choose_cluster"
    ):
        ledger.intend(replace(job, attempt="d"))
    ledger.close_reservations(decision.key)
    assert taken(ledger).spent.usd == pytest.approx(9.6), "and nothing was written"
    assert ledger.intend(replace(job, attempt="c")) == ledger.job(attempts[-1].token), "a retry is no attempt"
    lost = replace(job, attempt="e", within=None)
    assert ledger.intend(lost).token, "what lost its nodes is sent anew whatever is left"


def test_two_cleared_submissions_do_not_both_take_what_is_left_for_one(ledger: Ledger) -> None:
    first, second = placed(ledger), placed(ledger, "other")
    budget = Budget(usd=4, when_spent="refuse")
    jobs = [
        Job.of(each.key, each, load_clusters().cluster("onprem"), within=budget) for each in (first, second)
    ]
    for job in jobs:
        ledger.settle(ledger.intend(job).token, DONE)
        ledger.close_reservations(job.key)
    ledger.intend(replace(jobs[0], attempt="again"))
    with pytest.raises(BudgetSpent):
        ledger.intend(replace(jobs[1], attempt="again"))


def test_a_move_reserves_at_the_new_price_and_frees_the_old_one(ledger: Ledger) -> None:
    decision = placed(ledger)
    left = submitted(ledger, decision)
    ledger.settle(left.token, Outcome(JobState.CANCELLED, "left", "withdrawn"))
    standing = standing_of(left.key, "alpha", BUDGETS, ledger, NOW, moving=True)
    assert standing
    assert standing.taken == Taken(), "what it has reserved itself does not keep it from moving"
    moved = decide(WISH, [view(onprem(partitions=_dearer()))], POLICY, NOW.timestamp(), standing)
    ledger.record_move(left, moved, claim_of(moved, "alpha"))
    assert taken(ledger) == Taken(reserved=Amount(6.4, 160))


def _dearer() -> dict[str, Any]:
    batch = onprem().partitions["batch"]
    prices = batch.prices.model_copy(update={"core_hour_usd": 0.04})
    return {"batch": batch.model_copy(update={"prices": prices})}


def test_clearing_the_choice_reserves_once(ledger: Ledger) -> None:
    placed(ledger)
    again = replace(key(), generation=1)
    place(again, WISH, [view(onprem())], POLICY, budgets=BUDGETS, ledger=ledger)
    assert taken(ledger) == Taken(reserved=COST)


def test_what_others_use_on_the_clusters_counts_and_ours_is_not_counted_twice(ledger: Ledger) -> None:
    decision = placed(ledger)
    job = submitted(ledger, decision)
    native, of_others = usage(2.0, native_id="99"), usage(8.0, native_id="97", project="beta")
    ledger.save_usage([native, of_others, usage(1.0, job.token)])
    ledger.settle(job.token, DONE)
    ledger.close_reservations(decision.key)
    assert taken(ledger) == Taken(Amount(3.0, 8))
    assert ledger.budgets_taken(MARCH)["beta"] == Taken(Amount(8.0, 4))


def test_a_job_counts_to_the_month_in_utc_in_which_it_was_submitted(ledger: Ledger) -> None:
    last = datetime(2026, 2, 28, 23, 59, 59, tzinfo=UTC)
    ledger.save_usage([usage(1.0, native_id="1", submitted_at=last), usage(2.0, native_id="2")])
    job = submitted(ledger, placed(ledger))
    ledger.save_usage([usage(4.0, job.token, submitted_at=datetime(2026, 4, 1, tzinfo=UTC))])
    ledger.settle(job.token, DONE)
    ledger.close_reservations(job.key)
    assert taken(ledger, "2026-02") == Taken(Amount(1.0, 4))
    assert taken(ledger).spent == Amount(6.0, 8), "by the clock of the placement, not of the cluster"
    assert taken(ledger, "2026-04") == Taken()


def test_too_little_left_refuses_and_writes_nothing(ledger: Ledger) -> None:
    for number in range(3):
        placed(ledger, f"run {number}")
    with pytest.raises(FitsNowhere, match=r"alpha has 0\.40 USD of 10\.00 USD left for March 2026"):
        placed(ledger, "one too many")
    assert ledger.decision(key("one too many")) is None
    assert taken(ledger).reserved.usd == pytest.approx(9.6)


def test_a_placement_that_others_have_outrun_is_not_written_down(ledger: Ledger) -> None:
    standing = standing_of(key(), "alpha", BUDGETS, ledger, NOW)
    decision = decide(WISH, [view(onprem())], POLICY, NOW.timestamp(), standing)
    for number in range(3):
        placed(ledger, f"run {number}")
    with pytest.raises(BudgetTaken):
        ledger.record_decision(key(), request=WISH, decision=decision, claim=claim_of(decision, "alpha"))
    assert ledger.decision(key()) is None


def test_an_approval_reserves_when_it_is_given_and_the_first_answer_stands(ledger: Ledger) -> None:
    decision = placed(ledger, budgets=ASKING)
    assert taken(ledger) == Taken()
    (asked,) = ledger.waiting_approvals()
    assert (asked.decision_id, asked.project, asked.name, asked.submitted_by) == (
        decision.id, "alpha", "flow", "ada"
    )  # fmt: skip
    assert asked.why == "alpha has 1.00 USD of 1.00 USD left for March 2026, this takes 3.20 USD at most"
    approved = ledger.answer_approval(decision.id, by="admin", approved=True)
    assert (approved.approved, approved.answered_by, approved.answered_at) == (True, "admin", NOW)
    assert ledger.answer_approval(decision.id, by="bob", approved=False) == approved
    assert taken(ledger) == Taken(reserved=COST)
    assert (ledger.waiting_approvals(), ledger.answered_approvals(MARCH, 9)) == ([], [approved])
    assert ledger.granted(key()) == COST


def test_a_refusal_reserves_nothing_and_a_clear_of_the_submission_does_not_change_that(
    ledger: Ledger,
) -> None:
    decision = placed(ledger, budgets=ASKING)
    ledger.answer_approval(decision.id, by="", approved=False)
    submitted(ledger, decision)
    assert taken(ledger) == Taken()
    assert ledger.granted(key()) == Amount()
    with pytest.raises(LookupError):
        ledger.answer_approval(decision.id + 1, by="admin", approved=True)


def living(*run_ids: str) -> Callable[..., set[tuple[str, str]]]:
    return lambda runs: {run for run in runs if run[1] in run_ids}


def test_what_ended_runs_left_reserved_is_freed_and_nothing_else(ledger: Ledger) -> None:
    for run_id in ("gone", "alive", "runs on"):
        placed(ledger, run_id)
    submitted(ledger, placed(ledger, "runs on"))
    assert tidy_budgets(ledger, living("alive")) == 1
    assert taken(ledger).reserved == Amount(6.4, 320)
    assert tidy_budgets(ledger, living()) == 1, "whose run ended, and whose job did not, keeps it"


def test_the_notice_is_one_alert_a_month_and_ends_with_it(ledger: Ledger, ledger_url: str) -> None:
    for number in range(3):
        placed(ledger, f"run {number}")
    (alert,) = ledger.alerts((BUDGET,))
    assert (alert.subject, alert.sentence) == (
        "alpha 2026-03", "With this job alpha has taken 9.60 USD of 10.00 USD for March 2026."
    )  # fmt: skip
    tidy_budgets(ledger, living("run 0", "run 1", "run 2"))
    assert ledger.alerts((BUDGET,)) == [alert]
    april = Ledger(ledger_url, clock=lambda: datetime(2026, 4, 1, tzinfo=UTC))
    tidy_budgets(april, living())
    assert april.alerts((BUDGET,)) == []
    april.close()


def test_what_a_project_took_before_it_had_a_budget_counts_when_it_gets_one(ledger: Ledger) -> None:
    placed(ledger, budgets=Budgets())
    standing = standing_of(key("next"), "alpha", BUDGETS, ledger, NOW)
    assert standing
    assert standing.taken == Taken(reserved=COST)
