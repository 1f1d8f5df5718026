"""Airflow's connections for a command in a terminal, such as ``python -m hybrid_hpc doctor``.

Outside a task Airflow looks into its own database only in a process that says it is a server; its own
command line does the same.
"""

from __future__ import annotations

import os
from functools import partial

from hybrid_hpc_airflow import connections

open_ledger = connections.open_ledger
open_site = partial(connections.open_site, insists=True)  # a person asks: an open breaker is no answer

os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
