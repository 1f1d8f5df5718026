"""What all kinds of tests share: the clusters, the whole stack and the house in it, each up when wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from hybrid_hpc import budgets, crash
from hybrid_hpc.ledger import Ledger
from lab.lab import Lab
from lab.layout import PROJECT
from lab.settings import Scaling
from lab.stack import Stack, StackSettings
from lab.testing import LabOf, labs
from lab.testing_stack import running_stack
from tests.e2e.house import House
from tests.e2e.scientist import Scientist

AUTHORS = (
    "authors_pipeline",
    "authors_groups",
    "authors_sweep",
    "authors_choice",
    "authors_trusting",
    "authors_queue",
    "authors_nodes",
    "authors_no_nodes",
)


# Whose tests share the one house of a session.
HOUSE = (
    "tests/browser/",
    "tests/chaos/test_airflow_",
    "tests/chaos/test_injection.py",
    "tests/e2e/",
    "tests/lab/test_demo.py",
    "tests/lab/test_stack.py",
)

# Whose tests share one centre, which is down again when they are over.
CENTRE = "tests/centre/"


class _OneHouse(LoadScopeScheduling):  # type: ignore[misc]
    """For three processes (``-n 3``): what shares the house runs in one, what shares the centre in another.

    The rest is divided file by file. Most of the time of the first two is waiting. The marks of
    ``--dist loadgroup`` do nothing with pytest 9.2: xdist 3.8 writes them into an attribute of the items
    that is gone.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(CENTRE):
            return "centre"
        return "house" if nodeid.startswith(HOUSE) else nodeid.partition("::")[0]


class _ToldAtOnce:
    """What fails, and what is tried again, is told at once: a run that is cut off has told it, too."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal, self._began = terminal, time.monotonic()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.outcome not in ("failed", "rerun"):
            return
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        crash = getattr(report.longrepr, "reprcrash", None)
        words = (crash.message if crash else report.longreprtext).strip().partition("\n")[0]
        self._terminal.ensure_newline()
        self._terminal.write_line(
            f"{minutes}:{seconds:02} {report.outcome} in {report.when}: {report.nodeid}: {words[:300]}"
        )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Once, where all reports come together."""
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if isinstance(terminal, pytest.TerminalReporter) and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_ToldAtOnce(terminal))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """The division of the tests among processes."""
    return _OneHouse(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a test that would bring up a second house beside that of `HOUSE`."""
    for item in items:
        found = getattr(item, "_fixtureinfo").name2fixturedefs.get("stack")  # noqa: B009
        if found and found[-1].scope == "session" and not item.nodeid.startswith(HOUSE):
            raise pytest.UsageError(f"{item.nodeid} needs the stack: move it, or name it in HOUSE")


@pytest.fixture(scope="session")
def lab_of() -> Iterator[LabOf]:
    """The two real clusters: brought up once per way of scaling."""
    with labs() as lab_of:
        yield lab_of


@pytest.fixture(scope="session")
def lab(lab_of: LabOf, request: pytest.FixtureRequest) -> Lab:
    """A lab that is up; ``parametrize("lab", ["scheduler"], indirect=True)`` chooses who scales azure."""
    scaling: Scaling = getattr(request, "param", "cyclecloud")
    return lab_of(scaling)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL, the two clusters, CycleCloud, the ledger and Airflow, up.

    Its DAGs are the project's and those of tests/e2e/dags, which authors of pipelines might write. Its
    processes die at the crash points that tests name in a folder of its own.
    """
    dags = tmp_path_factory.mktemp("dags")
    for file in [*(PROJECT / "dags").glob("*.py"), *(PROJECT / "tests/e2e/dags").glob("*.py")]:
        (dags / file.name).symlink_to(file)
    environment = {
        crash.FOLDER_VARIABLE: str(tmp_path_factory.mktemp("deaths")),
        budgets.ENVIRONMENT: str(PROJECT / "tests/e2e/budgets.yaml"),
    }
    settings = StackSettings(dags=dags, dag_ids=("hpc_job", *AUTHORS), environment=environment)
    with running_stack(settings=settings) as stack:
        yield stack


@pytest.fixture(scope="session")
def house(stack: Stack) -> Iterator[House]:
    """The stack with a scientist's and an auditor's view of it."""
    airflow = stack.airflow
    scientist = Scientist(airflow.url, "scientist", airflow.keys.passwords["scientist"])
    ledger = Ledger(stack.ledger_url)
    yield House(stack, scientist, ledger)
    ledger.close()
    scientist.close()
