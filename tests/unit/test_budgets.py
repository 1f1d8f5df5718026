"""budgets.yaml is loaded whole or refused whole, each mistake with its line and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hybrid_hpc import budgets
from hybrid_hpc.budgets import Budget, Budgets, load_budgets
from hybrid_hpc.clusters import load_clusters
from hybrid_hpc.errors import InvalidBudgets
from tests.pages import blocks, page

GOOD = """\
default: {usd: 100}
projects:
  alpha:
    usd: 500.00
    core_h: 20000
    notice_at_percent: 75
    when_spent: ask
    approvers: [ada, "17"]
    answer_within_h: 24
  beta: {core_h: 10, when_spent: on_premises_only}
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(text: str) -> Path:
        (tmp_path / "budgets.yaml").write_text(text)
        return tmp_path / "budgets.yaml"

    return written


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidBudgets) as caught:
        load_budgets(path)
    return [str(problem).replace(str(path), "FILE") for problem in caught.value.problems]


def test_a_file_gives_each_project_its_own_budget_and_the_others_the_default(write: Write) -> None:
    read = load_budgets(write(GOOD))
    alpha = read.of("alpha")
    assert alpha
    assert (alpha.usd, alpha.core_h, alpha.notice_at_percent, alpha.when_spent) == (500, 20000, 75, "ask")
    assert (alpha.approvers, alpha.answer_within_h) == (("ada", "17"), 24)
    assert read.of("beta") == Budget(core_h=10, when_spent="on_premises_only")
    assert read.of("gamma") == read.of(None) == Budget(usd=100, notice_at_percent=80, when_spent="refuse")
    assert read.ask == (alpha,)


def test_without_a_file_there_are_no_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(budgets.ENVIRONMENT, raising=False)
    monkeypatch.setattr(budgets, "DEFAULT", tmp_path / "no such file.yaml")
    assert load_budgets() == Budgets()
    assert load_budgets().of("alpha") is None


def test_a_file_that_is_named_and_not_there_is_no_freedom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(budgets.ENVIRONMENT, str(tmp_path / "typo.yaml"))
    with pytest.raises(InvalidBudgets, match="cannot be read: No such file or directory"):
        load_budgets()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("projects:\n  alpha: {usd: -1}", "FILE:2 projects.alpha.usd: must be at least 0.0, not -1"),
        ("projects:\n  alpha: {usd: much}", "FILE:2 projects.alpha.usd: needs a number, not 'much'"),
        ("projects:\n  alpha: {usd: .inf}", "FILE:2 projects.alpha.usd: needs a finite number, not inf"),
        ("projects:\n  alpha: {usde: 1, core_h: 1}", "Did you mean usd?"),
        (
            "projects:\n  alpha:\n    when_spent: refuse",
            "FILE:2 projects.alpha: limits nothing. Write usd or core_h",
        ),
        ("projects:\n  alpha: {usd: 1, when_spent: stop}", "must be 'on_premises_only', 'ask' or 'refuse'"),
        (
            "projects:\n  alpha: {usd: 1, approvers: [ada]}",
            "projects.alpha.approvers: is for when_spent: ask",
        ),
        ("projects:\n  alpha: {usd: 1, notice_at_percent: 0}", "must be more than 0.0, not 0"),
        ("projects:\n  a b: {usd: 1}", "projects.a b: "),
        ("projects:\n  alpha: 500", "FILE:2 projects.alpha: needs names with values, not 500"),
        ("projects: [alpha]", "FILE:1 projects: needs names with values"),
        ("default:\n  usd: 1\n  usd: 2", "FILE:3 default.usd: stands here for the second time"),
        (
            "project:\n  alpha: {usd: 1}",
            "FILE:1 project: is no key that is known here. Did you mean projects?",
        ),
        ("projects:\n  alpha: {usd: 1", "FILE:3: is not YAML"),
        ("", "FILE:1 the file: needs names with values, not None"),
    ],
)
def test_each_mistake_is_told_with_its_line_and_what_to_do(write: Write, text: str, said: str) -> None:
    (problem,) = problems(write(text))
    assert said in problem


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write: Write) -> None:
    found = problems(write("default: {usd: x}\nprojects:\n  alpha: {usd: -1}\n  beta: {}\n"))
    assert [problem.split(":")[1].split()[0] for problem in found] == ["1", "3", "4"]


def test_an_edited_file_is_read_again(write: Write) -> None:
    assert load_budgets(write("default: {usd: 1}")).default == Budget(usd=1)
    assert load_budgets(write("default: {usd: 20}")).default == Budget(usd=20)


def test_the_projects_own_file_asks_nobody_and_names_projects_that_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(budgets.ENVIRONMENT, raising=False)
    read = load_budgets()
    assert read.projects.keys() <= set(load_clusters().projects)
    assert read.ask == ()


def test_the_example_on_the_page_loads(write: Write) -> None:
    (text,) = blocks(page("budgets"), "yaml")
    read = load_budgets(write(text))
    assert [budget.approvers for budget in read.ask] == [("grace", "role:Operator")]
