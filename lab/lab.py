"""The lab as a whole: brought up, found running, taken down."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lab import processes, start
from lab.addresses import addresses, cyclecloud_connection, ssh_connection, write_clusters
from lab.errors import LabError
from lab.layout import PROJECT, Layout
from lab.machines import shortcomings, with_machines
from lab.nodes import PORTS
from lab.packages import Progress, unpacked
from lab.settings import LabSettings

LONGEST_FOLDER = 58  # a Unix socket's path holds 107 bytes, and Slurm adds up to 49


class Lab:
    """Two Slurm clusters and a CycleCloud server, or one cluster; all that they write is in one folder.

    The unpacked packages are in ``<packages>/root``, which several labs share.
    """

    def __init__(
        self, folder: Path, settings: LabSettings | None = None, *, packages: Path = PROJECT / ".lab"
    ) -> None:
        self.folder = folder.resolve()
        self.settings = settings or LabSettings()
        self.packages = packages.resolve()

    def up(self, progress: Progress = lambda _: None) -> Layout:
        """Bring up what does not run yet; gives where everything is. When all runs it only looks.

        ``progress`` is told each step at its beginning. A lab that runs with other settings is restarted.
        Raises LabError, one sentence that says what is missing and what to do.
        """
        with self._locked():
            if not self.is_up():
                self._bring_up(progress)
            return self.layout

    def down(self, *, fresh: bool = False) -> None:
        """End every process of the lab; ``fresh`` also forgets jobs, accounting and keys."""
        if not self.folder.is_dir():
            return
        with self._locked():
            start.take_down(self.folder)
            self._file.unlink(missing_ok=True)
            if fresh:
                shutil.rmtree(self.folder, ignore_errors=True)

    def is_up(self) -> bool:
        """Say whether the lab came up with these settings and all of its processes run."""
        state = self._state()
        if not state or not state["ready"] or self._wants_restart(state):
            return False
        return all(processes.alive(self.folder, name) for name in start.expected(self.layout))

    @property
    def layout(self) -> Layout:
        """Where everything is. Raises LabError when the lab is down."""
        state = self._state()
        if not state:
            raise LabError(f"the lab in {self.folder} is down; bring it up with `python -m lab up`.")
        settings = LabSettings(**state["settings"])
        rest = {key: state[key] for key in ("base_port", "user", "host", "namespaces", "loopback")}
        return Layout(folder=self.folder, root=Path(state["root"]), settings=settings, **rest)

    def connections(self) -> dict[str, dict[str, Any]]:
        """Give the lab's Airflow connections by id: ``hpc_onprem``, ``hpc_azure`` and ``cyclecloud``.

        Of a lab with only one cluster, its own.
        """
        lab = self.layout
        found = {f"hpc_{cluster.name}": ssh_connection(cluster) for cluster in lab.clusters}
        return found | ({"cyclecloud": cyclecloud_connection(lab)} if lab.elastic else {})

    def environment(self) -> dict[str, str]:
        """Give the environment variables that make Airflow and our own code use this lab."""
        connections = self.connections().items()
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections}
        return variables | {"HYBRID_HPC_CLUSTERS": str(self.folder / "clusters.yaml")}

    @property
    def _file(self) -> Path:
        return self.folder / "lab.json"

    def _state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return state

    def _wants_restart(self, state: dict[str, Any]) -> bool:
        wanted = self.settings.base_port or processes.asked_base_port() or state["base_port"]
        settings = asdict(self.settings) | {"base_port": state["settings"]["base_port"]}
        return bool(settings != state["settings"] or wanted != state["base_port"])

    def _bring_up(self, progress: Progress) -> None:
        _check_folder(self.folder)
        state = self._state()
        if not state or self._wants_restart(state):
            start.take_down(self.folder)  # what a crash left behind, or a lab with other settings
            self._file.unlink(missing_ok=True)
        root = unpacked(self.packages, progress)
        lab = with_machines(self._plan(root))
        if lack := shortcomings(lab):
            progress(lack)
        self._remember(lab, ready=False)
        start.bring_up(lab, progress)
        self._remember(lab, ready=True)

    def _plan(self, root: Path) -> Layout:
        base_port = self._state().get("base_port") or self.settings.base_port
        return Layout(
            folder=self.folder,
            root=root,
            settings=self.settings,
            base_port=base_port or processes.free_base_port(PORTS),
            user=_user(),
            host=socket.gethostname().partition(".")[0],
            namespaces=0,
            loopback=True,
        )

    def _remember(self, lab: Layout, *, ready: bool) -> None:
        """Write lab.json: what this class reads back, and ports and paths for whoever works with the lab."""
        write_clusters(lab)
        known = {key: value for key, value in vars(lab).items() if key != "settings"}
        state = {"ready": ready, **known, "settings": asdict(lab.settings), **addresses(lab)}
        self._file.write_text(json.dumps(state, indent=1, default=str) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _check_folder(folder: Path) -> None:
    """Refuse what Slurm's and sshd's configuration files and Unix sockets cannot hold."""
    if not re.fullmatch(r"[\w./+@~=-]+", str(folder)):
        raise LabError(f"{folder} has a space or a sign that Slurm's files cannot hold; move the project.")
    if len(str(folder).encode()) > LONGEST_FOLDER:
        raise LabError(
            f"{folder} is too long: {LONGEST_FOLDER} bytes are left for it in a Unix socket's path; "
            "move the project to a shorter one."
        )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        raise LabError(
            f"user id {os.getuid()} has no name; Slurm wants a user that /etc/passwd knows."
        ) from None
