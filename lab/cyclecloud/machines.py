"""VMs as processes: `lab/vm.py` around the command of the configuration, one for each node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lab import processes, vm

PREFIX = "vm-"


class Machines(Protocol):
    """Where nodes get their machines; names are node names."""

    def start(self, name: str, boot_s: float, *, runs_command: bool) -> None:
        """Start a machine that is up after ``boot_s`` and then runs the command, or only stays up."""

    def runs(self, name: str) -> bool:
        """Say whether the machine is there, booting or up."""

    def switch_off(self, name: str) -> None:
        """Have the machine end; comes back at once."""

    def force_off(self, names: Collection[str], *, grace_s: float = 10) -> None:
        """End machines and wait until they are gone; they are killed after ``grace_s``."""

    def forget(self, name: str) -> None:
        """Clear away what a machine that is gone left behind."""

    def names(self) -> list[str]:
        """Give all machines of which there is a trace."""


class Processes:
    """`Machines` as processes of this host, with pid files and console logs in a folder."""

    def __init__(self, folder: Path, command: Sequence[str] = ()) -> None:
        self._folder = folder.resolve()
        self._command = tuple(command)

    def start(self, name: str, boot_s: float, *, runs_command: bool) -> None:
        """Start the process; its output goes to ``log/vm-<name>.log``. Raises LabError."""
        command = [part.replace("%n", name) for part in self._command] if runs_command else []
        argv = [sys.executable, "-S", vm.__file__, name, str(boot_s), "--", *command]
        processes.start(self._folder, PREFIX + name, argv)

    def runs(self, name: str) -> bool:
        """Say whether the process is there and is still the one that was started."""
        return processes.alive(self._folder, PREFIX + name)

    def switch_off(self, name: str) -> None:
        """Ask the process to end; `lab/vm.py` then kills everything below it."""
        if self.runs(name):
            with suppress(ProcessLookupError):
                os.kill(int(self._pid_file(name).read_text().split()[0]), signal.SIGTERM)

    def force_off(self, names: Collection[str], *, grace_s: float = 10) -> None:
        """End the processes, by force after ``grace_s``."""
        processes.stop(self._folder, *(PREFIX + name for name in names), grace_s=grace_s)

    def forget(self, name: str) -> None:
        """Remove the pid file."""
        self._pid_file(name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Give the node names of all pid files."""
        found = (self._folder / "pid").glob(f"{PREFIX}*.pid")
        return sorted(path.stem.removeprefix(PREFIX) for path in found)

    def _pid_file(self, name: str) -> Path:
        return self._folder / "pid" / f"{PREFIX}{name}.pid"
