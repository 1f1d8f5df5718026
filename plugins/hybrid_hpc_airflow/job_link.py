"""The way from a task in Airflow's UI to the page of its job."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

FRAME = "plugin/hpc"  # where Airflow's UI shows the pages in a frame; what follows is the frame's own address


class JobPageLink(BaseOperatorLink):
    """A button on the task. It leads to the newest attempt of the run's job, wherever that has moved."""

    @property
    def name(self) -> str:
        """What stands on the button."""
        return "Job page"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The address in Airflow's UI; asked for on the worker when the task ends."""
        from airflow.configuration import conf

        base = conf.get("api", "base_url", fallback="").rstrip("/")
        group = getattr(operator, "group", "")
        return f"{base}/{FRAME}{urlsplit(base).path}{job_path(ti_key, group)}"


def job_path(ti_key: TaskInstanceKey, group: str) -> str:
    """The address of the page of a run's job, below the root of Airflow's server."""
    run = "/".join(quote(each, safe="") for each in (ti_key.dag_id, ti_key.run_id))
    which = urlencode({"group": group, "map_index": ti_key.map_index})
    return f"/hpc/runs/{run}?{which}"
