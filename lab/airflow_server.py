"""Airflow's components, forked from one process that has imported what they share, and kept alive.

Importing Airflow takes seconds of computing time; done four times at once it is most of a start. This is
run as ``python -m lab.airflow_server HOME SHAPE``: TERM ends all of them. A component that ends by itself is
started again; one that does so `TRIES` times in a minute ends everything, for it will not get better.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from lab import processes
from lab.layout import PROJECT
from lab.shapes import COMMANDS, SHAPES

SHARED = (
    "airflow.__main__",
    "airflow.dag_processing.manager",
    "airflow.jobs.scheduler_job_runner",
    "airflow.jobs.triggerer_job_runner",
    "airflow.providers_manager",
    "airflow.sdk.execution_time.supervisor",
    "airflow.providers.ssh.hooks.ssh",  # and what every one of our tasks imports
    "asyncssh",
    "psycopg",
)
ALONE = ("airflow.executors.local_executor",)
SPREAD = (
    "airflow.providers.celery.cli.celery_command",
    "airflow.providers.celery.executors.celery_executor_utils",
    "airflow.providers.fab.auth_manager.fab_auth_manager",
)
TRIES = 3
MINUTE_S = 60.0


class Stopped(Exception):
    """Somebody asked for the end."""


def main() -> int:
    """Start everything and keep it alive; gives the exit status."""
    home, shape = Path(sys.argv[1]), SHAPES[sys.argv[2]]
    processes.stop(home, *shape.components)  # of a process like this one that was killed
    for name in (*SHARED, *(SPREAD if shape.spread else ALONE)):
        importlib.import_module(name)
    gc.freeze()  # the collector of a child would else copy what all share
    signal.signal(signal.SIGTERM, _stop)
    try:
        return _keep_alive(home, shape.components)
    except Stopped:
        return 0
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        processes.stop(home, *shape.components, grace_s=10)


def _keep_alive(home: Path, components: Mapping[str, str]) -> int:
    names = {_fork(home, name, kind): name for name, kind in components.items()}
    ends: dict[str, list[float]] = {name: [] for name in components}
    while True:
        pid, status = os.wait()
        if pid not in names:
            continue  # a grandchild whose parent died
        name = names.pop(pid)
        ends[name] = [*(end for end in ends[name] if end > time.monotonic() - MINUTE_S), time.monotonic()]
        print(f"{name} ended with status {os.waitstatus_to_exitcode(status)}", flush=True)
        if len(ends[name]) == TRIES:
            return 1
        processes.stop(home, name, grace_s=0)  # the workers of a killed scheduler would stay for ever
        names[_fork(home, name, components[name])] = name


def _fork(home: Path, name: str, kind: str) -> int:
    pid = os.fork()
    if pid:
        processes.adopt(home, name, pid)
        return pid
    status = 1
    try:
        _become(home, name, kind)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # never back into the parent's own code


def _become(home: Path, name: str, kind: str) -> None:
    """Be that component: a session, a log and a command line of its own."""
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(home / "log" / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir(home)
    sys.path = [path for path in sys.path if path not in ("", str(PROJECT))]  # as where no lab is
    # two workers of one machine need names of their own
    sys.argv = ["airflow", *COMMANDS[kind], *(["--celery-hostname", name] if kind == "worker" else [])]
    importlib.import_module("airflow.__main__").main()


def _stop(_number: int, _frame: object) -> None:
    raise Stopped


if __name__ == "__main__":
    sys.exit(main())
