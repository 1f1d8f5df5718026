"""Where the commands of a terminal get their connections from: this package knows no Airflow."""

from __future__ import annotations

import importlib
import os
from typing import Any

from hybrid_hpc.errors import Refused

CONNECTIONS = "hybrid_hpc_airflow.outside_tasks"  # a module with an `open_site` and an `open_ledger`
VARIABLE = "HYBRID_HPC_CONNECTIONS"


def connections_give(name: str) -> Any:
    """That function of the module. Raises `Refused`, with what to do, where there is none."""
    module = os.environ.get(VARIABLE, CONNECTIONS)
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        remedy = f"put the project's plugins folder on PYTHONPATH, or name another module in {VARIABLE}"
        raise Refused(f"{module} gives no connections ({error}): {remedy}.") from error
