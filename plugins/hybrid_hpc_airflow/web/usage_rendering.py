"""The page *Usage* and its list of jobs as HTML: every text is escaped, for it is other people's."""

from __future__ import annotations

import json
from datetime import datetime

from markupsafe import Markup

from hybrid_hpc.usage.buckets import ERROR
from hybrid_hpc.usage.selection import COLUMNS
from hybrid_hpc_airflow.web import usage_wording
from hybrid_hpc_airflow.web.rendering import render
from hybrid_hpc_airflow.web.usage_access import Asked
from hybrid_hpc_airflow.web.usage_filter import GROUPINGS, presets
from hybrid_hpc_airflow.web.usage_views import UsageJobsView, UsageView

WORDS = {each.__name__: each for each in (usage_wording.number, usage_wording.percent, usage_wording.money)}
LINES = 200  # of the table; more are in its file


def usage_html(page: UsageView, asked: Asked, plotly: str) -> str:
    """The whole page; ``plotly``: the version of the library that draws."""
    return render(
        "usage.html",
        page=page,
        asked=asked,
        filter=asked.filter,
        now=page.now,
        presets=presets(page.now.date()),
        groupings=[each for each in GROUPINGS if each != "person" or asked.names_persons],
        columns=COLUMNS,
        charts=json_in_html(page.charts_json),
        most_lines=LINES,
        error=ERROR,
        plotly=plotly,
        root="",
        here="Usage",
        **WORDS,
    )


def usage_jobs_html(page: UsageJobsView, asked: Asked, now: datetime) -> str:
    """The whole page of jobs, one folder below the other."""
    shown = {"page": page, "asked": asked, "filter": asked.filter, "now": now}
    return render("usage_jobs.html", **shown, columns=COLUMNS, root="../", here="Usage", **WORDS)


def json_in_html(value: object) -> Markup:
    """JSON that ends no script element, whatever texts are in it."""
    text = json.dumps(value)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704  nothing that HTML knows is left in it
