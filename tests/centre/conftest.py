"""The centre that all tests here share: Celery, two schedulers, two triggerers, FAB, on the two clusters."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import pytest

from hybrid_hpc import budgets
from hybrid_hpc.ledger import Ledger
from lab import people, processes
from lab.layout import PROJECT
from lab.people import People
from lab.shapes import CENTRE
from lab.stack import PORTS, Stack, StackSettings
from lab.testing import FAST
from lab.testing_stack import processes_of, running_stack
from tests.centre.logins import Person
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
def accounts() -> Iterator[People | None]:
    """Real users of the clusters, made before these look who is there; None where none can be made."""
    with nullcontext() if people.why_not() else people.made() as made:
        yield made


@pytest.fixture(scope="package")
def centre(exported: Received, accounts: People | None) -> Iterator[Stack]:
    """The stack, up. At the end its keeper is killed first: nothing of it may be left all the same."""
    named = {budgets.ENVIRONMENT: str(PROJECT / "tests/centre/budgets.yaml")}
    settings = StackSettings(
        shape=CENTRE, environment={**IMPATIENT, **exports_to(exported), **named}, lab=FAST
    )
    prepare = partial(people.install, accounts, cluster="onprem") if accounts else lambda _: None
    with running_stack("centre", settings, prepare) as stack:
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


@pytest.fixture(scope="package")
def admin(centre: Stack) -> Iterator[Person]:
    """Who makes users and connections."""
    person = Person(centre.airflow, "admin", centre.airflow.keys.passwords["admin"])
    yield person
    person.close()


def pid_of(folder: Path, name: str) -> int:
    """The process of that name; see lab/processes.py. 0 in the moment between one's end and the next."""
    with suppress(FileNotFoundError):
        return int((folder / "pid" / f"{name}.pid").read_text().split()[0])
    return 0
