"""From the views to HTML: every text is escaped, for it is other people's (pure)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hybrid_hpc_airflow.web import wording
from hybrid_hpc_airflow.web.budget_view import BudgetsPage
from hybrid_hpc_airflow.web.job_view import JobPage
from hybrid_hpc_airflow.web.views import Page

HERE = Path(__file__).parent
PAGES = {
    "Now": "",
    "Budgets": "budgets",
}  # the pages in the navigation, by where they are below the first one


def page_html(page: Page) -> str:
    """The whole page."""
    return _environment().get_template("page.html").render(page=page, now=page.now, root="", here="Now")


def job_html(page: JobPage) -> str:
    """The whole page of one job, one folder below the other."""
    return _environment().get_template("job.html").render(page=page, now=page.now, root="../", here="")


def budgets_html(page: BudgetsPage) -> str:
    """The whole page of the budgets in one month."""
    template = _environment().get_template("budgets.html")
    return template.render(page=page, now=page.now, root="", here="Budgets")


def trouble_html(sentence: str, root: str = "") -> str:
    """The page when there is nothing to show, and why; ``root`` is the way up to the first page."""
    return _environment().get_template("trouble.html").render(sentence=sentence, root=root, here="")


@cache
def _environment() -> Environment:
    loader = FileSystemLoader(HERE / "templates")
    made = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    words = (wording.age, wording.ahead, wording.clock, wording.counted, wording.span)
    made.filters.update({word.__name__: word for word in words})
    made.globals["pages"] = PAGES
    return made
