"""The centre that all tests here share: Celery, two schedulers, two triggerers, FAB, on the two clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hybrid_hpc.ledger import Ledger
from lab import processes
from lab.shapes import CENTRE
from lab.stack import PORTS, Stack, StackSettings
from lab.testing import FAST
from lab.testing_stack import processes_of, running_stack
from tests.chaos.airflow_world import AirflowWorld
from tests.e2e.house import House
from tests.e2e.scientist import Scientist
from tests.otlp import Received, exports_to, receiver

TIMEOUT_S = 900
# What dies is missed after seconds here, as a centre misses it after minutes or half of one.
IMPATIENT = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here needs the clusters and Airflow, and its time."""
    for item in items:
        if "tests/centre/" in item.path.as_posix():
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="package")
def exported() -> Iterator[Received]:
    """The metrics and traces that the centre exports."""
    with receiver() as received:
        yield received


@pytest.fixture(scope="package")
def centre(exported: Received) -> Iterator[Stack]:
    """The stack, up. At the end its keeper is killed first: nothing of it may be left all the same."""
    environment = {**IMPATIENT, **exports_to(exported)}
    settings = StackSettings(shape=CENTRE, environment=environment, lab=FAST)
    with running_stack("centre", settings) as stack:
        yield stack
        os.kill(pid_of(stack.airflow.folder, "airflow"), signal.SIGKILL)
        stack.down()
        assert processes_of(stack) == []
        assert not any(map(processes.listens, range(stack.base_port, stack.base_port + PORTS)))


@pytest.fixture(scope="package")
def world(centre: Stack) -> Iterator[AirflowWorld]:
    """The centre with a scientist's and an auditor's view of it."""
    airflow = centre.airflow
    scientist = Scientist(airflow.url, "scientist", airflow.keys.passwords["scientist"])
    ledger = Ledger(centre.ledger_url)
    yield AirflowWorld(House(centre, scientist, ledger))
    ledger.close()
    scientist.close()


def pid_of(folder: Path, name: str) -> int:
    """The process of that name; see lab/processes.py. 0 in the moment between one's end and the next."""
    with suppress(FileNotFoundError):
        return int((folder / "pid" / f"{name}.pid").read_text().split()[0])
    return 0
