"""The only Airflow plugin of the project; thin: the code is in ``hybrid_hpc_airflow``.

The plugin loader executes every file below this folder as a top-level module of its own, twice for
packages; ``.airflowignore`` keeps it to this one file. Every Airflow process loads it, so it imports little.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class HybridHpcPlugin(AirflowPlugin):
    """The page *HPC* in Airflow's UI, its API at ``/hpc/api``, and ``/hybrid-hpc/metrics`` for Prometheus."""

    name = "hybrid_hpc"
    external_views = [  # noqa: RUF012  Airflow's own way to say it
        {
            "name": "HPC",
            "href": "hpc/",  # relative: Airflow may be served below a path
            "destination": "nav",
            "url_route": "hpc",
            "nav_top_level": True,
            "icon": "hpc/static/icon.svg",
            "icon_dark_mode": "hpc/static/icon-dark.svg",
        }
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
