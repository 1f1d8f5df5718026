"""Labs for tests: each in its own folder below .lab, on its own ports, gone without a trace at the end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from lab import ssh
from lab.lab import Lab
from lab.layout import PROJECT
from lab.nodes import PORTS
from lab.processes import free_ports
from lab.settings import LabSettings, Scaling

FAST = LabSettings(
    boot_s=1, slurmd_timeout_s=10, requeue_wait_s=3, kill_wait_s=2, suspend_time_s=5, resume_timeout_s=30
)
LabOf = Callable[[Scaling], Lab]


@contextmanager
def running_lab(
    name: str, settings: LabSettings = FAST, prepare: Callable[[Path], None] = lambda _: None
) -> Iterator[Lab]:
    """Give a lab that is up, in ``.lab/test-<name>-<pid>``; it is wiped at the end.

    It is not where BASE_PORT says, for there may be several. ``prepare`` is given its folder before.
    """
    _clear_away_the_dead()
    lab = Lab(_folder(name), replace(settings, base_port=settings.base_port or free_ports(PORTS)))
    try:
        prepare(lab.folder)
        lab.up()
        yield lab
    finally:
        lab.down(fresh=True)


@contextmanager
def labs(settings: LabSettings = FAST) -> Iterator[LabOf]:
    """Give a function that gives the lab of a way of scaling, brought up at the first call for it."""
    made: dict[Scaling, Lab] = {}
    with ExitStack() as stack:

        def lab_of(scaling: Scaling) -> Lab:
            if scaling not in made:
                wanted = replace(settings, scaling=scaling)
                made[scaling] = stack.enter_context(running_lab(scaling, wanted))
            return made[scaling]

        yield lab_of


def on_head_node(
    lab: Lab, cluster: str, command: str, *, text: str = "", user: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command on a head node by OpenSSH's client, with ``text`` as its input.

    ``user``: as whom, of those of lab/people.py; else as whoever the lab is of.
    """
    config = ssh.ssh_folder(lab.layout) / "config"
    argv = ["/usr/bin/ssh", "-F", str(config), *(["-l", user] if user else []), cluster, command]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


def _folder(name: str) -> Path:
    return PROJECT / ".lab" / f"test-{name}-{os.getpid()}"


def _clear_away_the_dead() -> None:
    """Wipe the labs of test runs that were killed: the pid in their name is nobody's any more."""
    for folder in (PROJECT / ".lab").glob("test-*-*/"):
        pid = folder.name.rpartition("-")[2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            Lab(folder).down(fresh=True)
