"""From the views to HTML: every text is escaped, for it is other people's (pure)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hybrid_hpc.usage.export_report import MOST_PERSONS, MOST_PROJECTS, MonthReport
from hybrid_hpc_airflow.web import wording
from hybrid_hpc_airflow.web.budget_view import BudgetsPage
from hybrid_hpc_airflow.web.job_view import JobPage
from hybrid_hpc_airflow.web.jobs_view import OUTCOMES, EndedJobsPage, RunPage
from hybrid_hpc_airflow.web.now_view import Page

HERE = Path(__file__).parent
# The pages in the navigation, by where they are below the first one.
PAGES = {"Now": "", "Jobs": "jobs", "Usage": "usage", "Budgets": "budgets"}


def page_html(page: Page) -> str:
    """The whole page."""
    return _environment().get_template("page.html").render(page=page, now=page.now, root="", here="Now")


def job_html(page: JobPage) -> str:
    """The whole page of one job, one folder below the other."""
    return _environment().get_template("job.html").render(page=page, now=page.now, root="../", here="")


def report_html(report: MonthReport) -> str:
    """The report of a month: one file with all that it shows in it, and no script."""
    most = {"projects": MOST_PROJECTS, "persons": MOST_PERSONS}
    return _environment().get_template("report.html").render(report=report, most=most)


def jobs_html(page: EndedJobsPage) -> str:
    """The whole page of ended jobs."""
    shown = {"page": page, "now": page.now, "outcomes": OUTCOMES, "root": "", "here": "Jobs"}
    return _environment().get_template("jobs.html").render(shown)


def run_html(page: RunPage) -> str:
    """The whole page of one run's jobs, two folders below the first page."""
    return _environment().get_template("run.html").render(page=page, now=page.now, root="../../", here="")


def budgets_html(page: BudgetsPage) -> str:
    """The whole page of the budgets in one month."""
    template = _environment().get_template("budgets.html")
    return template.render(page=page, now=page.now, root="", here="Budgets")


def trouble_html(sentence: str, root: str = "") -> str:
    """The page when there is nothing to show, and why; ``root`` is the way up to the first page."""
    return _environment().get_template("trouble.html").render(sentence=sentence, root=root, here="")


def render(template: str, **shown: Any) -> str:
    """Any other whole page; the frame needs ``root`` and ``here``."""
    return _environment().get_template(template).render(shown)


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE / "templates")
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words = (wording.age, wording.ahead, wording.clock, wording.counted, wording.span, wording.usd)
    made.filters.update({word.__name__: word for word in words})
    made.globals["pages"] = PAGES
    return made
