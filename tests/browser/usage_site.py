"""The pages' app alone, over a small ledger, on a port of its own: seconds where the house takes a minute."""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from hybrid_hpc.ledger import Ledger
from hybrid_hpc.ledger.database import utc_now
from lab.processes import free_base_port
from tests.unit.usage_page_world import NOW

PATIENCE_S = 60.0


@contextmanager
def usage_site(ledger: Ledger, role: str) -> Iterator[str]:
    """Gives the address of ``/hpc/`` for somebody called vera with that role of Airflow."""
    server = uvicorn.Server(
        uvicorn.Config(_app(ledger, role), port=free_base_port(1), log_level="error", lifespan="off")
    )
    thread = threading.Thread(target=server.run, name="usage-site")
    thread.start()
    try:
        _until_started(server)
        yield f"http://127.0.0.1:{server.config.port}/hpc/"
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


def _app(ledger: Ledger, role: str) -> FastAPI:
    """As Airflow mounts it, with the parts of Airflow that it asks."""
    if "airflow" not in sys.modules:
        home = tempfile.TemporaryDirectory(prefix="airflow-")
        atexit.register(home.cleanup)  # Airflow may look into it as long as this process lives
        os.environ["AIRFLOW_HOME"] = home.name
        os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
        os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
    from airflow.api_fastapi import app as airflow_app  # noqa: PLC0415
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager  # noqa: PLC0415
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415

    from hybrid_hpc_airflow.web import dependencies  # noqa: PLC0415
    from hybrid_hpc_airflow.web.app import make_app  # noqa: PLC0415

    airflow_app._AuthManagerState.instance = SimpleAuthManager()  # type: ignore[no-untyped-call]
    made = make_app()
    made.dependency_overrides[dependencies.ledger] = lambda: ledger
    made.dependency_overrides[utc_now] = lambda: NOW
    made.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="vera", role=role)
    outer = FastAPI()
    outer.mount("/hpc", made)
    return outer


def _until_started(server: uvicorn.Server) -> None:
    end = time.monotonic() + PATIENCE_S
    while not server.started:
        assert time.monotonic() < end, "waited in vain for the server"
        time.sleep(0.05)
