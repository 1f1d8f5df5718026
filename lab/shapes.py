"""The two shapes of an Airflow: all of it on one machine, and a centre's with workers of its own (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Without --skip-serve-logs these listen on every interface, and Airflow 3.3 has no setting for it. Nobody
# has to be asked for a log: all shapes keep them in a folder that everything shares.
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "triggerer": ("triggerer", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "worker": ("celery", "worker", "--skip-serve-logs", "--without-mingle", "--without-gossip"),
}
SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
FAB = "hybrid_hpc_airflow.answering.NamesFabAuthManager"  # of our plugins


@dataclass(frozen=True, slots=True)
class Shape:
    """What runs, how often, and who may log in.

    ``counts`` has the number of processes of each of `COMMANDS`; ``users`` maps a name to its role, in the
    auth manager's own words; ``api_user`` is whom our own tasks talk to the REST API as.
    """

    name: str
    executor: str
    auth_manager: str
    counts: Mapping[str, int]
    users: Mapping[str, str]
    api_user: str

    @property
    def spread(self) -> bool:
        """Say whether tasks run on Celery's workers, and no longer below the scheduler."""
        return "worker" in self.counts

    @property
    def components(self) -> dict[str, str]:
        """The kind of each process by its name: ``scheduler`` and, of two, ``scheduler-2``."""
        return {
            kind if number == 1 else f"{kind}-{number}": kind
            for kind, count in self.counts.items()
            for number in range(1, count + 1)
        }


ONE_MACHINE = Shape(
    name="one-machine",
    executor="LocalExecutor",
    auth_manager=SIMPLE,
    counts={"api-server": 1, "scheduler": 1, "triggerer": 1, "dag-processor": 1},
    users={"admin": "admin", "scientist": "user", "viewer": "viewer"},
    api_user="admin",
)
CENTRE = Shape(
    name="centre",
    executor="CeleryExecutor",
    auth_manager=FAB,
    counts={"api-server": 1, "scheduler": 2, "triggerer": 2, "dag-processor": 1, "worker": 2},
    users={
        "admin": "Admin",
        "operator": "Operator",
        "scientist": "Scientist",
        "viewer": "Viewer",
        "service": "Service",
    },
    api_user="service",
)
SHAPES: Mapping[str, Shape] = {shape.name: shape for shape in (ONE_MACHINE, CENTRE)}
