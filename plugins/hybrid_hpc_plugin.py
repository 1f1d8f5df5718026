"""The only Airflow plugin of the project; thin: the code is in ``hybrid_hpc_airflow``.

The plugin loader executes every file below this folder as a top-level module of its own, twice for
packages; ``.airflowignore`` keeps it to this one file. Every Airflow process loads it, so it imports little.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

# Addresses are relative: Airflow may be served below a path.
ICONS = {"icon": "hpc/static/icon.svg", "icon_dark_mode": "hpc/static/icon-dark.svg"}
MENU = {"destination": "nav", "category": "Hybrid HPC", **ICONS}  # beside the button a menu, of every page


class HybridHpcPlugin(AirflowPlugin):
    """The pages in Airflow's UI, their API at ``/hpc/api``, and ``/hybrid-hpc/metrics`` for Prometheus."""

    name = "hybrid_hpc"
    external_views = [  # noqa: RUF012  Airflow's own way to say it
        {
            "name": "HPC",
            "href": "hpc/",
            "url_route": "hpc",
            "nav_top_level": True,
            **ICONS,
            "destination": "nav",
        },
        {"name": "Now", "href": "hpc/", "url_route": "hpc-now", **MENU},
        {"name": "Jobs", "href": "hpc/jobs", "url_route": "hpc-jobs", **MENU},
        {"name": "Usage", "href": "hpc/usage", "url_route": "hpc-usage", **MENU},
        {"name": "Budgets", "href": "hpc/budgets", "url_route": "hpc-budgets", **MENU},
        {
            "name": "HPC job",
            "href": "hpc/runs/{DAG_ID}/{RUN_ID}",
            "url_route": "hpc-job",
            "destination": "dag_run",
            **ICONS,
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Made when the API server asks for it; no other process needs what is imported here."""
        from airflow.listeners.listener import get_listener_manager

        from hybrid_hpc_airflow.marked import FailedRuns
        from hybrid_hpc_airflow.web.app import make_app
        from hybrid_hpc_airflow.web.metrics_app import make_metrics_app

        get_listener_manager().add_listener(FailedRuns())  # type: ignore[no-untyped-call]
        return [
            {"app": make_app(), "url_prefix": "/hpc", "name": "Hybrid HPC"},
            {"app": make_metrics_app(), "url_prefix": "/hybrid-hpc", "name": "Hybrid HPC metrics"},
        ]
