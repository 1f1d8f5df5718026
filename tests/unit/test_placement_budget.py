"""What a project's budget does to a placement: a rule, a notice, a question; never more than the budget."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_hpc.budget_models import Budget
from hybrid_hpc.budget_rules import Amount, Standing, Taken
from hybrid_hpc.errors import FitsNowhere
from hybrid_hpc.placement import Decision, decide
from hybrid_hpc.placing import claim_of
from tests.unit.placement_world import NOW, POLICY, azure, full, onprem, request, view

PREMISES, CLOUD = onprem(), azure()
WISH = {
    "cpus_per_task": 16,
    "walltime": "10:00:00",
    "project": "alpha",
}  # 3.20 USD, 6.99 in Azure; 160 core-hours


def standing(usd: float | None = 500, spent: float = 0, reserved: float = 0, **more: Any) -> Standing:
    facts: dict[str, Any] = {"project": "alpha", "month": "2026-03", "may_ask": True, "granted": Amount()}
    facts |= {name: more.pop(name) for name in tuple(more) if name in facts}
    budget = Budget.model_validate({"usd": usd, **more})
    return Standing(budget=budget, taken=Taken(Amount(spent), Amount(reserved)), **facts)


def placed(budget: Standing | None, *, busy: bool = False, **wishes: object) -> Decision:
    """Premises are empty or full for a day; Azure is empty."""
    premises = view(PREMISES, full(PREMISES, 86_400)) if busy else view(PREMISES)
    return decide(request(**WISH, **wishes), [premises, view(CLOUD)], POLICY, NOW, budget)


def why(decision: Decision, cluster: str) -> str:
    return next(verdict.why for verdict in decision.verdicts if verdict.cluster == cluster)


def test_a_budget_with_enough_left_changes_nothing_but_is_kept_with_the_decision() -> None:
    free, held = placed(None), placed(standing(spent=100, reserved=100))
    assert (held.cluster, held.sentence, held.verdicts) == (free.cluster, free.sentence, free.verdicts)
    assert (held.budget, held.core_h) == (standing(spent=100, reserved=100), 160)
    assert Decision.model_validate_json(held.model_dump_json()) == held


@pytest.mark.parametrize("when_spent", ["on_premises_only", "refuse", "ask"])
def test_a_cluster_that_would_exceed_it_is_left_out_with_the_numbers(when_spent: str) -> None:
    decision = placed(standing(spent=400, reserved=95, when_spent=when_spent), busy=True)
    assert decision.cluster == "onprem"
    assert why(decision, "azure").startswith(
        "alpha has 5.00 USD of 500.00 USD left for March 2026, this takes "
    )
    assert not decision.over_budget


def test_work_in_core_hours_is_limited_too() -> None:
    decision = placed(standing(usd=None, core_h=100.0, when_spent="refuse"))
    assert why(decision, "onprem").startswith(
        "alpha has 100.00 core-hours of 100.00 core-hours left for March 2026, this takes 160.00 core-hours"
    )


def test_a_spent_budget_refuses_before_anything_is_sent_and_waiting_does_not_help() -> None:
    decision = placed(standing(spent=500, when_spent="refuse"))
    assert not decision.placed
    assert decision.cost() == Amount()
    with pytest.raises(FitsNowhere, match="have the budget raised in budgets"):
        decision.raise_if_unplaced()


def test_a_spent_budget_leaves_premises_where_that_is_the_policy() -> None:
    decision = placed(standing(spent=500, when_spent="on_premises_only"), busy=True)
    assert decision.cluster == "onprem"
    assert not placed(standing(spent=500, when_spent="on_premises_only"), cluster="azure").placed
    claim = claim_of(decision, "alpha")
    assert (claim.standing, claim.over) == (None, ""), "it takes what it takes"


def test_a_person_is_asked_only_when_no_cluster_can_take_it_within_the_budget() -> None:
    decision = placed(standing(spent=500, when_spent="ask"))
    left = "alpha has 0.00 USD of 500.00 USD left for March 2026, this takes 3.20 USD at most"
    assert decision.over_budget == left
    assert f"{left}: a person must approve it" in decision.sentence
    claim = claim_of(decision, "alpha")
    assert (claim.standing, claim.over, claim.cost.core_h) == (None, left, 160)
    assert claim.cost.usd == pytest.approx(3.2)


def test_where_nobody_can_be_asked_it_costs_what_was_approved_or_is_refused() -> None:
    spent: dict[str, Any] = {"spent": 500, "when_spent": "ask", "may_ask": False}
    assert not placed(standing(**spent)).placed
    decision = placed(standing(**spent, granted=Amount(4, 160)))
    assert (decision.cluster, decision.over_budget) == ("onprem", "")
    assert why(decision, "azure")


@pytest.mark.parametrize(("spent", "told"), [(396.0, False), (396.8, True)])
def test_the_notice_counts_the_job_itself(spent: float, told: bool) -> None:
    decision = placed(standing(spent=spent))
    notice = "with this job alpha has taken 400.00 USD of 500.00 USD for March 2026"
    assert (decision.warnings == (notice,)) is told
    assert (notice in decision.sentence) is told


def test_a_job_without_a_project_is_told_whose_budget_it_is() -> None:
    decision = placed(standing(spent=500, when_spent="refuse", project=""))
    assert why(decision, "onprem").startswith("the budget without a project has 0.00 USD of 500.00 USD left")


@given(
    usd=st.floats(0, 20),
    spent=st.floats(0, 20),
    policy=st.sampled_from(["on_premises_only", "ask", "refuse"]),
    busy=st.booleans(),
)
def test_nothing_that_exceeds_a_budget_is_placed_but_as_its_policy_allows(
    usd: float, spent: float, policy: str, busy: bool
) -> None:
    budget = standing(usd=usd, spent=spent, when_spent=policy)
    decision = placed(budget, busy=busy)
    exceeds = decision.placed and bool(budget.why_not(decision.cost()))
    if exceeds:
        assert policy == "ask" or (policy, decision.cluster) == ("on_premises_only", "onprem")
    assert bool(decision.over_budget) == (exceeds and policy == "ask")
    if not decision.placed:
        assert policy == "refuse"
    elif not exceeds:
        assert claim_of(decision, "alpha").standing == budget, "what it was placed by is checked once more"
        assert decision.cost().usd + spent <= usd + 1e-6
